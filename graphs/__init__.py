"""The graphs: wiring only. `METHODS` lists them by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from metascale.graphs.aggregation import create_mixture_of_agents, create_rsa
from metascale.graphs.assembly import Graph
from metascale.graphs.baselines import create_best_of_n, create_chain_of_thought, create_cot_best_of_n, create_direct
from metascale.graphs.meta_reasoning import create_meta_reasoning
from metascale.graphs.metascale import create_metascale
from metascale.graphs.self_consistency import create_cisc, create_self_consistency
from metascale.graphs.self_discover_best_of_n import create_self_discover_best_of_n


@dataclass(frozen=True)
class Method:
    """A way to answer a question.

    Attributes:
        create: builds the graph.
        description: what the method does, in one line.
        judged: whether the method takes a reward.
        one_pass: whether the method draws one sample, whatever the budget.
        whole_budget: whether the method never ends on agreement, because its last samples are written from all others.
    """

    create: Callable[..., Graph]
    description: str
    judged: bool = True
    one_pass: bool = False
    whole_budget: bool = False


METHODS = {
    "metascale": Method(
        create_metascale,
        "Chooses how to think, samples, scores, evolves and answers, within a hard sampling budget.",
    ),
    "direct": Method(create_direct, "One plain answer.", judged=False, one_pass=True),
    "chain_of_thought": Method(create_chain_of_thought, "One answer by chain of thought.", judged=False, one_pass=True),
    "best_of_n": Method(create_best_of_n, "The best of N plain answers, by reward."),
    "cot_best_of_n": Method(create_cot_best_of_n, "The best of N chains of thought, by reward."),
    "mrp": Method(
        create_meta_reasoning,
        "Rates reasoning methods for the question, and answers with the best one.",
        judged=False,
        one_pass=True,
    ),
    "self_consistency": Method(
        create_self_consistency,
        "Several chains of thought, and the most frequent final answer.",
        judged=False,
    ),
    "cisc": Method(
        create_cisc,
        "Self-consistency whose votes are weighed by how sure the model was of each answer.",
        judged=False,
    ),
    "rsa": Method(
        create_rsa,
        "Recursive self-aggregation: answers written from earlier answers, step by step, and a vote among the last.",
        judged=False,
        whole_budget=True,
    ),
    "mixture_of_agents": Method(
        create_mixture_of_agents,
        "Answers under several meta-thoughts, in layers that read each other, and one answer written from the last.",
        judged=False,
        whole_budget=True,
    ),
    "self_discover_best_of_n": Method(
        create_self_discover_best_of_n,
        "The best of N answers under a plan that the model composes for the task, by reward.",
    ),
}

__all__ = [
    "METHODS",
    "Graph",
    "Method",
    "create_best_of_n",
    "create_chain_of_thought",
    "create_cisc",
    "create_cot_best_of_n",
    "create_direct",
    "create_meta_reasoning",
    "create_metascale",
    "create_mixture_of_agents",
    "create_rsa",
    "create_self_consistency",
    "create_self_discover_best_of_n",
]
