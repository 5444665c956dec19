"""One answer, thought through step by step (the paper's CoT 1-pass baseline)."""

from __future__ import annotations

from typing import Unpack

from langchain_core.language_models import BaseChatModel
from langgraph.graph import START

from metascale.graphs.assembly import Graph, Unjudged, add_one_pass, compiled, components_of, for_studio, new_graph
from metascale.nodes import as_node, set_arm


def create_chain_of_thought(model: BaseChatModel | str | None = None, **parts: Unpack[Unjudged]) -> Graph:
    """Build the graph; arguments as for `create_metascale`.

    Raises:
        MetaScaleError: the model is unknown, is not named, or cannot be set up.
    """
    components = components_of(model, parts, judged=False, budget=1)
    graph = new_graph()
    graph.add_node("set_arm", as_node(set_arm("chain_of_thought"), components))
    graph.add_edge(START, "set_arm")
    add_one_pass(graph, components, after="set_arm")
    return compiled(graph, "chain_of_thought", parts)


graph = for_studio(create_chain_of_thought)
