"""The paper's baselines: one plain answer, one chain of thought, and the best of N of either (paper, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from langgraph.graph import END, START

from metascale.budget.rounds import widest_round
from metascale.errors import ModelSetupError
from metascale.graphs.assembly import (
    Builder,
    Graph,
    Judged,
    Unjudged,
    add_nodes,
    bound,
    compiled,
    for_studio,
    new_graph,
)
from metascale.graphs.routes import NEXT, after_choice, after_spending, to_samples
from metascale.models import Models, resolve_models
from metascale.nodes import Components, confirm, finalize, generate, score, select_arm, set_arm, synthesize
from metascale.nodes.run import check_parts
from metascale.rewards import Unscored
from metascale.settings import MetaScaleSettings


def create_direct(model: Models = None, **parts: Unpack[Unjudged]) -> Graph:
    """One plain answer (the paper's 1-pass baseline). Arguments as for `create_metascale`.

    Raises:
        MetaScaleError: the model is unknown, is not named, or cannot be set up.
    """
    return _one_pass("direct", "no_strategy", model, parts)


def create_chain_of_thought(model: Models = None, **parts: Unpack[Unjudged]) -> Graph:
    """One answer by chain of thought (the paper's CoT 1-pass baseline). Arguments and errors as for `create_direct`."""
    return _one_pass("chain_of_thought", "chain_of_thought", model, parts)


def create_best_of_n(model: Models = None, **parts: Unpack[Judged]) -> Graph:
    """The best of N plain answers by reward (the paper's best-of-N). Arguments as for `create_metascale`."""
    return _best_of_n("best_of_n", "no_strategy", model, parts)


def create_cot_best_of_n(model: Models = None, **parts: Unpack[Judged]) -> Graph:
    """The best of N chains of thought by reward (the paper's CoT + best-of-N). Arguments as for `create_metascale`."""
    return _best_of_n("cot_best_of_n", "chain_of_thought", model, parts)


def components_of(model: Models, parts: Judged | Unjudged, *, judged: bool, **fixed: Any) -> Components:
    """The components of a baseline.

    Args:
        model: as for `create_metascale`.
        parts: the keyword arguments that the user gave.
        judged: whether the method takes a reward.
        fixed: settings that the method prescribes.

    Raises:
        TypeError: the method does not take one of the arguments.
        MetaScaleError: the model is unknown, is not named, or cannot be set up, or there are several.
    """
    given: Mapping[str, Any] = parts
    unknown = given.keys() - (Judged if judged else Unjudged).__annotations__.keys() - Unjudged.__annotations__.keys()
    if unknown:
        raise TypeError(f"unexpected arguments: {', '.join(sorted(unknown))}")
    check_parts(given.get("settings"), reward=given.get("reward"))
    chosen = given.get("settings") or MetaScaleSettings()
    models = resolve_models(model, at_once=widest_round(chosen))
    if len(models) > 1:
        raise ModelSetupError("this method takes one model; a list of models needs the method 'metascale'")
    return Components(
        models,
        reward=given.get("reward") if judged else Unscored(),
        defaults=chosen,
        fixed=MetaScaleSettings(**fixed),
    )


def add_best_of_n(graph: Builder, components: Components, *, after: str) -> None:
    """Add the nodes that follow `after`: rounds of scored samples, then the choice of the best one."""
    add_nodes(graph, components, select_arm, generate, score, synthesize, confirm, finalize)
    graph.add_edge(after, "select_arm")
    graph.add_conditional_edges("select_arm", to_samples, ["generate", "finalize"])
    graph.add_edge("generate", "score")
    for phase in ("score", "synthesize", "confirm"):
        graph.add_conditional_edges(phase, bound(after_spending, components), NEXT)
    graph.add_conditional_edges("finalize", after_choice, {"answer chosen": END, "budget left": "select_arm"})


def add_one_pass(graph: Builder, components: Components, *, after: str) -> None:
    """Add the nodes that follow `after`: one sample, which is the answer."""
    add_nodes(graph, components, select_arm, generate, finalize)
    graph.add_edge(after, "select_arm")
    graph.add_conditional_edges("select_arm", to_samples, ["generate", "finalize"])
    graph.add_edge("generate", "finalize")
    graph.add_conditional_edges("finalize", after_choice, {"answer chosen": END, "budget left": "select_arm"})


def _one_pass(name: str, arm: str, model: Models, parts: Unjudged) -> Graph:
    components = components_of(model, parts, judged=False, budget=1)
    graph = new_graph()
    add_nodes(graph, components, set_arm(arm))
    graph.add_edge(START, "set_arm")
    add_one_pass(graph, components, after="set_arm")
    return compiled(graph, name, parts)


def _best_of_n(name: str, arm: str, model: Models, parts: Judged) -> Graph:
    components = components_of(model, parts, judged=True)
    graph = new_graph()
    add_nodes(graph, components, set_arm(arm))
    graph.add_edge(START, "set_arm")
    add_best_of_n(graph, components, after="set_arm")
    return compiled(graph, name, parts)


direct = for_studio(create_direct)
chain_of_thought = for_studio(create_chain_of_thought)
best_of_n = for_studio(create_best_of_n)
cot_best_of_n = for_studio(create_cot_best_of_n)
