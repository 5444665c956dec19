"""What the graphs have in common: their type, their factory's arguments, and how they are compiled."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Literal, cast

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import DEFAULT_RECURSION_LIMIT
from langgraph.cache.base import BaseCache
from langgraph.graph import END, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer
from typing_extensions import TypedDict

from metascale.models import resolve_model
from metascale.models.resolve import SIMULATION_NOTICE, model_or_simulation
from metascale.nodes import Components, as_node, finalize, generate, score, select_arm
from metascale.nodes.finalize import Settled, after_finalize
from metascale.nodes.select_arm import fan_out
from metascale.rewards import Reward, Unscored
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
    cache: BaseCache[Any] | None


class Judged(Unjudged, total=False):
    """Keyword arguments of methods that score; as in `create_metascale`."""

    reward: Reward | None


def components_of(
    model: BaseChatModel | str | None, parts: Judged | Unjudged, *, judged: bool, **fixed: Any
) -> Components:
    """The components of a baseline; `fixed` are the settings that the method prescribes.

    Raises:
        TypeError: an argument is unknown to the method.
        MetaScaleError: the model is unknown, is not named, or cannot be set up.
    """
    given: Mapping[str, Any] = parts
    unknown = given.keys() - (Judged if judged else Unjudged).__annotations__.keys() - Unjudged.__annotations__.keys()
    if unknown:
        raise TypeError(f"unexpected arguments: {', '.join(sorted(unknown))}")
    return Components(
        resolve_model(model),
        given.get("reward") if judged else Unscored(),
        None,
        None,
        given.get("settings") or MetaScaleSettings(),
        MetaScaleSettings(**fixed),
    )


def new_graph(state: type[State] = State) -> Builder:
    """A graph over the state that all methods share, or over one that adds to it."""
    return StateGraph(state, context_schema=MetaScaleSettings, input_schema=Input, output_schema=Output)


def add_best_of_n(graph: Builder, components: Components, *, after: str) -> None:
    """Append rounds of samples on the pool that `after` leaves, each scored, and the choice of the best."""

    def route(state: State) -> Literal["budget left", "budget spent"]:
        return "budget spent" if components.stop_reason(state) else "budget left"

    def settle(state: State) -> Settled:
        return after_finalize(state, components)

    graph.add_node("select_arm", as_node(select_arm, components))
    graph.add_node("generate", as_node(generate, components), input_schema=Sampling)
    graph.add_node("score", as_node(score, components))
    graph.add_node("finalize", as_node(finalize, components))
    graph.add_edge(after, "select_arm")
    graph.add_conditional_edges("select_arm", fan_out, ["generate", "finalize"])
    graph.add_edge("generate", "score")
    graph.add_conditional_edges("score", route, {"budget left": "select_arm", "budget spent": "finalize"})
    graph.add_conditional_edges(
        "finalize",
        settle,
        {"look again": "finalize", "budget left": "select_arm", "answer chosen": END},
    )


def add_one_pass(graph: Builder, components: Components, *, after: str) -> None:
    """Append one sample on the pool that `after` leaves, which is the answer."""
    graph.add_node("select_arm", as_node(select_arm, components))
    graph.add_node("generate", as_node(generate, components), input_schema=Sampling)
    graph.add_node("finalize", as_node(finalize, components))
    graph.add_edge(after, "select_arm")
    graph.add_conditional_edges("select_arm", fan_out, ["generate", "finalize"])
    graph.add_edge("generate", "finalize")
    graph.add_edge("finalize", END)


def compiled(graph: Builder, name: str, parts: Unjudged | Judged) -> Graph:
    """The graph, ready to run."""
    ready = graph.compile(
        checkpointer=parts.get("checkpointer"), store=parts.get("store"), cache=parts.get("cache"), name=name
    )
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
