"""The graphs: wiring alone. `METHODS` names them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from metascale.graphs.assembly import Graph
from metascale.graphs.baselines import create_best_of_n, create_chain_of_thought, create_cot_best_of_n, create_direct
from metascale.graphs.meta_reasoning import create_meta_reasoning
from metascale.graphs.metascale import create_metascale
from metascale.graphs.self_consistency import create_self_consistency
from metascale.graphs.self_discover_best_of_n import create_self_discover_best_of_n


@dataclass(frozen=True)
class Method:
    """A way to answer a question.

    Attributes:
        create: the graph's factory.
        judged: whether it takes a reward.
        one_pass: whether it draws one sample, whatever the budget.
    """

    create: Callable[..., Graph]
    judged: bool = True
    one_pass: bool = False


METHODS = {
    "metascale": Method(create_metascale),
    "direct": Method(create_direct, judged=False, one_pass=True),
    "chain_of_thought": Method(create_chain_of_thought, judged=False, one_pass=True),
    "best_of_n": Method(create_best_of_n),
    "cot_best_of_n": Method(create_cot_best_of_n),
    "mrp": Method(create_meta_reasoning, judged=False, one_pass=True),
    "self_consistency": Method(create_self_consistency, judged=False),
    "self_discover_best_of_n": Method(create_self_discover_best_of_n),
}

__all__ = [
    "METHODS",
    "Graph",
    "Method",
    "create_best_of_n",
    "create_chain_of_thought",
    "create_cot_best_of_n",
    "create_direct",
    "create_meta_reasoning",
    "create_metascale",
    "create_self_consistency",
    "create_self_discover_best_of_n",
]
