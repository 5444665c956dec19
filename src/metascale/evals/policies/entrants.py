"""The policies that a replay compares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from metascale.bandits import POLICIES, UCB, Policy, RoundRobin, Single, Softmax
from metascale.errors import UnknownNameError

ANYTIME = (UCB, Softmax, RoundRobin, Single)
"""Policies that ignore how much of the budget is left: the first pulls of a long run are a short run."""


def bandits(names: Sequence[str] = (), known: Mapping[str, Callable[..., Policy]] = POLICIES) -> dict[str, Policy]:
    """Policies with their default parameters, by name.

    Args:
        names: the policies; empty for all.
        known: those to choose from; UCB with the textbook's weight, `ucb_sqrt2`, is added.

    Raises:
        UnknownNameError: there is no such policy.
    """
    policies: dict[str, Policy] = {name: create() for name, create in known.items()}
    policies["ucb_sqrt2"] = UCB(math.sqrt(2))
    for name in names:
        if name not in policies:
            raise UnknownNameError("policy", name, policies)
    return {name: policies[name] for name in names or policies}
