"""Self-consistency (Wang et al. 2023): answers thought through step by step, and the one that most of them give."""

from __future__ import annotations

from typing import Literal, Unpack

from langchain_core.language_models import BaseChatModel
from langgraph.graph import END, START

from metascale.graphs.assembly import Graph, Unjudged, compiled, components_of, for_studio, new_graph
from metascale.nodes import as_node, generate, select_arm, set_arm, vote
from metascale.nodes import vote as tally
from metascale.nodes.select_arm import fan_out
from metascale.state import Sampling, State


def create_self_consistency(model: BaseChatModel | str | None = None, **parts: Unpack[Unjudged]) -> Graph:
    """Build the graph; arguments as for `create_metascale`. `settings.answer_kind` says what the answers are.

    Raises:
        MetaScaleError: the model is unknown, is not named, or cannot be set up.
    """
    components = components_of(model, parts, judged=False)

    def route(state: State) -> Literal["budget left", "budget spent"]:
        return "budget spent" if components.stop_reason(state) else "budget left"

    graph = new_graph()
    graph.add_node("set_arm", as_node(set_arm("chain_of_thought"), components))
    graph.add_node("select_arm", as_node(select_arm, components))
    graph.add_node("generate", as_node(generate, components), input_schema=Sampling)
    graph.add_node("tally", as_node(tally, components))
    graph.add_node("vote", as_node(vote, components))

    graph.add_edge(START, "set_arm")
    graph.add_edge("set_arm", "select_arm")
    graph.add_conditional_edges("select_arm", fan_out, ["generate"])
    graph.add_edge("generate", "tally")
    graph.add_conditional_edges("tally", route, {"budget left": "select_arm", "budget spent": "vote"})
    graph.add_edge("vote", END)
    return compiled(graph, "self_consistency", parts)


graph = for_studio(create_self_consistency)
