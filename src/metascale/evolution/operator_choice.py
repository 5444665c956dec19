"""Which operator breeds next: a bandit of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metascale.evolution.advantage import advantages
from metascale.evolution.children import PRIOR_ADVANTAGE, PRIOR_DEVIATION, PRIOR_VARIETY
from metascale.evolution.estimates import estimate
from metascale.pool.admission import Member
from metascale.records import OperatorName


def choose_operator(members: Sequence[Member], names: Sequence[OperatorName], rng: np.random.Generator) -> OperatorName:
    """Thompson sampling over how the operators' children fared.

    The advantage that an operator gives its children over what was there has a normal posterior, from the children of
    this run and the prior that `metascale.evolution.children` has for all. One draw from each; the highest wins.
    Ours.

    Args:
        members: the pool.
        names: the operators that can be used now, at least one.
        rng: of the draws.
    """
    tried = advantages(members, estimate(members))

    def draw(name: OperatorName) -> float:
        own = [child for child in tried if child.operator == name]
        weights = [1 / (child.variance + PRIOR_VARIETY**2) for child in own]
        precision = sum(weights) + 1 / PRIOR_DEVIATION**2
        told = sum(weight * child.value for weight, child in zip(weights, own, strict=True))
        return float(rng.normal((told + PRIOR_ADVANTAGE / PRIOR_DEVIATION**2) / precision, precision**-0.5))

    drawn = {name: draw(name) for name in names}
    return max(names, key=lambda name: drawn[name])
