"""Children as a class: what those of this run tell of the next one, and of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from metascale.bandits import Prior
from metascale.evolution.advantage import Advantage, advantages, best_before
from metascale.evolution.estimates import estimate
from metascale.pool import Member

PRIOR_ADVANTAGE = 0.0
"""Expected advantage of a child over its best parent before any was tried. Ours: neither better nor worse."""
PRIOR_DEVIATION = 0.2
"""How sure that is, as a standard deviation. Ours: weak, a single scored child weighs more."""
PRIOR_VARIETY = 0.05
"""SD of children around their class before any was tried. Ours."""
VARIETY_WEIGHT = 2.0
"""Children that this counts for. Ours."""
MOST_WEIGHT = 0.9
"""Rewards that the class counts for at most in the prior of a child. Ours: with a reward or more a child might wait for
its first pull, and a family that began badly would never be tried again. In simulation 0.5 does the same; where the
class counts for more, fewer bad children are pulled, and too few good ones (`docs/reference/policies.md`)."""


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
        """Learn from the children so far, the variances by moments with weak priors; none are needed. Ours."""
        values = np.array([child.value for child in tried])
        errors = np.array([child.variance for child in tried])
        excess = float((np.square(values - values.mean()) - errors).sum()) if len(tried) else 0.0
        degrees = VARIETY_WEIGHT + max(0, len(tried) - 1)
        variety = (VARIETY_WEIGHT * PRIOR_VARIETY**2 + max(0.0, excess)) / degrees
        weights = 1 / (errors + variety)
        precision = float(weights.sum()) + 1 / PRIOR_DEVIATION**2
        mean = (float(weights @ values) + PRIOR_ADVANTAGE / PRIOR_DEVIATION**2) / precision
        return cls(mean, 1 / precision, variety)


def with_class_prior(members: Sequence[Member]) -> list[Member]:
    """The pool as a policy is to see it: every child with a prior from its best parent and the children of this run.

    The mean of a child is believed to be that of its best parent plus the advantage of its class. That counts for as
    many rewards as say as much, `noise^2 / variance`, and for at most `MOST_WEIGHT`. So where children are worse than
    their parents, a lucky one is not pulled again and again; where they are good, a child of the best arm is believed
    in. The child's own rewards count in its class too, as those of every arm do in `metascale.bandits`. Ours.

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
        return Prior(max(-1.0, min(1.0, advantage)), min(MOST_WEIGHT, now.noise**2 / variance))

    return [
        member if member.operator is None else replace(member, prior=believed(index))
        for index, member in enumerate(members)
    ]
