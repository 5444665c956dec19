"""Which operator breeds next: a bandit over operators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metascale.bandits.estimates import estimate
from metascale.evolution.advantage import advantages
from metascale.evolution.children import Children
from metascale.pool.admission import PoolArm
from metascale.records import OperatorName


def choose_operator(
    members: Sequence[PoolArm], names: Sequence[OperatorName], rng: np.random.Generator
) -> OperatorName:
    """Thompson sampling over the advantages of the operators' children.

    The children of each operator are a class (`Children`). The mean advantage of the class has a normal posterior. Each
    operator gets one draw from its own, and the highest draw wins.

    Args:
        members: the pool.
        names: of the operators that can be used now, at least one.
        rng: for the draws.
    """
    tried = advantages(members, estimate(members))

    def draw(name: OperatorName) -> float:
        learned = Children.learn([child for child in tried if child.operator == name])
        return float(rng.normal(learned.advantage, learned.error**0.5))

    drawn = {name: draw(name) for name in names}
    return max(names, key=lambda name: drawn[name])
