"""An index for the best of the remaining budget: mean, spread, and what is left to learn of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metascale.bandits.base import Arm, highest, moments, unpulled


@dataclass(frozen=True)
class UpperTail:
    """Pulls the arm whose upper tail may reach highest, one after another.

    The answer of a run is the best of its samples, so an arm is worth what the best of many draws from it is worth,
    and not its mean. That lies about `mean + tail * sd`: of two arms with the same mean the more varied one wins. What
    is known of an arm is uncertain by about `sd / sqrt(n)`, and to find out more pays only as far as pulls are left
    to use it. The index of an arm is therefore

        mean + tail * sd + width * sqrt(ln(max(1.1, T / K))) * pooled_sd * sqrt(ln(1 + left / n) / n)

    with n the arm's pulls, those planned in this round included; `left` the pulls that the budget still pays for, one
    fewer with each that is planned; T all pulls of the run, past and left; K the number of arms; mean, sd and pooled_sd
    from `moments`. The bonus dies out as `left` does, grows with the number of pulls an arm can expect in the whole run
    (T / K), and is measured in the rewards' own spread, so that it fits coarse and fine rewards alike. Ties are broken
    at random. The rule is ours.

    Attributes:
        tail: how many standard deviations above the mean the best draw is looked for, at least 0. Ours, like `width`:
            the two were tuned on simulated landscapes of 8 arms and 16 to 128 pulls.
        width: weight of exploration, at least 0.
    """

    tail: float = 2.0
    width: float = 0.8

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:
        """Choose `size` pulls; see `Policy.plan`."""
        plan = unpulled(arms, size)
        known = moments(arms)
        tails = known.means + self.tail * np.sqrt(known.variances)
        pulls = np.array([arm.pulls for arm in arms], dtype=np.float64)
        horizon = float(pulls.sum()) + left
        width = self.width * math.sqrt(math.log(max(1.1, horizon / len(arms))) * known.pooled)
        pulls[plan] += 1
        while len(plan) < size:
            best = highest(tails + width * np.sqrt(np.log1p((left - len(plan)) / pulls) / pulls), rng)
            plan.append(best)
            pulls[best] += 1
        return plan
