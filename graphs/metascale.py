"""METASCALE (Liu et al., ACL Findings 2026) as a LangGraph workflow.

START ─┬ straight in             → initialize_pool
       └ foresee first → foresee → initialize_pool
initialize_pool → select_arm ⇉ generate → score ─┬ budget left       → select_arm
                                                 ├ time to evolve    → evolve → select_arm
                                                 ├ write a synthesis → synthesize ─┐
                                                 ├ look again        → confirm ────┤
                                                 └ choose            → finalize ←──┘
finalize ─┬ answer chosen → END
          └ budget left   → select_arm (a fork with a larger budget)

`synthesize` writes one more answer out of the best ones; `confirm` judges the leaders again, round by round, while a
second look is worth its call. Where people are asked, `review_pool` comes before select_arm and `grant_budget` after
score. Every way on after a phase that spent calls is in `metascale.graphs.routes`.
"""

from __future__ import annotations

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langgraph.graph import END, START
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer

from metascale.bandits import Policy
from metascale.graphs.assembly import Graph, add_nodes, bound, compiled, for_studio, new_graph
from metascale.graphs.routes import NEXT, after_choice, after_pool, after_score, after_spending, before_pool, to_samples
from metascale.models import Sampler, resolve_model
from metascale.nodes import (
    Components,
    confirm,
    evolve,
    finalize,
    foresee,
    generate,
    grant_budget,
    initialize_pool,
    review_pool,
    score,
    select_arm,
    synthesize,
)
from metascale.rewards import Reward
from metascale.settings import MetaScaleSettings


def create_metascale(
    model: BaseChatModel | str | None = None,
    *,
    reward: Reward | None = None,
    policy: Policy | None = None,
    retriever: BaseRetriever | None = None,
    settings: MetaScaleSettings | None = None,
    checkpointer: Checkpointer = None,
    store: BaseStore | None = None,
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
        embeddings: compare questions for the strategy memory; by default by hashed words, without a network.
        sampler: makes of the model, ready for one request, what an answer is drawn through; by default the model.

    Returns:
        A compiled graph. Input: `{"messages": [...]}`, ending with the question. Output: the messages with the answer,
        and `result` beside them.

    Raises:
        MetaScaleError: the model is unknown, is not named, or cannot be set up.
    """
    parts = Components(
        resolve_model(model),
        reward=reward,
        policy=policy,
        retriever=retriever,
        embeddings=embeddings,
        sampler=sampler,
        defaults=settings or MetaScaleSettings(),
    )
    graph = new_graph()
    add_nodes(graph, parts, foresee, initialize_pool, review_pool, select_arm, generate, score, evolve)
    add_nodes(graph, parts, grant_budget, synthesize, confirm, finalize)

    graph.add_conditional_edges(
        START, bound(before_pool, parts), {"straight in": "initialize_pool", "foresee first": "foresee"}
    )
    graph.add_edge("foresee", "initialize_pool")
    graph.add_conditional_edges(
        "initialize_pool", bound(after_pool, parts), {"pool made": "select_arm", "to be reviewed": "review_pool"}
    )
    graph.add_edge("review_pool", "select_arm")
    graph.add_conditional_edges("select_arm", to_samples, ["generate", "finalize"])
    graph.add_edge("generate", "score")
    graph.add_conditional_edges(
        "score", bound(after_score, parts), {"time to evolve": "evolve", "ask for more": "grant_budget", **NEXT}
    )
    for phase in ("evolve", "grant_budget", "synthesize", "confirm"):
        graph.add_conditional_edges(phase, bound(after_spending, parts), NEXT)
    graph.add_conditional_edges("finalize", after_choice, {"answer chosen": END, "budget left": "select_arm"})
    return compiled(graph, "metascale", {"checkpointer": checkpointer, "store": store})


graph = for_studio(create_metascale)
