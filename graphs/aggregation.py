"""Answers written from answers, by one model.

Recursive self-aggregation (Venkatraman et al. 2025) and mixture-of-agents (Wang et al. 2024). Neither ends on
agreement, because answers that agree are still to be written into the last ones:

START → set_arm → plan_step ⇉ generate → tally ─┬ budget left  → plan_step
                                                └ budget spent → vote_in_last → END
"""

from __future__ import annotations

from typing import Unpack

from langgraph.graph import END, START

from metascale.budget.populations import MIXTURE_OF_AGENTS, RECURSIVE_SELF_AGGREGATION, Scheme
from metascale.graphs.assembly import Graph, Unjudged, add_nodes, bound, compiled, for_studio, new_graph
from metascale.graphs.baselines import components_of
from metascale.graphs.routes import after_choice, after_round, to_samples
from metascale.models import Models
from metascale.nodes import generate, plan_step, set_arm, tally, vote_in_last


def create_rsa(model: Models = None, **parts: Unpack[Unjudged]) -> Graph:
    """Recursive self-aggregation: chains of thought, then populations of answers written from answers, then a vote.

    Arguments as for `create_metascale`; `settings.answer_kind` says what kind of answer is compared in the vote.

    Raises:
        MetaScaleError: the model is unknown, is not named, or cannot be set up.
    """
    return _build("rsa", RECURSIVE_SELF_AGGREGATION, model, parts)


def create_mixture_of_agents(model: Models = None, **parts: Unpack[Unjudged]) -> Graph:
    """Mixture-of-agents: the built-in meta-thoughts propose in layers, and one answer is written from the last layer.

    Arguments and errors as for `create_rsa`.
    """
    return _build("mixture_of_agents", MIXTURE_OF_AGENTS, model, parts)


def _build(name: str, scheme: Scheme, model: Models, parts: Unjudged) -> Graph:
    components = components_of(model, parts, judged=False, stop_on_agreement=None)
    graph = new_graph()
    add_nodes(graph, components, set_arm(*scheme.arms), plan_step(scheme), generate, tally, vote_in_last(scheme))
    graph.add_edge(START, "set_arm")
    graph.add_edge("set_arm", "plan_step")
    graph.add_conditional_edges("plan_step", to_samples, ["generate"])
    graph.add_edge("generate", "tally")
    graph.add_conditional_edges(
        "tally", bound(after_round, components), {"budget left": "plan_step", "budget spent": "vote_in_last"}
    )
    graph.add_conditional_edges("vote_in_last", after_choice, {"answer chosen": END, "budget left": "plan_step"})
    return compiled(graph, name, parts)


rsa = for_studio(create_rsa)
mixture_of_agents = for_studio(create_mixture_of_agents)
