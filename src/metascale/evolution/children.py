"""Children as a class: what those of this run tell of the next one, and of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from metascale.bandits import Prior
from metascale.bandits.estimates import estimate
from metascale.evolution.advantage import Advantage, advantages, best_before
from metascale.pool.admission import Member
from metascale.stats.shrinkage import Scale, pulled, spread_variance

PRIOR_ADVANTAGE = 0.0
"""Expected advantage of a child over its best parent before any was tried. Ours: neither better nor worse."""
PRIOR_DEVIATION = 0.1
"""How sure that is, as a standard deviation. Ours: about as much as three children with one reward each."""
VARIETY = Scale(0.05, 2)
"""Of children around their class. Ours."""
UNTRIED_WEIGHT = 0.9
"""Rewards that the prior of a child without a pull counts for at most. Ours: with a reward or more it might wait for
its first pull, and a family that began badly would never be tried again."""
MOST_WEIGHT = 2.0
"""The same for a child with pulls. Ours: in simulation 0.9 lets more pulls go to bad children, and 9 or no bound fewer
to good ones."""


@dataclass(frozen=True)
class Children:
    """The advantage of a child over its best parent, normal over the children of a run.

    Attributes:
        advantage: the mean over children as it is expected, in rewards.
        error: variance of that mean's error, above 0.
        variety: variance of children around the mean, above 0.
    """

    advantage: float
    error: float
    variety: float

    @classmethod
    def learn(cls, tried: Sequence[Advantage]) -> Children:
        """Learn from the children so far; none are needed.

        In the mean a child weighs more, the more rewards it has: the search came back to the children that were worth
        it. In simulation this tells good classes from bad ones better than equal weights do.
        """
        values = np.array([child.value for child in tried])
        errors = np.array([child.variance for child in tried])
        variety = spread_variance(values, errors, VARIETY)
        before = 1 / PRIOR_DEVIATION**2
        known = float((1 / errors).sum())
        mean = float((values / errors).sum()) / known if tried else PRIOR_ADVANTAGE
        return cls(
            advantage=pulled(mean, known, PRIOR_ADVANTAGE, before),
            error=1 / (float((1 / (errors + variety)).sum()) + before),
            variety=variety,
        )


def with_class_prior(members: Sequence[Member]) -> list[Member]:
    """The pool as a policy is to see it: every child with a prior from its best parent and the children of this run.

    The mean of a child is believed to be that of its best parent plus the advantage of its class. That counts for as
    many rewards as say as much, `noise^2 / variance`, with a bound. So where children are worse than their parents, a
    lucky one is not pulled again and again; where they are good, a child of the best arm is believed in. The child's
    own rewards count in its class too, as those of every arm do in `metascale.bandits`. Ours.

    Args:
        members: the pool, in order of birth.

    Returns:
        As many members in the same order; those that are no children are as they were.
    """
    if all(member.operator is None for member in members):
        return list(members)
    now = estimate(members)
    children = Children.learn(advantages(members, now))
    average = float(np.mean([mean for mean, member in zip(now.means, members, strict=True) if member.operator is None]))

    def believed(index: int) -> Prior:
        parent = best_before(members, index, now)
        advantage = float(now.means[parent]) + children.advantage - average
        variance = float(now.errors[parent]) ** 2 + children.error + children.variety
        bound = MOST_WEIGHT if members[index].pulls else UNTRIED_WEIGHT
        return Prior(max(-1.0, min(1.0, advantage)), min(bound, now.noise**2 / variance))

    return [
        member if member.operator is None else replace(member, prior=believed(index))
        for index, member in enumerate(members)
    ]
