"""When further samples no longer pay: agreement of final answers, and expected progress. Pure functions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from metascale.bandits import Arm
from metascale.stats.normal import expected_excess

MIN_REWARDS = 8
"""Scored answers before progress is predicted. Ours."""
PRIOR_ARM = 3.0
"""Pseudo-observations by which an arm's mean and variance are drawn towards those of all arms. Ours."""


def agreement(answers: Sequence[str]) -> float:
    """The probability that the most frequent answer is the one that further samples would also give most often.

    It is compared with the runner-up alone: under a uniform prior on how the two share their votes it is the chance
    that a Beta(a + 1, b + 1) exceeds 1/2 (Adaptive-Consistency, Aggarwal et al. 2023, arXiv 2305.11860), which is a
    binomial tail.

    Args:
        answers: final answers of independent samples.

    Returns:
        In [0, 1]; 0 without answers.
    """
    votes = [count for _, count in Counter(answers).most_common(2)]
    if not votes:
        return 0.0
    first, second = votes[0], votes[1] if len(votes) > 1 else 0
    total = first + second + 1
    logs = (
        math.lgamma(total + 1) - math.lgamma(wins + 1) - math.lgamma(total - wins + 1) - total * math.log(2)
        for wins in range(first + 1, total + 1)
    )
    return max(0.0, 1 - math.fsum(math.exp(log) for log in logs))


def expected_progress(arms: Sequence[Arm]) -> float:
    """By how much one more sample of the most promising arm is expected to raise the highest reward.

    The next reward of an arm is predicted as normal, its mean and variance drawn towards those of all rewards; so it is
    an expected improvement (Jones et al. 1998), the progress that MRT (arXiv 2503.07572) asks of each further episode
    and that Pandora's rule sets against a sample's price. Noise of the reward counts as progress here, so that the
    search rather stops too late; but no reward can rise above 1.

    Args:
        arms: every arm of the pool.

    Returns:
        In [0, 1]; infinite while an arm is unpulled or fewer than `MIN_REWARDS` rewards are known.
    """
    rewards = np.array([reward for arm in arms for reward in arm.rewards])
    if len(rewards) < MIN_REWARDS or not all(arm.pulls for arm in arms):
        return math.inf
    best, mean, variance = float(rewards.max()), float(rewards.mean()), float(rewards.var(ddof=1))
    return min(1 - best, max(_improvement(arm, best, mean, variance) for arm in arms))


def _improvement(arm: Arm, best: float, mean: float, variance: float) -> float:
    own = np.array(arm.rewards)
    count = len(own)
    expected = (float(own.sum()) + PRIOR_ARM * mean) / (count + PRIOR_ARM)
    squares = float(((own - expected) ** 2).sum())
    drawn = (squares + PRIOR_ARM * variance) / (count + PRIOR_ARM)
    return expected_excess(best - expected, math.sqrt(drawn * (1 + 1 / (count + PRIOR_ARM))))
