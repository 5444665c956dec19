"""Self-Discover + best-of-N: answers under a plan that the model composes for the task (the paper's fifth baseline)."""

from __future__ import annotations

from typing import Unpack

from langgraph.graph import START

from metascale.graphs.assembly import Graph, Judged, add_nodes, compiled, for_studio, new_graph
from metascale.graphs.baselines import add_best_of_n, components_of
from metascale.models import Models
from metascale.nodes import adapt_modules, compose_plan, select_modules
from metascale.nodes.self_discover import SelfDiscoverState


def create_self_discover_best_of_n(model: Models = None, **parts: Unpack[Judged]) -> Graph:
    """Build the graph. Arguments as for `create_metascale`.

    Raises:
        MetaScaleError: the model is unknown, is not named, or cannot be set up.
    """
    components = components_of(model, parts, judged=True)
    graph = new_graph(SelfDiscoverState)
    add_nodes(graph, components, select_modules, adapt_modules, compose_plan)
    graph.add_edge(START, "select_modules")
    graph.add_edge("select_modules", "adapt_modules")
    graph.add_edge("adapt_modules", "compose_plan")
    add_best_of_n(graph, components, after="compose_plan")
    return compiled(graph, "self_discover_best_of_n", parts)


graph = for_studio(create_self_discover_best_of_n)
