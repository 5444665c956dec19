"""An index policy for the best of the remaining budget: the expected gain from spending it on one arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from metascale.bandits.base import Arm, highest, prices, untried
from metascale.bandits.posterior import DEVIATIONS, Posterior, posterior

AT_ONCE, FROM_THE_MIDDLE = 4, 2
"""Budgets, in pulls per arm. With the first, all arms are tried at once; with the second, from the middle of it on."""
NOISE = 0.7
"""Share of the steadiest arm's variance that is attributed to the judge's noise. Ours: tuned on simulated landscapes.
With noisy judges 0.4 and 0.7 are better than 0; where only spreads differ and the judge is nearly exact, 0 is better.
The means over all seven landscapes are equal within their errors."""
SCALE = np.linspace(-6, 6, 601)
CDF = np.array([NormalDist().cdf(z) for z in SCALE.tolist()])
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()


@dataclass(frozen=True)
class UpperTail:
    """Pulls the arm whose remaining draws may improve most on the best answer so far.

    A run answers with the best of its samples, so the best draw of an arm counts and not its mean. If an arm's mean and
    deviation were known and it got all `left` pulls, their best would exceed the highest reward b with probability
    p(x), x = (b - mean) / sd, and by sd * g(x) on average, where

        p(x) = 1 - Phi(x)^left,    g(x) = integral from x to y of p(z) dz,    y = (1 - mean) / sd

    with Phi the standard normal distribution function. Rewards end at 1, so there is nothing to gain beyond y. A reward
    is quality plus the judge's noise. If the share s of the variance within the arm is quality, then the share s of a
    draw's excess over the mean is quality too. The best draw would replace the best answer so far, which is from an arm
    with the mean m. The gain in quality is

        v = s * sd * g(x) + (1 - s) * (mean - m) * p(x)

    So high draws count under an exact judge, and the better mean counts under a noisy one. All arms have the same
    judge, so the steadiest arm bounds the noise: its variance is taken as `NOISE` times that arm's. Mean and deviation
    are not known; `posterior` gives their distribution. The index of an arm is the posterior mean of v plus a bonus for
    what its pulls would teach, a multiple of v's posterior deviation:

        (E[v] + width * ln(1 + (left - 1) / n) * sqrt(known / n) * SD[v]) * (scored + 1) / (known + 1)

    `known` is the number of the arm's pulls, n adds those planned in this round, `scored` is the number of its rewards,
    and each planned pull lowers `left` by one. The bonus falls to 0 at the end of the budget. Planned pulls reduce it
    before their rewards are known, so that a round is not spent on one arm without reason. An arm whose answers often
    fail has a proportionally lower index. The price of a pull is subtracted. Ties are broken at random.

    Arms without a pull come first, except those whose prior counts for a reward or more: the index ranks these like
    the others until `_all_are_due`.

    Attributes:
        width: weight of exploration, at least 0. Ours: tuned on simulated landscapes of 8 arms and 16 to 128 pulls.
    """

    width: float = 0.65

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:
        """Choose `size` pulls; see `Policy.plan`."""
        plan = untried(arms, size) if _all_are_due(arms, size, left) else untried(arms, size, but_believed=True)
        if len(plan) == size:
            return plan
        known = np.array([max(1, arm.pulls) for arm in arms], dtype=np.float64)
        pulls = known.copy()
        pulls[plan] += 1
        expected, deviation = _improvements(arms, left - len(plan))
        while len(plan) < size:
            to_learn = np.log1p((left - len(plan) - 1) / pulls) * np.sqrt(known / pulls)
            best = highest(expected + self.width * to_learn * deviation, rng)
            plan.append(best)
            pulls[best] += 1
        return plan


def _all_are_due(arms: Sequence[Arm], size: int, left: int) -> bool:
    """Whether arms whose first pull was delayed by their prior must be pulled now.

    With at least `AT_ONCE` pulls per arm all arms are tried first. With at least `FROM_THE_MIDDLE` they are tried
    in the round of `size` pulls after which no more are left than were made before it. In rounds that are small or
    double, a wrong prior costs at most half of the budget.
    """
    pulled = sum(arm.pulls for arm in arms)
    affords = (pulled + left) / len(arms)
    return affords >= AT_ONCE or (affords >= FROM_THE_MIDDLE and left - size <= pulled)


def _improvements(arms: Sequence[Arm], left: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Posterior mean and standard deviation of every arm's v, both multiplied by the share of its pulls with a reward.

    The price of a pull is subtracted from the mean. Each has shape (arms,), in units of the standard deviation of all
    rewards.
    """
    known = posterior(arms)
    tops = np.array([max(arm.rewards, default=-np.inf) for arm in arms])
    has_rewards = bool(np.isfinite(tops.max()))
    bar = (tops.max() - known.centre) / known.unit if has_rewards else 0.0
    of_leader = known.expected[tops == tops.max()].mean() if has_rewards else 0.0
    means = known.means[..., None] + known.deviations[..., None] * NODES
    gaps = (bar - means) / DEVIATIONS[:, None]
    ends = ((1 - known.centre) / known.unit - means) / DEVIATIONS[:, None]
    chances, excesses = _tables(left)
    higher = DEVIATIONS[:, None] * (_excess(gaps, excesses) - _excess(ends, excesses))
    better = (means - of_leader) * np.interp(gaps, SCALE, chances)
    share = _quality(known)[:, None]
    values = share * higher + (1 - share) * better
    weights = known.weights[..., None] * NODE_WEIGHTS
    expected = (weights * values).sum(axis=(1, 2, 3))
    variance = (weights * np.square(values - expected[:, None, None, None])).sum(axis=(1, 2, 3))
    scored = np.array([(len(arm.rewards) + 1) / (arm.pulls + 1) for arm in arms])
    return scored * expected - prices(arms) / known.unit, scored * np.sqrt(variance)


def _quality(known: Posterior) -> NDArray[np.float64]:
    """The share of an arm's variance that is quality, in [0, 1], for each of `DEVIATIONS`."""
    steadiest = known.variances.min()
    return np.asarray(1 - NOISE * np.minimum(1.0, steadiest / np.square(DEVIATIONS)))


def _excess(gaps: NDArray[np.float64], excesses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The integral of p from each gap to infinity. Below `SCALE` p is 1, and the integral is linear."""
    return np.asarray(np.interp(gaps, SCALE, excesses) + np.maximum(0.0, SCALE[0] - gaps))


@lru_cache(maxsize=4_096)
def _tables(draws: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The function p and its integral to infinity (by the trapezoidal rule) at the points of `SCALE`."""
    chances = 1 - CDF**draws
    steps = (chances[1:] + chances[:-1]) / 2 * (SCALE[1] - SCALE[0])
    return chances, np.append(np.cumsum(steps[::-1])[::-1], 0.0)
