"""What the rewards say of every arm's mean and spread, by a hierarchical model that the arms share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, product

import numpy as np
from numpy.typing import NDArray

from metascale.bandits.base import Arm
from metascale.stats.shrinkage import Scale, pulled

Numbers = NDArray[np.float64]

DEVIATIONS = np.array([0.25, 0.4, 0.55, 0.75, 1.0, 1.3, 1.7, 2.2])
"""Standard deviations that an arm may have, in units of that of all rewards together."""
SPREADS_OF_MEANS = (0.25, 0.7)
"""Standard deviations that the arms' means may have, in the same unit: arms that hardly differ, and arms that do."""
TYPICAL_DEVIATIONS = (0.7, 1.0)
"""Where an arm's standard deviation may lie typically."""
SPREADS_OF_DEVIATIONS = (0.1, 0.4)
"""Standard deviations, on a logarithmic scale, of the arms' own deviations: all alike, and not."""

UNIT = Scale(0.15, 0.25)
"""All rewards of a run together. Ours: the weight says what an advantage means before the first rewards, no more."""


def _kinds_of_pools() -> tuple[Numbers, Numbers]:
    """What pools there are: the spread of their means, shape (kinds,), and of deviations, (kinds, deviations)."""
    spreads, deviations = [], []
    for spread, typical, width in product(SPREADS_OF_MEANS, TYPICAL_DEVIATIONS, SPREADS_OF_DEVIATIONS):
        masses = np.exp(-0.5 * np.square(np.log(DEVIATIONS / typical) / width))
        spreads.append(spread)
        deviations.append(np.log(masses / masses.sum() + 1e-12))
    return np.array(spreads), np.array(deviations)


SPREADS, LOG_DEVIATIONS = _kinds_of_pools()
VARIANCES = np.square(DEVIATIONS)


@dataclass(frozen=True)
class Posterior:
    """A mixture of normal distributions of every arm's mean, one for each kind of pool and deviation of the arm.

    All in units of `unit` about `centre`.

    Attributes:
        centre: the mean reward of the average arm.
        unit: the standard deviation of all rewards together, above 0.
        weights: of the mixture, shape (arms, kinds, deviations), each arm's sum to 1.
        means: of the arm's mean, the same shape.
        deviations: of the arm's mean, the same shape.
    """

    centre: float
    unit: float
    weights: Numbers
    means: Numbers
    deviations: Numbers

    @property
    def expected(self) -> Numbers:
        """The arms' expected means, shape (arms,)."""
        return np.asarray((self.weights * self.means).sum(axis=(1, 2)))

    @property
    def variances(self) -> Numbers:
        """The arms' variances within: geometric means, shape (arms,), in squares of `unit`."""
        return np.asarray(np.exp((self.weights * np.log(VARIANCES)).sum(axis=(1, 2))))


def posterior(arms: Sequence[Arm]) -> Posterior:
    """Learn what the arms have in common, and with its help what each one is like.

    The model: rewards of an arm are normal about its mean; the arms' means are normal about a common centre, their
    deviations log-normal about a typical one. How far means and deviations spread over the pool is one of eight kinds
    of pools, equally likely at first, so that an odd reward counts as luck where the other arms look alike, and as a
    sign where they do not. Given a deviation all is in closed form; deviations and kinds are summed over a grid. The
    unit is the rewards' own spread, so that rewards of any scale serve. A prior counts as so many rewards whose mean is
    the centre plus its advantage, and says nothing of the deviation. The model is ours, and so is its grid: it spans
    what the simulated landscapes of `python -m benchmarks.policies` and rewards that are right or wrong show.

    Args:
        arms: at least one.
    """
    counts = np.array([len(arm.rewards) for arm in arms], dtype=np.float64)
    sums = np.array([sum(arm.rewards) for arm in arms], dtype=np.float64)
    rewards = np.fromiter(chain.from_iterable(arm.rewards for arm in arms), dtype=np.float64)
    weights_of_priors = np.array([arm.prior.weight if arm.prior else 0.0 for arm in arms])
    advantages = np.array([arm.prior.advantage if arm.prior else 0.0 for arm in arms])

    scored = counts > 0
    centre = float(np.mean(sums[scored] / counts[scored] - advantages[scored])) if len(rewards) else 0.5
    squared = float(np.square(rewards - rewards.mean()).sum()) if len(rewards) else 0.0
    unit = math.sqrt(UNIT.estimate(squared, len(rewards)))
    squares = np.array([sum((reward - centre) ** 2 for reward in arm.rewards) for arm in arms]) / unit**2
    own = (sums / np.maximum(counts, 1) - centre) / unit

    count, mean, weight, advantage, squares = (
        a[:, None, None] for a in (counts, own, weights_of_priors, advantages / unit, squares)
    )
    of_pool = VARIANCES / np.square(SPREADS)[:, None]
    expected = pulled(advantage, weight, 0.0, of_pool)
    before = of_pool + weight
    means = pulled(mean, count, expected, before)
    after = before + count
    evidence = (
        LOG_DEVIATIONS
        - count * np.log(DEVIATIONS)
        + 0.5
        * ((np.square(means) * after - np.square(expected) * before - squares) / VARIANCES + np.log(before / after))
    )
    of_arm = _log_sum(evidence, axis=2)
    of_kind = of_arm.sum(axis=0)
    weights = np.exp(evidence - of_arm[:, :, None] + (of_kind - _log_sum(of_kind, axis=0))[None, :, None])
    return Posterior(centre, unit, weights, means, np.sqrt(VARIANCES / after))


def _log_sum(logs: Numbers, axis: int) -> Numbers:
    highest = logs.max(axis=axis, keepdims=True)
    return np.asarray(np.squeeze(highest, axis) + np.log(np.exp(logs - highest).sum(axis=axis)))
