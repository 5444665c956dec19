"""Best-of-N: plain answers, and the one of highest reward (the paper's baseline)."""

from __future__ import annotations

from typing import Unpack

from langchain_core.language_models import BaseChatModel
from langgraph.graph import START

from metascale.graphs.assembly import Graph, Judged, add_best_of_n, compiled, components_of, for_studio, new_graph
from metascale.nodes import as_node, set_arm


def create_best_of_n(model: BaseChatModel | str | None = None, **parts: Unpack[Judged]) -> Graph:
    """Build the graph; arguments as for `create_metascale`.

    Raises:
        MetaScaleError: the model is unknown, is not named, or cannot be set up.
    """
    components = components_of(model, parts, judged=True)
    graph = new_graph()
    graph.add_node("set_arm", as_node(set_arm("no_strategy"), components))
    graph.add_edge(START, "set_arm")
    add_best_of_n(graph, components, after="set_arm")
    return compiled(graph, "best_of_n", parts)


graph = for_studio(create_best_of_n)
