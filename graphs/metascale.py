"""METASCALE (Liu et al., ACL Findings 2026) as a LangGraph workflow.

START → initialize_pool → select_arm ⇉ generate → score ─┬ budget left    → select_arm
                                                         ├ time to evolve → evolve → select_arm
                                                         └ budget spent   → finalize → END
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langgraph.cache.base import BaseCache
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer

from metascale.bandits import Policy
from metascale.budget import affordable, evolution_due, stop_reason
from metascale.models import resolve_model
from metascale.models.resolve import SIMULATION_NOTICE, model_or_simulation
from metascale.nodes import (
    Components,
    as_node,
    evolve,
    finalize,
    generate,
    initialize_pool,
    score,
    select_arm,
)
from metascale.nodes.select_arm import fan_out
from metascale.pool import arm_statistics
from metascale.rewards import Reward
from metascale.settings import MetaScaleSettings
from metascale.state import Input, Output, Sampling, State

Graph = CompiledStateGraph[State, MetaScaleSettings, Any, Any]
"""Takes any form of messages that LangChain knows, dictionaries among them; hence the loose types."""
MAX_CONCURRENCY = 1_024
"""Parallel samples unless the caller's `max_concurrency` says fewer: the batch size is the limit, not the machine."""
Next = Literal["budget left", "time to evolve", "budget spent"]


def create_metascale(
    model: BaseChatModel | str | None = None,
    *,
    reward: Reward | None = None,
    policy: Policy | None = None,
    retriever: BaseRetriever | None = None,
    settings: MetaScaleSettings | None = None,
    checkpointer: Checkpointer = None,
    store: BaseStore | None = None,
    cache: BaseCache[Any] | None = None,
) -> Graph:
    """Build the METASCALE graph.

    Args:
        model: a chat model, `"openai:NAME"`, `"simulated"`, or what `init_chat_model` takes where `langchain` is
            installed; None reads the environment variable `METASCALE_MODEL`.
        reward: scores answers; by default the model judges.
        policy: chooses among meta-thoughts; by default the one that the settings name.
        retriever: finds worked examples similar to the task, whose thinking then joins the pool.
        settings: defaults of every run; a run's `context=` overrides what it sets.
        checkpointer: makes runs resumable. Leave it out in a subgraph: the parent's is inherited.
        store: handed to LangGraph.
        cache: handed to LangGraph.

    Returns:
        A compiled graph. Input: `{"messages": [...]}`, ending with the question. Output: the messages with the answer,
        and `result` beside them.

    Raises:
        MetaScaleError: the model is unknown, is not named, or cannot be set up.
    """
    components = Components(resolve_model(model), reward, policy, retriever, settings or MetaScaleSettings())

    def route(state: State) -> Next:
        settings = components.settings()
        calls = components.judge.calls_per_answer
        if stop_reason(
            settings,
            state["usage"],
            state["candidates"],
            calls_per_answer=calls,
            remaining_steps=state["remaining_steps"],
        ):
            return "budget spent"
        if evolution_due(
            settings,
            arm_statistics(state["pool"], state["candidates"]),
            rounds=state["round"],
            evolved_at=state["evolved_at"],
            samples_left=affordable(settings, state["usage"], calls),
        ):
            return "time to evolve"
        return "budget left"

    graph = StateGraph(State, context_schema=MetaScaleSettings, input_schema=Input, output_schema=Output)
    graph.add_node("initialize_pool", as_node(initialize_pool, components))
    graph.add_node("select_arm", as_node(select_arm, components))
    graph.add_node("generate", as_node(generate, components), input_schema=Sampling)
    graph.add_node("score", as_node(score, components))
    graph.add_node("evolve", as_node(evolve, components))
    graph.add_node("finalize", as_node(finalize, components))

    graph.add_edge(START, "initialize_pool")
    graph.add_edge("initialize_pool", "select_arm")
    graph.add_conditional_edges("select_arm", fan_out, ["generate"])
    graph.add_edge("generate", "score")
    graph.add_conditional_edges(
        "score",
        route,
        {"budget left": "select_arm", "time to evolve": "evolve", "budget spent": "finalize"},
    )
    graph.add_edge("evolve", "select_arm")
    graph.add_edge("finalize", END)
    compiled = graph.compile(checkpointer=checkpointer, store=store, cache=cache, name="metascale")
    return compiled.with_config(max_concurrency=MAX_CONCURRENCY)


@functools.cache
def graph() -> Any:
    """The graph for LangGraph Studio: `METASCALE_MODEL`, or the offline model with a notice."""
    name, by_default = model_or_simulation(None)
    if by_default:
        logging.getLogger(__name__).warning(SIMULATION_NOTICE)
    return create_metascale(name)
