"""Whether further children are worth their cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from metascale.confirmation import expected_excess
from metascale.evolution.advantage import advantages
from metascale.evolution.estimates import estimate
from metascale.pool import Member

FIRST_CHILDREN = 2
"""Children that are tried before they are judged as a class. Ours."""
PRIOR_ADVANTAGE = 0.0
"""Expected advantage of a child over its best parent before any was tried. Ours: neither better nor worse."""
PRIOR_DEVIATION = 0.2
"""How sure that is, as a standard deviation. Ours: weak, a single scored child weighs more."""
PRIOR_VARIETY = 0.05
"""SD of children around their class before any was tried. Ours."""
VARIETY_WEIGHT = 2.0
"""Children that this counts for. Ours."""
COST = 3.5
"""Pulls that a child costs: its trial, its share of the request that bred it, and those that policies give it until
they know it is no better. Ours: in simulation (`metascale bench policies --evolution`), with 64 samples, good children
bring about four fifths, and bad ones cost about half, of what they do without a gate; 4.5 does much the same."""


def children_pay(members: Sequence[Member], left: int) -> bool:
    """Whether the next child is worth its trial.

    Children are a class: the mean of a child is the mean of its best parent plus an advantage, normal over children,
    whose mean and variance are learned from the children so far (a hierarchical normal model, the variances by moments
    with weak priors). The gain of one trial is what it is expected to raise the best known mean by: the knowledge
    gradient (Frazier et al. 2008) of one noisy reward. The cost is that of `COST` pulls less of the best arm, by which
    the highest of `left` rewards is expected to fall: about `noise / (left * sqrt(2 ln left))` each, from the growth of
    a normal's expected maximum. Ours.

    Args:
        members: the pool.
        left: pulls that are left, at least 1.

    Returns:
        True until `FIRST_CHILDREN` children are scored; then whether the gain is at least the cost.
    """
    now = estimate(members)
    tried = advantages(members, now)
    if len(tried) < FIRST_CHILDREN:
        return True
    values = np.array([child.value for child in tried])
    errors = np.array([child.variance for child in tried])
    excess = float((np.square(values - values.mean()) - errors).sum())
    variety = (VARIETY_WEIGHT * PRIOR_VARIETY**2 + max(0.0, excess)) / (VARIETY_WEIGHT + len(tried) - 1)
    weights = 1 / (errors + variety)
    precision = float(weights.sum()) + 1 / PRIOR_DEVIATION**2
    mean = (float(weights @ values) + PRIOR_ADVANTAGE / PRIOR_DEVIATION**2) / precision
    unknown = variety + 1 / precision
    gain = expected_excess(-mean, unknown / math.sqrt(unknown + now.noise**2))
    return gain >= COST * now.noise / (left * math.sqrt(2 * math.log(left + 1)))
