"""Meta-Reasoning Prompting (Gao et al. 2024): rate the known reasoning methods for the task, and apply the best one."""

from __future__ import annotations

from typing import Unpack

from langchain_core.language_models import BaseChatModel
from langgraph.graph import START

from metascale.graphs.assembly import Graph, Unjudged, add_one_pass, compiled, components_of, for_studio, new_graph
from metascale.nodes import apply_method, as_node, rate_methods
from metascale.nodes.rate_methods import MetaReasoningState


def create_meta_reasoning(model: BaseChatModel | str | None = None, **parts: Unpack[Unjudged]) -> Graph:
    """Build the graph; arguments as for `create_metascale`.

    Raises:
        MetaScaleError: the model is unknown, is not named, or cannot be set up, or a reasoning method cannot be read.
    """
    components = components_of(model, parts, judged=False, budget=1)
    graph = new_graph(MetaReasoningState)
    graph.add_node("rate_methods", as_node(rate_methods, components))
    graph.add_node("apply_method", as_node(apply_method, components))
    graph.add_edge(START, "rate_methods")
    graph.add_edge("rate_methods", "apply_method")
    add_one_pass(graph, components, after="apply_method")
    return compiled(graph, "meta_reasoning", parts)


graph = for_studio(create_meta_reasoning)
