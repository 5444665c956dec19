"""The one model of shrinkage: noisy means are drawn towards a common centre.

The observations of a group are normal around the group's own mean, with the variance `noise**2`. The groups' means are
normal around a centre, with the variance `spread**2`. Both variances are estimated by the method of moments and held by
weak priors (parametric empirical Bayes; Efron and Morris 1975). Given them, the posterior of a group's mean is normal
in closed form: its observed mean weighs `n`, and the centre weighs `noise**2 / spread**2` observations.

`shrink` fits the whole model. Callers whose observations have a further structure use its steps: `pulled`,
`Scale.estimate` and `spread_variance`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Value = TypeVar("Value", float, Numbers)


class Scale(NamedTuple):
    """The weak prior of a standard deviation: a scaled inverse chi-squared distribution of its square.

    Attributes:
        deviation: the standard deviation that is expected before any observation, at least 0.
        weight: how many observations that counts for (degrees of freedom), above 0.
    """

    deviation: float
    weight: float

    def estimate(self, squares: Value, freedom: Value) -> Value:
        """The variance, given a sum of squared deviations and its degrees of freedom; both may be arrays."""
        return (self.weight * self.deviation**2 + squares) / (self.weight + freedom)


class Scales(NamedTuple):
    """What is assumed of both deviations before any observation.

    Attributes:
        noise: of an observation around the mean of its group.
        spread: of the groups' means around their centre.
        own: how many observations the common noise counts for beside a group's own, above 0: enough to hold back
            a group of two lucky observations, few enough for ten to outweigh it.
    """

    noise: Scale
    spread: Scale
    own: float = 3.0


@dataclass(frozen=True)
class Shrunk:
    """The means of k groups as independent normal posteriors.

    Attributes:
        means: expected means, shape (k,).
        errors: standard deviations of their errors, shape (k,), above 0. They take centre, noise and spread as known,
            so they are a little too small where groups are few.
        deviations: standard deviations of single observations around their group's mean, shape (k,), each drawn
            towards `noise`.
        noise: the same for all groups together.
        spread: standard deviation of the groups' means around their centre.
        centre: the mean of the groups' means.
    """

    means: Numbers
    errors: Numbers
    deviations: Numbers
    noise: float
    spread: float
    centre: float


def pulled(mean: Value, count: Value, towards: Value | float, pseudo: Value | float) -> Value:
    """The elementary step: a mean of `count` observations with `pseudo` further ones at `towards`.

    All arguments may be arrays that broadcast. `count` and `pseudo` are at least 0, and one of them is above 0.
    """
    return (count * mean + pseudo * towards) / (count + pseudo)


def shrink(means: Numbers, counts: Numbers, squares: Numbers, prior: Scales) -> Shrunk:
    """Draw the means of groups towards their common centre.

    The more the observations vary within groups, and the less the groups differ, the further the means are drawn. So
    the highest of many noisy means is expected to fall.

    Args:
        means: of the observations of each group, shape (k,), k at least 1. The mean of a group without observations
            counts only where no group has any.
        counts: independent observations of each group, shape (k,), at least 0 each; see `effective_count`.
        squares: sums of each group's squared deviations from its mean, shape (k,).
        prior: of both variances.
    """
    seen = counts > 0
    freedom = np.maximum(counts - 1, 0)
    noise = prior.noise.estimate(float(squares.sum()), float(freedom.sum()))
    spread = spread_variance(means[seen], noise / counts[seen], prior.spread)
    centre = float((means[seen] if seen.any() else means).mean())
    pseudo = noise / spread
    return Shrunk(
        means=pulled(means, counts, centre, pseudo),
        errors=np.sqrt(noise / (counts + pseudo)),
        deviations=np.sqrt(Scale(noise**0.5, prior.own).estimate(squares, freedom)),
        noise=float(noise**0.5),
        spread=float(spread**0.5),
        centre=centre,
    )


def spread_variance(means: Numbers, errors: Numbers, prior: Scale) -> float:
    """The variance of groups' true means around their centre, by the method of moments with a weak prior.

    What the errors of the observed means explain is subtracted from the squared deviations of these means.

    Args:
        means: observed means of k groups, shape (k,); k may be 0.
        errors: variances of their errors, shape (k,).
        prior: of the spread.
    """
    count = len(means)
    if count < 2:
        return prior.estimate(0.0, 0.0)
    explained = float(errors.sum()) * (1 - 1 / count)
    return prior.estimate(max(0.0, float(np.square(means - means.mean()).sum()) - explained), count - 1.0)


def effective_count(count: Value, correlation: float) -> Value:
    """How many independent observations `count` correlated ones are worth (Kish's design effect, 1965).

    Args:
        count: observations, at least 1; may be an array.
        correlation: of any two of them, in [0, 1].
    """
    return count / (1 + (count - 1) * correlation)


class Joint(NamedTuple):
    """Means of k groups as one joint normal distribution.

    Attributes:
        means: expected means, shape (k,).
        covariance: of their errors, shape (k, k).
    """

    means: Numbers
    covariance: Numbers

    def given(self, precision: Numbers, pull: Numbers) -> Joint:
        """The distribution after normal observations.

        Args:
            precision: of the observations about the means, shape (k, k); the diagonal matrix of `count / noise**2` for
                independent observations of each group.
            pull: `precision @ (observed - means)`, shape (k,).
        """
        covariance = self.covariance @ np.linalg.inv(np.eye(len(self.means)) + precision @ self.covariance)
        covariance = (covariance + covariance.T) / 2
        return Joint(self.means + covariance @ pull, covariance)
