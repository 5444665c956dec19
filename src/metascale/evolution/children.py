"""Children as a class: what a run's children say about the next one and about each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from metascale.bandits import Prior
from metascale.bandits.estimates import estimate
from metascale.evolution.advantage import Advantage, advantages, best_before
from metascale.pool.admission import PoolArm
from metascale.stats.shrinkage import Scale, pulled, spread_variance

PRIOR_ADVANTAGE = 0.0
"""Expected advantage of a child over its best parent before any child was tried: neither better nor worse."""
PRIOR_DEVIATION = 0.1
"""The standard deviation of that expectation. Not tuned: the weight of about three children with one reward
each."""
VARIETY = Scale(0.05, 2)
"""The spread of children around their class. Ours: with the spread of arms (0.12) results on simulated landscapes were
equal within their errors, but the gate let a little more of the loss from bad children through."""
UNTRIED_WEIGHT = 0.9
"""The most rewards that the prior of a child without a pull counts for. From 1 on a policy may delay it, and a class
that began badly would never be tried again."""
MOST_WEIGHT = 2.0
"""The same for a child with pulls. Ours: tuned on simulated landscapes, where 0.9 lets more pulls go to bad children,
and 9 or no bound fewer to good ones."""


@dataclass(frozen=True)
class Children:
    """The distribution of a child's advantage over its best parent: normal over the children of a run.

    Attributes:
        advantage: the expected mean over children, in units of reward.
        error: variance of the error of `advantage`, above 0.
        variety: variance of children around that mean, above 0.
    """

    advantage: float
    error: float
    variety: float

    @classmethod
    def learn(cls, tried: Sequence[Advantage]) -> Children:
        """Learn from the children so far; there may be none.

        The mean weighs children by the precision of their advantages, so a child with more rewards weighs more. The
        search comes back to good children, and in simulation these weights tell good classes from bad ones better than
        equal weights do.
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


def with_class_prior(members: Sequence[PoolArm]) -> list[PoolArm]:
    """The pool as policies see it: each child has a prior from its best parent and from the children of this run.

    The prior mean of a child is its best parent's plus the advantage of its class. It counts for `noise^2 / variance`
    rewards, within a bound. If children are worse than their parents, one lucky reward does not draw pull after pull to
    a child. If they are good, a child of the best arm starts with a high prior. The class includes the child itself,
    just as an arm's own rewards count in the common mean of `metascale.bandits.estimates`.

    Args:
        members: the pool, in order of birth.

    Returns:
        The members in the same order; only children change.
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
