"""When to stop sampling: agreement of final answers and expected progress. Pure functions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from metascale.bandits import Arm
from metascale.bandits.estimates import estimate
from metascale.choice.posterior import gain_of_votes
from metascale.choice.ranking import VOTING, field_of
from metascale.choice.second_look import standing
from metascale.records import Candidate
from metascale.settings import MetaScaleSettings
from metascale.stats.normal import expected_excess
from metascale.stats.shrinkage import Scale, Scales

MIN_VOTES = 3
"""Final answers without which no run stops on agreement. Two that are equal by chance would stop it."""
MIN_REWARDS = 8
"""Scored answers that a prediction of progress needs. Not tuned."""
NOISE, NOISE_WEIGHT = 1.2, 1
SPREAD, SPREAD_WEIGHT = 1.0, 2
"""The priors of the noise within an arm and of the spread of the arms: standard deviations, in units of the standard
deviation of all rewards, and weights, in observations. Ours: tuned on how well the gain of the next sample is predicted
on simulated landscapes."""


def agreement(answers: Sequence[str]) -> float:
    """The probability that the most frequent answer would stay the most frequent with unlimited further samples.

    It is compared with the runner-up only. Under a uniform prior on their shares of the votes this is the probability
    that a Beta(a + 1, b + 1) variable exceeds 1/2 (Adaptive-Consistency, Aggarwal et al. 2023, arXiv 2305.11860), which
    is a binomial tail.

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


def gain_of_more(
    candidates: Sequence[Candidate], left: int, settings: MetaScaleSettings, *, several_arms: bool
) -> float:
    """By how much the samples that are left are expected to raise the chance that the answer is right.

    See `metascale.choice.posterior.gain_of_votes`. Samples under one meta-thought share its mistakes, so two must have
    given marked answers where there are several.

    Args:
        candidates: the samples so far.
        left: samples that the limits still allow.
        settings: the run's settings.
        several_arms: whether the pool has more than one meta-thought.

    Returns:
        In [0, 1]; infinite where too little is known, or where answers cannot be compared.
    """
    marked = [c for c in candidates if c["extracted"] is not None and c["status"] == "ok"]
    if len(marked) < MIN_VOTES or len({c["meta_thought"] for c in marked}) < 1 + several_arms:
        return math.inf
    is_judged = settings.reward not in VOTING
    field = field_of(candidates, "support", weighted=settings.weigh_votes, is_judged=is_judged)
    known = standing(field.contenders).posterior
    return gain_of_votes(known, left) if known is not None else math.inf


def expected_progress(arms: Sequence[Arm]) -> float:
    """The expected rise of the highest reward from one more sample of the most promising arm.

    The next reward of an arm is predicted as normal. Its mean and variance are drawn towards those of the other arms
    (`metascale.bandits.estimates`); priors do not count. So this is an expected improvement (Jones et al. 1998): the
    progress that MRT (arXiv 2503.07572) asks of each further episode, and that Pandora's rule compares with the price
    of a sample. Noise of the reward counts as progress, so the search stops too late rather than too early. No reward
    can rise above 1.

    Args:
        arms: every arm of the pool.

    Returns:
        In [0, 1]; 0 where all rewards are equal; infinite while an arm is unpulled or fewer than `MIN_REWARDS` rewards
        are known.
    """
    rewards = np.array([reward for arm in arms for reward in arm.rewards])
    if len(rewards) < MIN_REWARDS or not all(arm.pulls for arm in arms):
        return math.inf
    best, deviation = float(rewards.max()), float(rewards.std(ddof=1))
    if deviation == 0:
        return 0.0
    scales = Scales(Scale(NOISE * deviation, NOISE_WEIGHT), Scale(SPREAD * deviation, SPREAD_WEIGHT))
    known = estimate([Arm(arm.pulls, arm.rewards) for arm in arms], scales)
    distances = (best - known.means).tolist()
    deviations = np.hypot(known.deviations, known.errors).tolist()
    return min(1 - best, max(map(expected_excess, distances, deviations)))
