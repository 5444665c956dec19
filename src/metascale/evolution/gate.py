"""Whether further children are worth their cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from metascale.bandits.estimates import estimate
from metascale.evolution.advantage import advantages
from metascale.evolution.children import Children
from metascale.pool.admission import PoolArm
from metascale.stats.normal import expected_excess

FIRST_CHILDREN = 2
"""Children that are tried before their class is judged. Not tuned."""
COST = 3.5
"""The cost of a child in pulls: its trial, its share of the request that bred it, and the pulls that policies give it
until they know that it is no better. Ours: tuned on simulated landscapes (`benchmarks.policies --evolution`, 64 pulls).
There good children bring about four fifths of what they bring without a gate, and bad ones cost about a third. With 2.5
both are more, with 4.5 less."""


def children_pay(members: Sequence[PoolArm], left: int) -> bool:
    """Whether the next child is worth its trial.

    Children are a class: the mean of a child is the mean of its best parent plus an advantage, which is learned from
    the children so far (`Children`). The gain of a trial is the expected rise of the best known mean: the knowledge
    gradient (Frazier et al. 2008) of one noisy reward. The cost is the expected fall of the highest of `left` rewards
    when the best arm loses `COST` pulls: about `noise / (left * sqrt(2 ln left))` per pull, from the growth of a
    normal's expected maximum.

    Args:
        members: the pool.
        left: remaining pulls, at least 1.

    Returns:
        True until `FIRST_CHILDREN` children are scored. From then on, whether the gain is at least the cost.
    """
    now = estimate(members)
    tried = advantages(members, now)
    if len(tried) < FIRST_CHILDREN:
        return True
    children = Children.learn(tried)
    unknown = children.variety + children.error
    gain = expected_excess(-children.advantage, unknown / math.sqrt(unknown + now.noise**2))
    return gain >= COST * now.noise / (left * math.sqrt(2 * math.log(left + 1)))
