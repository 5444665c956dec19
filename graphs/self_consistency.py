"""Self-consistency (Wang et al. 2023): several chains of thought, and the most frequent final answer.

CISC (confidence-informed self-consistency, Taubenfeld et al. 2025) weighs the votes by confidence: here by how sure the
model was of its tokens, which costs no request.
"""

from __future__ import annotations

from typing import Any, Unpack

from langgraph.graph import END, START

from metascale.graphs.assembly import Graph, Unjudged, add_nodes, bound, compiled, for_studio, new_graph
from metascale.graphs.baselines import components_of
from metascale.graphs.routes import after_choice, after_round, to_samples
from metascale.models import Models
from metascale.nodes import generate, select_arm, set_arm, tally, vote


def create_self_consistency(model: Models = None, **parts: Unpack[Unjudged]) -> Graph:
    """Build the graph. Arguments as for `create_metascale`; `settings.answer_kind` says what kind of answer to compare.

    Raises:
        MetaScaleError: the model is unknown, is not named, or cannot be set up.
    """
    return _build("self_consistency", model, parts)


def create_cisc(model: Models = None, **parts: Unpack[Unjudged]) -> Graph:
    """Build the graph of self-consistency with weighed votes. Arguments and errors as for `create_self_consistency`."""
    return _build("cisc", model, parts, weigh_votes=True)


def _build(name: str, model: Models, parts: Unjudged, **fixed: Any) -> Graph:
    components = components_of(model, parts, judged=False, **fixed)
    graph = new_graph()
    add_nodes(graph, components, set_arm("chain_of_thought"), select_arm, generate, tally, vote)
    graph.add_edge(START, "set_arm")
    graph.add_edge("set_arm", "select_arm")
    graph.add_conditional_edges("select_arm", to_samples, ["generate"])
    graph.add_edge("generate", "tally")
    graph.add_conditional_edges(
        "tally", bound(after_round, components), {"budget left": "select_arm", "budget spent": "vote"}
    )
    graph.add_conditional_edges("vote", after_choice, {"answer chosen": END, "budget left": "select_arm"})
    return compiled(graph, name, parts)


graph = for_studio(create_self_consistency)
cisc = for_studio(create_cisc)
