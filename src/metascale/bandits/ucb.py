"""UCB, the paper's selection rule (section 3, phase 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metascale.bandits.base import Arm, mean_rewards, prices, untried


def _bounds(means: NDArray[np.float64], pulls: NDArray[np.int64], beta: float) -> NDArray[np.float64]:
    t = max(1, int(pulls.sum()))
    bounds = np.full(len(means), np.inf)
    seen = pulls > 0
    bounds[seen] = means[seen] + beta * np.sqrt(np.log(t) / pulls[seen])
    return bounds


def ucb_scores(arms: Sequence[Arm], beta: float) -> NDArray[np.float64]:
    """`mean + beta * sqrt(ln t / n)` of each arm, shape (len(arms),); infinite for an arm without a pull.

    The paper's formula: n is the arm's pulls, t the pulls of all arms, and the logarithm is plain (not `2 ln t`).

    Args:
        arms: the arms.
        beta: weight of exploration, at least 0; the paper does not give its value.
    """
    return _bounds(mean_rewards(arms), np.array([arm.pulls for arm in arms], dtype=np.int64), beta)


@dataclass(frozen=True)
class UCB:
    """Pulls the arm with the highest upper confidence bound, one after another.

    Within a round, planned pulls count as pulls (with the mean unchanged), so that a round spreads over arms whose
    bounds are close instead of going to one arm. Ties are broken at random.

    Attributes:
        beta: weight of exploration, at least 0.
    """

    beta: float = 0.3

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:  # noqa: ARG002
        """Choose `size` pulls; see `Policy.plan`."""
        plan = untried(arms, size)
        means = mean_rewards(arms) - prices(arms)
        pulls = np.array([arm.pulls for arm in arms], dtype=np.int64)
        pulls[plan] += 1
        while len(plan) < size:
            bounds = _bounds(means, pulls, self.beta)
            best = int(rng.choice(np.flatnonzero(bounds == bounds.max())))
            plan.append(best)
            pulls[best] += 1
        return plan
