"""Every arm in turn: the search without its bandit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metascale.bandits.base import Arm, untried


@dataclass(frozen=True)
class RoundRobin:
    """Pulls the arm with the fewest pulls and ignores rewards; ties are broken at random."""

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:  # noqa: ARG002
        """Choose `size` pulls; see `Policy.plan`."""
        plan = untried(arms, size)
        pulls = np.array([arm.pulls for arm in arms], dtype=np.int64)
        pulls[plan] += 1
        while len(plan) < size:
            fewest = int(rng.choice(np.flatnonzero(pulls == pulls.min())))
            plan.append(fewest)
            pulls[fewest] += 1
        return plan
