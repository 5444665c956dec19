"""METASCALE (Liu et al., ACL Findings 2026) as a LangGraph workflow.

START ─┬ straight in             → initialize_pool
       └ foresee first → foresee → initialize_pool
initialize_pool → select_arm ⇉ generate → score ─┬ budget left       → select_arm
                                                 ├ answers cannot be compared → compose → select_arm
                                                 ├ time to evolve    → evolve → select_arm
                                                 ├ write a synthesis → synthesize ─┐
                                                 ├ look again        → confirm ────┤
                                                 └ choose            → finalize ←──┘
finalize ─┬ answer chosen  → END
          ├ pool too small → compose (a fork with a larger budget)
          └ budget left    → select_arm (likewise)

By default the first round is plain chain of thought. If its final answers can be compared, so is every round, and
votes decide. If they cannot, the search begins: `compose` adds the meta-thoughts that the model designs. If the
settings ask for the search, it begins at once: from a budget of 16 on, `compose` works beside the `generate`s of the
first round, and below that `initialize_pool` composes. `synthesize` writes one more answer from the best ones.
`confirm` re-judges the leaders, round by round, while a second look is worth its call. Two nodes ask a person if the
settings say so: `review_pool` before select_arm, `grant_budget` after score. Every routing decision is a function in
`metascale.graphs.routes`.
"""

from __future__ import annotations

from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langgraph.graph import END, START
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer

from metascale.bandits import Policy
from metascale.budget.rounds import widest_round
from metascale.graphs import routes
from metascale.graphs.assembly import Graph, add_nodes, bound, compiled, for_studio, new_graph
from metascale.models import Models, Sampler, resolve_models
from metascale.nodes import (
    Components,
    compose,
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
from metascale.nodes.run import check_parts
from metascale.rewards import Reward
from metascale.settings import MetaScaleSettings


def create_metascale(
    model: Models = None,
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
        model: a chat model, also inside LangChain's `bind`, `with_config`, `with_retry` or `with_fallbacks`;
            `"openai:NAME"`, `"gguf:FILE"`, `"simulated"`, or any name that `init_chat_model` takes if `langchain` is
            installed; None reads the environment variable `METASCALE_MODEL`. A name may end with parameters, as in
            `"openai:NAME?effort=low"`. With a list of these, every model may answer, and an arm is a model and a
            meta-thought; the first one composes and judges.
        reward: scores answers; by default the reward that the settings name, with the first model as its judge.
        policy: chooses meta-thoughts; by default the policy that the settings name.
        retriever: finds worked examples similar to the task; the model abstracts meta-thoughts from them.
        settings: the defaults of every run; a run overrides them with `context=`.
        checkpointer: makes runs resumable. Leave it out in a subgraph, which inherits its parent's.
        store: holds the strategy memory, if the setting `memory` names one.
        embeddings: compare questions for the strategy memory; by default hashed words, without a network.
        sampler: wraps the model for each sample; by default the model itself.

    Returns:
        A compiled graph. Its input is `{"messages": [...]}`, ending with the question. Its output is the messages with
        the answer, and `result`.

    Raises:
        MetaScaleError: the model is unknown, is not named, or cannot be set up; or a part is not what its name says.
    """
    check_parts(settings, reward=reward, policy=policy)
    chosen = settings or MetaScaleSettings()
    parts = Components(
        resolve_models(model, at_once=widest_round(chosen)),
        reward=reward,
        policy=policy,
        retriever=retriever,
        embeddings=embeddings,
        sampler=sampler,
        defaults=chosen,
        may_vote=True,
    )
    graph = new_graph()
    add_nodes(graph, parts, foresee, initialize_pool, review_pool, select_arm, compose, generate, score, evolve)
    add_nodes(graph, parts, grant_budget, synthesize, confirm, finalize)

    graph.add_conditional_edges(
        START, bound(routes.before_pool, parts), {"straight in": "initialize_pool", "foresee first": "foresee"}
    )
    graph.add_edge("foresee", "initialize_pool")
    graph.add_conditional_edges(
        "initialize_pool", bound(routes.after_pool, parts), {"pool made": "select_arm", "to be reviewed": "review_pool"}
    )
    graph.add_edge("review_pool", "select_arm")
    graph.add_conditional_edges(
        "select_arm", bound(routes.to_first_samples, parts), ["generate", "compose", "finalize"]
    )
    graph.add_edge("generate", "score")
    graph.add_conditional_edges(
        "compose", routes.after_composing, {"beside samples": "score", "pool made": "select_arm"}
    )
    graph.add_conditional_edges(
        "score",
        bound(routes.after_score, parts),
        {
            "answers cannot be compared": "compose",
            "time to evolve": "evolve",
            "ask for more": "grant_budget",
            **routes.NEXT,
        },
    )
    graph.add_conditional_edges(
        "grant_budget", bound(routes.after_grant, parts), {"pool too small": "compose", **routes.NEXT}
    )
    for phase in ("evolve", "synthesize", "confirm"):
        graph.add_conditional_edges(phase, bound(routes.after_spending, parts), routes.NEXT)
    graph.add_conditional_edges(
        "finalize",
        bound(routes.after_search, parts),
        {"answer chosen": END, "pool too small": "compose", "budget left": "select_arm"},
    )
    return compiled(graph, "metascale", {"checkpointer": checkpointer, "store": store})


graph = for_studio(create_metascale)
