"""An index for the best of the remaining budget: what playing an arm to the end may still improve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from metascale.bandits.base import Arm, highest, untried
from metascale.bandits.posterior import DEVIATIONS, Posterior, posterior

AT_ONCE, FROM_THE_MIDDLE = 4, 2
"""Pulls an arm that a budget has where all arms are tried first, and where they are tried from its middle on."""
NOISE = 0.7
"""Share of the steadiest arm's variance that is taken for the judge's noise. Ours: on simulated landscapes with noisy
judges 0.4 and 0.7 win over 0; where only spreads differ and the judge is nearly exact, 0 does. On average over the
seven of `python -m benchmarks.policies` all are alike within their errors."""
SCALE = np.linspace(-6, 6, 601)
CDF = np.array([NormalDist().cdf(z) for z in SCALE.tolist()])
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()


@dataclass(frozen=True)
class UpperTail:
    """Pulls the arm whose remaining draws may improve most on the best answer so far.

    The answer of a run is the best of its samples, so an arm is worth what the best of its draws is worth, and not its
    mean. If an arm's mean and deviation were known and all `left` pulls went to it, the best of these would exceed the
    highest reward b with probability p(x), x = (b - mean) / sd, and by sd * g(x) on average, where

        p(x) = 1 - Phi(x)^left,    g(x) = integral from x to y of p(z) dz,    y = (1 - mean) / sd

    with Phi the standard normal distribution function: rewards end at 1, so beyond y there is nothing to gain. A reward
    is quality and the judge's noise. If the share s of the variance within the arm is quality, so is the share s of
    what a draw lies above the mean, and the best of the draws would replace the best answer so far, which is from an
    arm whose mean is m, to the gain of

        v = s * sd * g(x) + (1 - s) * (mean - m) * p(x)

    in quality: an exact judge makes luck worth having, a noisy one the better mean. All arms have the same judge, so
    what varies least bounds the noise: its variance is taken to be `NOISE` times that of the steadiest arm. Mean and
    deviation are not known; `posterior` says how likely each value is. The index of an arm is the posterior mean of v,
    and for what there is to learn some of its posterior deviation:

        (E[v] + width * ln(1 + (left - 1) / n) * sqrt(known / n) * SD[v]) * (scored + 1) / (known + 1)

    with `known` the arm's pulls, n these and those planned in this round, `scored` its rewards, and `left` fewer by one
    with each pull that is planned. So the bonus dies out with the budget; pulls whose rewards are not known yet stand
    for what they will teach, so that one arm is not taken for a whole round unless it should be; and an arm whose
    answers mostly fail is worth as much less. Ties are broken at random.

    Arms without a pull come first, unless a prior counts for a reward or more: then the index speaks for them too, up
    to the middle of the budget where that is short. The rule is ours.

    Attributes:
        width: weight of exploration, at least 0. Ours: tuned on simulated landscapes of 8 arms and 16 to 128 pulls.
    """

    width: float = 0.65

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:
        """Choose `size` pulls; see `Policy.plan`."""
        plan = untried(arms, size) if _all_are_due(arms, left) else untried(arms, size, but_believed=True)
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


def _all_are_due(arms: Sequence[Arm], left: int) -> bool:
    """Whether even arms whose prior made them wait must now have their first pull.

    With four pulls for every arm there is time to try them all at once; with two, from the middle of the budget on: so
    a wrong prior costs at most half of it. Ours, as the numbers are.
    """
    pulled = sum(arm.pulls for arm in arms)
    affords = (pulled + left) / len(arms)
    return affords >= AT_ONCE or (affords >= FROM_THE_MIDDLE and left <= pulled)


def _improvements(arms: Sequence[Arm], left: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Posterior mean and standard deviation of every arm's v, both times the share of its pulls that are scored.

    Each of shape (arms,), in units of all rewards' spread.
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
    return scored * expected, scored * np.sqrt(variance)


def _quality(known: Posterior) -> NDArray[np.float64]:
    """The share of an arm's variance that is quality, in [0, 1], for each of `DEVIATIONS`."""
    steadiest = known.variances.min()
    return np.asarray(1 - NOISE * np.minimum(1.0, steadiest / np.square(DEVIATIONS)))


def _excess(gaps: NDArray[np.float64], excesses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The integral of p from each gap to infinity: below `SCALE`, where p is 1, it is a line."""
    return np.asarray(np.interp(gaps, SCALE, excesses) + np.maximum(0.0, SCALE[0] - gaps))


@lru_cache(maxsize=4_096)
def _tables(draws: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The function p, and by the trapezoidal rule its integral to infinity, at the points of `SCALE`."""
    chances = 1 - CDF**draws
    steps = (chances[1:] + chances[:-1]) / 2 * (SCALE[1] - SCALE[0])
    return chances, np.append(np.cumsum(steps[::-1])[::-1], 0.0)
