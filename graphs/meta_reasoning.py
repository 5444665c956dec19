"""Meta-Reasoning Prompting (Gao et al. 2024): rate reasoning methods for the task, and apply the best one."""

from __future__ import annotations

from typing import Unpack

from langgraph.graph import START

from metascale.graphs.assembly import Graph, Unjudged, add_nodes, compiled, for_studio, new_graph
from metascale.graphs.baselines import add_one_pass, components_of
from metascale.models import Models
from metascale.nodes import apply_method, rate_methods
from metascale.nodes.rate_methods import MetaReasoningState


def create_meta_reasoning(model: Models = None, **parts: Unpack[Unjudged]) -> Graph:
    """Build the graph. Arguments as for `create_metascale`.

    Raises:
        MetaScaleError: the model is unknown, is not named, or cannot be set up, or a reasoning method cannot be read.
    """
    components = components_of(model, parts, judged=False, budget=1)
    graph = new_graph(MetaReasoningState)
    add_nodes(graph, components, rate_methods, apply_method)
    graph.add_edge(START, "rate_methods")
    graph.add_edge("rate_methods", "apply_method")
    add_one_pass(graph, components, after="apply_method")
    return compiled(graph, "mrp", parts)


graph = for_studio(create_meta_reasoning)
