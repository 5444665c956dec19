"""What the rewards say of every arm's mean and spread, by a hierarchical model that the arms share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, product

import numpy as np
from numpy.typing import NDArray

from metascale.bandits.base import Arm

Numbers = NDArray[np.float64]

DEVIATIONS = np.array([0.25, 0.4, 0.55, 0.75, 1.0, 1.3, 1.7, 2.2])
"""Standard deviations that an arm may have, in units of that of all rewards together."""
SPREADS_OF_MEANS = (0.25, 0.7)
"""Standard deviations that the arms' means may have, in the same unit: arms that hardly differ, and arms that do."""
TYPICAL_DEVIATIONS = (0.7, 1.0)
"""Where an arm's standard deviation may lie typically."""
SPREADS_OF_DEVIATIONS = (0.1, 0.4)
"""Standard deviations, on a logarithmic scale, of the arms' own deviations: all alike, and not."""

USUAL_SPREAD = 0.15
"""Standard deviation that rewards are taken to have while none is known. Ours, as the weight below is."""
PSEUDO_REWARDS = 0.25
"""How many rewards that counts for: enough to tell what an advantage means before the first rewards, no more."""


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
    count = np.array([len(arm.rewards) for arm in arms], dtype=np.float64)
    sums = np.array([sum(arm.rewards) for arm in arms], dtype=np.float64)
    rewards = np.fromiter(chain.from_iterable(arm.rewards for arm in arms), dtype=np.float64)
    weight = np.array([arm.prior.weight if arm.prior else 0.0 for arm in arms])
    advantage = np.array([arm.prior.advantage if arm.prior else 0.0 for arm in arms])

    scored = count > 0
    centre = float(np.mean(sums[scored] / count[scored] - advantage[scored])) if len(rewards) else 0.5
    squared = float(np.square(rewards - rewards.mean()).sum()) if len(rewards) else 0.0
    unit = math.sqrt((squared + PSEUDO_REWARDS * USUAL_SPREAD**2) / (len(rewards) + PSEUDO_REWARDS))
    squares = np.array([sum((reward - centre) ** 2 for reward in arm.rewards) for arm in arms]) / unit**2
    sums = (sums - count * centre) / unit
    believed = weight * advantage / unit

    count, weight, sums, believed, squares = (a[:, None, None] for a in (count, weight, sums, believed, squares))
    before = 1 / (1 / np.square(SPREADS)[:, None] + weight / VARIANCES)
    after = 1 / (1 / before + count / VARIANCES)
    expected = before * believed / VARIANCES
    means = after * (believed + sums) / VARIANCES
    evidence = (
        LOG_DEVIATIONS
        - count * np.log(DEVIATIONS)
        + 0.5 * (np.square(means) / after - np.square(expected) / before - squares / VARIANCES + np.log(after / before))
    )
    of_arm = _log_sum(evidence, axis=2)
    of_kind = of_arm.sum(axis=0)
    weights = np.exp(evidence - of_arm[:, :, None] + (of_kind - _log_sum(of_kind, axis=0))[None, :, None])
    return Posterior(centre, unit, weights, means, np.sqrt(after))


def _log_sum(logs: Numbers, axis: int) -> Numbers:
    highest = logs.max(axis=axis, keepdims=True)
    return np.asarray(np.squeeze(highest, axis) + np.log(np.exp(logs - highest).sum(axis=axis)))
