"""Mean and variance of the arms' rewards, estimated together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from metascale.bandits.base import Arm

PSEUDO_OBSERVATIONS = 3.0
"""Weight of the pooled variance, in rewards: it restrains an arm with two lucky rewards, and hardly affects one with
ten."""


SMALLEST_VARIANCE = 1e-6
"""Lower bound on the variance of all rewards together: a standard deviation of 0.001, so that equal rewards leave
something to explore and nothing is divided by 0."""


@dataclass(frozen=True)
class Moments:
    """Mean and variance of the arms' rewards, estimated together.

    Attributes:
        scored: rewards of each arm, shape (arms,).
        means: their mean, shape (arms,); as in `mean_rewards` for an arm without rewards.
        variances: their variance, drawn towards `pooled`, shape (arms,), above 0.
        pooled: the variance within arms, above 0.
    """

    scored: NDArray[np.int64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]
    pooled: float


def moments(arms: Sequence[Arm], pseudo: float = PSEUDO_OBSERVATIONS) -> Moments:
    """Estimate every arm's mean and variance; the variance is shrunk towards the pooled one.

    With the sum of squares `ss` of an arm's n rewards about their mean: `pooled` is the sum of all `ss` plus one
    variance of all rewards together, over the sum of all n - 1 plus 1; the variance of an arm is
    `(ss + pseudo * pooled) / (n - 1 + pseudo)`. That is the scale of the variance's posterior under a scaled inverse
    chi-squared prior of `pseudo` degrees of freedom whose scale is estimated by `pooled`.

    Args:
        arms: at least one.
        pseudo: above 0.
    """
    scored = np.array([len(arm.rewards) for arm in arms], dtype=np.int64)
    rewards = np.fromiter(chain.from_iterable(arm.rewards for arm in arms), dtype=np.float64)
    overall = float(rewards.mean()) if len(rewards) else 0.5
    spread = max(SMALLEST_VARIANCE, float(np.square(rewards - overall).mean()) if len(rewards) else 0.0)
    owners = np.repeat(np.arange(len(arms)), scored)
    sums = np.bincount(owners, weights=rewards, minlength=len(arms))
    means = np.where(scored, sums / np.maximum(scored, 1), overall)
    squares = np.bincount(owners, weights=np.square(rewards - means[owners]), minlength=len(arms))
    freedom = np.maximum(scored - 1, 0)
    pooled = (float(squares.sum()) + spread) / (int(freedom.sum()) + 1)
    variances = (squares + pseudo * pooled) / (freedom + pseudo)
    return Moments(scored, means, variances, pooled)
