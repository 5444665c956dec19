"""Whether further children are worth their cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from metascale.bandits.estimates import estimate
from metascale.evolution.advantage import advantages
from metascale.evolution.children import Children
from metascale.pool.admission import Member
from metascale.stats.normal import expected_excess

FIRST_CHILDREN = 2
"""Children that are tried before they are judged as a class. Ours."""
COST = 3.5
"""Pulls that a child costs: its trial, its share of the request that bred it, and those that policies give it until
they know it is no better. Ours: in simulation (`python -m benchmarks.policies --evolution`), with 64 samples, good
children bring about four fifths, and bad ones cost about a third, of what they do without a gate; 2.5 brings more of
both, 4.5 less."""


def children_pay(members: Sequence[Member], left: int) -> bool:
    """Whether the next child is worth its trial.

    Children are a class: the mean of a child is the mean of its best parent plus an advantage, which is learned from
    the children so far (`Children`). The gain of one trial is what it is expected to raise the best known mean by: the
    knowledge gradient (Frazier et al. 2008) of one noisy reward. The cost is that of `COST` pulls less of the best arm,
    by which the highest of `left` rewards is expected to fall: about `noise / (left * sqrt(2 ln left))` each, from the
    growth of a normal's expected maximum. Ours.

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
    children = Children.learn(tried)
    unknown = children.variety + children.error
    gain = expected_excess(-children.advantage, unknown / math.sqrt(unknown + now.noise**2))
    return gain >= COST * now.noise / (left * math.sqrt(2 * math.log(left + 1)))
