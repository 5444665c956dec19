"""METASCALE (Liu et al., ACL Findings 2026) as a LangGraph workflow.

START ─┬ straight in             → initialize_pool
       └ foresee first → foresee → initialize_pool
initialize_pool → select_arm ⇉ generate → score ─┬ budget left    → select_arm
                                                 ├ time to evolve → evolve → select_arm
                                                 └ budget spent   → finalize ─┬ look again    → finalize
                                                                              ├ budget left   → select_arm
                                                                              └ answer chosen → END
Where people are asked, `review_pool` stands before select_arm, and `grant_budget` before finalize.
"""

from __future__ import annotations

from typing import Any, Literal

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langgraph.cache.base import BaseCache
from langgraph.graph import END, START
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer

from metascale.bandits import Policy
from metascale.graphs.assembly import Graph, compiled, for_studio, new_graph
from metascale.models import Sampler, resolve_model
from metascale.nodes import (
    Components,
    as_node,
    evolve,
    finalize,
    foresee,
    generate,
    grant_budget,
    initialize_pool,
    review_pool,
    score,
    select_arm,
)
from metascale.nodes.finalize import Settled, after_finalize
from metascale.nodes.foresee import Before, before_the_pool
from metascale.nodes.select_arm import fan_out
from metascale.rewards import Reward
from metascale.settings import MetaScaleSettings
from metascale.state import Sampling, State

Next = Literal["budget left", "time to evolve", "ask for more", "budget spent"]


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
    embeddings: Embeddings | None = None,
    sampler: Sampler | None = None,
) -> Graph:
    """Build the METASCALE graph.

    Args:
        model: a chat model, `"openai:NAME"`, `"simulated"`, or what `init_chat_model` takes where `langchain` is
            installed; None reads the environment variable `METASCALE_MODEL`.
        reward: scores answers; by default the one that the settings name, with the model as the judge.
        policy: chooses among meta-thoughts; by default the one that the settings name.
        retriever: finds worked examples similar to the task, whose thinking then joins the pool.
        settings: defaults of every run; a run's `context=` overrides what it sets.
        checkpointer: makes runs resumable. Leave it out in a subgraph: the parent's is inherited.
        store: keeps the strategy memory, where the setting `memory` names one.
        cache: handed to LangGraph.
        embeddings: compare questions for the strategy memory; by default by hashed words, without a network.
        sampler: makes of the model, ready for one request, what an answer is drawn through; by default the model.

    Returns:
        A compiled graph. Input: `{"messages": [...]}`, ending with the question. Output: the messages with the answer,
        and `result` beside them.

    Raises:
        MetaScaleError: the model is unknown, is not named, or cannot be set up.
    """
    components = Components(
        resolve_model(model), reward, policy, retriever, settings or MetaScaleSettings(), sampler=sampler
    )
    components.embeddings = embeddings or components.embeddings

    def begin(_: State) -> Before:
        return before_the_pool(components)

    def after_pool(_: State) -> Literal["pool made", "to be reviewed"]:
        return "to be reviewed" if components.settings().review_pool else "pool made"

    def route(state: State) -> Next:
        if components.settings().ask_for_budget and components.is_budget_all_that_ends_it(state):
            return "ask for more"
        if components.stop_reason(state):
            return "budget spent"
        if components.evolution_due(state):
            return "time to evolve"
        return "budget left"

    def after_grant(state: State) -> Literal["budget left", "budget spent"]:
        return "budget spent" if components.stop_reason(state) else "budget left"

    def settle(state: State) -> Settled:
        return after_finalize(state, components)

    graph = new_graph()
    graph.add_node("foresee", as_node(foresee, components))
    graph.add_node("initialize_pool", as_node(initialize_pool, components))
    graph.add_node("review_pool", as_node(review_pool, components))
    graph.add_node("select_arm", as_node(select_arm, components))
    graph.add_node("generate", as_node(generate, components), input_schema=Sampling)
    graph.add_node("score", as_node(score, components))
    graph.add_node("evolve", as_node(evolve, components))
    graph.add_node("grant_budget", as_node(grant_budget, components))
    graph.add_node("finalize", as_node(finalize, components))

    graph.add_conditional_edges(START, begin, {"straight in": "initialize_pool", "foresee first": "foresee"})
    graph.add_edge("foresee", "initialize_pool")
    graph.add_conditional_edges(
        "initialize_pool", after_pool, {"pool made": "select_arm", "to be reviewed": "review_pool"}
    )
    graph.add_edge("review_pool", "select_arm")
    graph.add_conditional_edges("select_arm", fan_out, ["generate", "finalize"])
    graph.add_edge("generate", "score")
    graph.add_conditional_edges(
        "score",
        route,
        {
            "budget left": "select_arm",
            "time to evolve": "evolve",
            "ask for more": "grant_budget",
            "budget spent": "finalize",
        },
    )
    graph.add_edge("evolve", "select_arm")
    graph.add_conditional_edges("grant_budget", after_grant, {"budget left": "select_arm", "budget spent": "finalize"})
    graph.add_conditional_edges(
        "finalize",
        settle,
        {"look again": "finalize", "budget left": "select_arm", "answer chosen": END},
    )
    return compiled(graph, "metascale", {"checkpointer": checkpointer, "store": store, "cache": cache})


graph = for_studio(create_metascale)
