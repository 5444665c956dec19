"""What all graphs share: their type, the arguments of their factories, and how they are built."""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import DEFAULT_RECURSION_LIMIT
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer
from typing_extensions import TypedDict

from metascale.errors import UnknownNameError
from metascale.models.resolve import SIMULATION_NOTICE, model_or_simulation
from metascale.models.scope import RunScope
from metascale.nodes import Components, Node, Run, generate, runnable
from metascale.nodes.run import SCOPE
from metascale.rewards import Reward
from metascale.runtime.interruption import interruptible
from metascale.settings import MetaScaleSettings
from metascale.settings.studio import VARIABLE as STUDIO
from metascale.settings.studio import StudioSettings
from metascale.state import Input, Output, Sampling, State

Graph = CompiledStateGraph[State, MetaScaleSettings, Any, Any]
"""A compiled graph. Its input types are loose because it takes messages in every form that LangChain does."""
Builder = StateGraph[State, MetaScaleSettings, Input, Output]

MAX_CONCURRENCY = 1_024
"""Parallel nodes, unless the caller sets `max_concurrency`: high enough that the batch size is the limit."""
STEP_LIMIT = 10_000_000
"""Recursion limit of a run, unless the caller sets one: so high that the budget always ends the run first."""
_FORMS_OF_OUTPUT = frozenset({"output_keys", "stream_mode", "version"})
"""Options of `invoke` that change what it returns."""
_INTERRUPT = "__interrupt__"
"""The key of the questions in the output of an interrupted run."""
_SERVERS_NAMES = frozenset({"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "run_id", "assistant_id"})
_SERVERS_PREFIXES = ("langgraph_", "__", "x-")
"""Names of LangGraph's own in the `configurable` of a config, which its server copies into an absent context."""


class _Names(dict[str, Any]):
    """Schemas by name, which claim every name that is not LangGraph's own.

    LangGraph's server drops the keys of a context that the schema does not hold. Here they stay, and the settings
    refuse them as they do in process.
    """

    def __contains__(self, name: object) -> bool:
        own = isinstance(name, str) and (name in _SERVERS_NAMES or name.startswith(_SERVERS_PREFIXES))
        return super().__contains__(name) or not own


class _Embeddable(CompiledStateGraph[State, MetaScaleSettings, Any, Any]):
    """A graph that is the same inside a parent as alone: with its own recursion limit, streaming every update.

    Each of its runs has a scope of its own, which its requests share.

    `invoke` and `ainvoke` call `stream` and `astream`.
    """

    def get_context_jsonschema(self) -> dict[str, Any] | None:
        """The settings' schema, by which LangGraph's server drops none of their misspelt names."""
        schema = super().get_context_jsonschema() or {}
        return {**schema, "properties": _Names(schema.get("properties", {}))}

    def invoke(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> Any:
        if options.keys() & _FORMS_OF_OUTPUT:
            return super().invoke(input, config, **options)
        return self._output(super().invoke(input, config, output_keys=self.stream_channels_asis, **options))

    async def ainvoke(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> Any:
        if options.keys() & _FORMS_OF_OUTPUT:
            return await super().ainvoke(input, config, **options)
        return self._output(await super().ainvoke(input, config, output_keys=self.stream_channels_asis, **options))

    def _output(self, values: Any) -> Any:
        """The graph's output among all values of its state.

        By default LangGraph restricts the updates that a parent streams to the keys of the output.
        """
        keys = {*self.output_channels, _INTERRUPT}
        return {key: value for key, value in values.items() if key in keys} if isinstance(values, dict) else values

    def stream(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> Iterator[Any]:
        scope = RunScope()
        with interruptible(scope.work):
            yield from super().stream(input, _with_scope(_with_own_limit(config, self.config), scope), **options)

    def astream(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> AsyncIterator[Any]:
        return super().astream(input, _with_scope(_with_own_limit(config, self.config), RunScope()), **options)


def _with_own_limit(config: RunnableConfig | None, own: RunnableConfig | None) -> RunnableConfig:
    """The config with a recursion limit: the caller's, else the graph's `own`, else `STEP_LIMIT`.

    Two limits are not the caller's choice. A config with a callback manager comes from a parent graph, and so does its
    limit. LangChain's default beside callbacks is filled in by LangChain, for example in `batch`.
    """
    given = config or {}
    is_handed_down = isinstance(given.get("callbacks"), BaseCallbackManager)
    is_filled_in = "callbacks" in given and given.get("recursion_limit") == DEFAULT_RECURSION_LIMIT
    if "recursion_limit" in given and not is_handed_down and not is_filled_in:
        return given
    limit = (own or {}).get("recursion_limit", STEP_LIMIT)
    return cast("RunnableConfig", {**given, "recursion_limit": limit})


def _with_scope(config: RunnableConfig, scope: RunScope) -> RunnableConfig:
    """The config of one run, with what its requests share."""
    return cast("RunnableConfig", {**config, "configurable": {**config.get("configurable", {}), SCOPE: scope}})


class Unjudged(TypedDict, total=False):
    """Keyword arguments of methods without a reward; see `create_metascale`."""

    settings: MetaScaleSettings | None
    checkpointer: Checkpointer
    store: BaseStore | None


class Judged(Unjudged, total=False):
    """Keyword arguments of methods with a reward; see `create_metascale`."""

    reward: Reward | None


def new_graph(state: type[State] = State) -> Builder:
    """An empty graph over `State`, or over an extension of it."""
    return StateGraph(state, context_schema=MetaScaleSettings, input_schema=Input, output_schema=Output)


def add_nodes(graph: Builder, parts: Components, *nodes: Node) -> None:
    """Add nodes to the graph, named after their functions."""
    for node in nodes:
        schema = Sampling if node is generate else None
        graph.add_node(node.__name__, runnable(node, parts), input_schema=schema)


def bound(route: Callable[[State, Run], object], parts: Components) -> Callable[[State], Any]:
    """A router as LangGraph calls it: with the state only."""

    @functools.wraps(route, assigned=("__name__", "__doc__"), updated=())
    def ask(state: State) -> object:
        return route(state, parts.run(state["candidates"], state["granted"]))

    return ask


def compiled(graph: Builder, name: str, parts: Unjudged | Judged) -> Graph:
    """The compiled graph."""
    ready = graph.compile(checkpointer=parts.get("checkpointer"), store=parts.get("store"), name=name)
    return _Embeddable(**vars(ready)).with_config(max_concurrency=MAX_CONCURRENCY)


def for_studio(create: Callable[..., Graph]) -> Callable[..., Coroutine[Any, Any, Graph]]:
    """The entry point for LangGraph's server: the graph on `METASCALE_MODEL`, or on the offline model if that is unset.

    The settings come from `METASCALE_SETTINGS`. If `METASCALE_STUDIO` is set, a run may name its model and its method.
    Each graph is built once, in a thread, because a model file loads for seconds and LangGraph's server calls the entry
    point in its event loop.
    """
    in_studio = bool(os.environ.get(STUDIO))

    @functools.cache
    def built(model: str | None, method: str | None) -> Graph:
        name, by_default = model_or_simulation(model)
        if by_default:
            logging.getLogger(__name__).warning(SIMULATION_NOTICE)
        if not in_studio:
            return create(name, settings=MetaScaleSettings.from_environment())
        ready = _create_of(method, create)(name, settings=StudioSettings.from_environment())
        ready.context_schema = ready.builder.context_schema = StudioSettings
        return ready

    async def graph(config: RunnableConfig | None = None) -> Graph:
        named = (config or {}).get("configurable", {}) if in_studio else {}
        return await asyncio.to_thread(built, named.get("model") or None, named.get("method") or None)

    return graph


def _create_of(method: str | None, drawn: Callable[..., Graph]) -> Callable[..., Graph]:
    """What builds the graph of a method; None is the graph that is drawn."""
    if method is None:
        return drawn
    methods = importlib.import_module("metascale.graphs").METHODS
    if method not in methods:
        raise UnknownNameError("method", method, methods)
    made: Callable[..., Graph] = methods[method].create
    return made
