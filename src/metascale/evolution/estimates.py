"""What the rewards so far say of each arm: shrunk means, their errors, and upper tails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metascale.bandits import Arm, mean_rewards
from metascale.bandits.posterior import posterior

PRIOR_NOISE = 0.15
"""SD of rewards under one meta-thought before anything is known. Ours: that of a judge (0.08 on [0, 1], see
`metascale.choice.second_look.PRIOR_NOISE`) and as much again for the answers, and a little more."""
PRIOR_SPREAD = 0.12
"""SD of mean rewards over meta-thoughts before anything is known. Ours."""
PRIOR_WEIGHT = 2.0
"""Observations that each of the two counts for. Ours."""
TAIL = 0.7
"""Standard deviations above its mean at which an arm is judged: about the best of two or three answers. Ours."""


@dataclass(frozen=True)
class Estimates:
    """The mean rewards of n arms as normal posteriors.

    Attributes:
        means: expected mean rewards, shape (n,).
        errors: standard deviations of their errors, shape (n,), above 0.
        noise: standard deviation of one reward around its arm's mean, above 0.
    """

    means: NDArray[np.float64]
    errors: NDArray[np.float64]
    noise: float


def estimate(arms: Sequence[Arm]) -> Estimates:
    """Draw the arms' mean rewards towards their common mean, as far as they are noisy.

    A normal hierarchical model, its variances estimated by moments and held by weak priors (empirical Bayes; Efron and
    Morris 1975). So the best of many noisy means is not taken at its word.

    Args:
        arms: at least one; an arm without rewards is expected at the common mean.
    """
    counts = np.array([len(arm.rewards) for arm in arms], dtype=np.float64)
    means = mean_rewards(arms)
    seen = counts > 0
    squares = sum(float(np.square(np.subtract(arm.rewards, mean)).sum()) for arm, mean in zip(arms, means, strict=True))
    freedom = float((counts[seen] - 1).sum())
    noise = (PRIOR_WEIGHT * PRIOR_NOISE**2 + squares) / (PRIOR_WEIGHT + freedom)
    found = means[seen]
    centre = float(found.mean()) if len(found) else float(means.mean())
    excess = np.square(found - centre) - noise / counts[seen] if len(found) > 1 else np.zeros(0)
    spread = (PRIOR_WEIGHT * PRIOR_SPREAD**2 + max(0.0, float(excess.sum()))) / (PRIOR_WEIGHT + max(0, len(found) - 1))
    precision = counts / noise + 1 / spread
    return Estimates((counts * means / noise + centre / spread) / precision, np.sqrt(1 / precision), float(noise**0.5))


def upper_tails(arms: Sequence[Arm]) -> NDArray[np.float64]:
    """How good an arm's good answers are: `mean + 0.7 sd`, shape (len(arms),).

    METASCALE takes the best answer, so a varied arm is worth more than its mean says. Mean and deviation are those of
    `metascale.bandits.posterior`, which counts the arms' priors: both are drawn towards the other arms. Ours.

    Args:
        arms: at least one.
    """
    known = posterior(arms)
    return known.centre + known.unit * (known.expected + TAIL * np.sqrt(known.variances))
