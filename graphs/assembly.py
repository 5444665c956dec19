"""What the graphs have in common: their type, the arguments of their factories, and how they are put together."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import DEFAULT_RECURSION_LIMIT
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer
from typing_extensions import TypedDict

from metascale.models.resolve import SIMULATION_NOTICE, model_or_simulation
from metascale.nodes import Components, Node, Run, generate, runnable
from metascale.rewards import Reward
from metascale.settings import MetaScaleSettings
from metascale.state import Input, Output, Sampling, State

Graph = CompiledStateGraph[State, MetaScaleSettings, Any, Any]
"""Takes any form of messages that LangChain knows, dictionaries among them; hence the loose types."""
Builder = StateGraph[State, MetaScaleSettings, Input, Output]

MAX_CONCURRENCY = 1_024
"""Parallel samples unless the caller's `max_concurrency` says fewer: the batch size is the limit, not the machine."""
STEP_LIMIT = 10_000_000
"""Supersteps that a run may take unless its caller says fewer: more than any settings reach, for the budget ends it."""


class _Embeddable(CompiledStateGraph[State, MetaScaleSettings, Any, Any]):
    """A graph that a parent's recursion limit does not cut short; `invoke` and `ainvoke` run through these two."""

    def stream(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> Iterator[Any]:
        return super().stream(input, _with_own_limit(config), **options)

    def astream(
        self,
        input: Any,  # noqa: A002
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> AsyncIterator[Any]:
        return super().astream(input, _with_own_limit(config), **options)


def _with_own_limit(config: RunnableConfig | None) -> RunnableConfig:
    """The config with `STEP_LIMIT`, unless whoever started this very run chose a limit.

    A limit that a parent hands down with its callbacks is the parent's own; and 25 beside the other keys of a config is
    what LangChain fills in, in `batch` for one.
    """
    given = config or {}
    is_handed_down = isinstance(given.get("callbacks"), BaseCallbackManager)
    is_filled_in = "callbacks" in given and given.get("recursion_limit") == DEFAULT_RECURSION_LIMIT
    if "recursion_limit" in given and not is_handed_down and not is_filled_in:
        return given
    return cast("RunnableConfig", {**given, "recursion_limit": STEP_LIMIT})


class Unjudged(TypedDict, total=False):
    """Keyword arguments of methods that score nothing; as in `create_metascale`."""

    settings: MetaScaleSettings | None
    checkpointer: Checkpointer
    store: BaseStore | None


class Judged(Unjudged, total=False):
    """Keyword arguments of methods that score; as in `create_metascale`."""

    reward: Reward | None


def new_graph(state: type[State] = State) -> Builder:
    """A graph over the state that all methods share, or over one that adds to it."""
    return StateGraph(state, context_schema=MetaScaleSettings, input_schema=Input, output_schema=Output)


def add_nodes(graph: Builder, parts: Components, *nodes: Node) -> None:
    """Add nodes under their own names."""
    for node in nodes:
        schema = Sampling if node is generate else None
        graph.add_node(node.__name__, runnable(node, parts), input_schema=schema)


def bound(route: Callable[[State, Run], str], parts: Components) -> Callable[[State], str]:
    """A router as LangGraph calls it, with the state alone."""

    @functools.wraps(route, assigned=("__name__", "__doc__"), updated=())
    def ask(state: State) -> str:
        return route(state, parts.run())

    return ask


def compiled(graph: Builder, name: str, parts: Unjudged | Judged) -> Graph:
    """The graph, ready to run."""
    ready = graph.compile(checkpointer=parts.get("checkpointer"), store=parts.get("store"), name=name)
    return _Embeddable(**vars(ready)).with_config(max_concurrency=MAX_CONCURRENCY)


def for_studio(create: Callable[..., Graph]) -> Callable[[], Graph]:
    """The entry point that LangGraph's server calls: the graph on `METASCALE_MODEL`, or on the offline model.

    Its settings are those in `METASCALE_SETTINGS`.
    """

    @functools.cache
    def graph() -> Graph:
        name, by_default = model_or_simulation(None)
        if by_default:
            logging.getLogger(__name__).warning(SIMULATION_NOTICE)
        return create(name, settings=MetaScaleSettings.from_environment())

    return graph
