"""What the rewards so far say about each arm: shrunk means with their errors, and upper tails."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metascale.bandits.base import Arm, mean_rewards
from metascale.bandits.posterior import posterior
from metascale.stats.shrinkage import Scale, Scales, Shrunk, shrink

REWARDS = Scales(noise=Scale(0.15, 2), spread=Scale(0.12, 2))
"""Rewards around the mean of their meta-thought, and these means around their centre. Not tuned: the noise is that of a
judge (0.08 on [0, 1], see `metascale.choice.second_look.JUDGE`) plus that of the answers."""
TAIL = 0.7
"""Standard deviations above its mean at which an arm is judged: about the best of two or three answers."""


def estimate(arms: Sequence[Arm], scales: Scales = REWARDS) -> Shrunk:
    """The arms' mean rewards, drawn towards their common mean; an arm without rewards is expected there.

    Args:
        arms: at least one.
        scales: what is assumed before any reward.
    """
    means = mean_rewards(arms)
    counts = np.array([len(arm.rewards) for arm in arms], dtype=np.float64)
    squares = [np.square(np.subtract(arm.rewards, mean)).sum() for arm, mean in zip(arms, means, strict=True)]
    return shrink(means, counts, np.array(squares, dtype=np.float64), scales)


def upper_tails(arms: Sequence[Arm]) -> NDArray[np.float64]:
    """How good an arm's good answers are: `mean + TAIL * sd`, shape (len(arms),).

    METASCALE takes the best answer, so a varied arm is worth more than its mean says. Mean and deviation are those of
    `metascale.bandits.posterior`, which counts the arms' priors and draws both towards the other arms.

    Args:
        arms: at least one.
    """
    known = posterior(arms)
    return known.centre + known.unit * (known.expected + TAIL * np.sqrt(known.variances))
