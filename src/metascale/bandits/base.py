"""The arms that a policy sees, the plan that it returns, and the estimates that policies share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metascale.stats.shrinkage import pulled


@dataclass(frozen=True)
class Prior:
    """A prior belief about an arm: from other runs, from a rating, or from its parents and siblings.

    It is relative to the other arms, because the level of rewards differs between tasks much more than the order of the
    arms does. Every policy makes first pulls in the order of advantages. `upper_tail`, `ucb` and `softmax` also count
    the prior as rewards.

    Attributes:
        advantage: the arm's expected mean reward minus that of the average arm, in [-1, 1].
        weight: how many rewards the prior counts for, above 0.
    """

    advantage: float
    weight: float


@dataclass(frozen=True)
class Arm:
    """The statistics of one meta-thought.

    Attributes:
        pulls: samples drawn under it, including failed and unscored ones.
        rewards: of its scored samples, in [0, 1]; at most `pulls` of them.
        prior: None where there is none.
        price: of one pull, in units of reward, at least 0: its expected cost times the price of money
            (`metascale.bandits.routing`). Policies that weigh rewards subtract it from what a pull is worth.
    """

    pulls: int = 0
    rewards: tuple[float, ...] = ()
    prior: Prior | None = field(default=None, kw_only=True)
    price: float = field(default=0.0, kw_only=True)


class Policy(Protocol):
    """Plans the pulls of the next round."""

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:
        """Choose `size` pulls.

        Args:
            arms: at least one arm.
            size: pulls to plan, at least 1.
            left: remaining pulls of the budget, including these; at least `size`.
            rng: breaks ties; the same state gives the same plan.

        Returns:
            `size` indices into `arms`, in the order of the pulls. An arm may appear several times. Arms without a pull
            come first, but a policy may delay an arm whose prior counts for a reward or more.
        """
        ...


def mean_rewards(arms: Sequence[Arm]) -> NDArray[np.float64]:
    """Mean reward of each arm with its prior, shape (len(arms),).

    A prior counts as `weight` rewards, each the mean over all rewards (0.5 where there are none) plus its advantage. An
    arm without rewards and prior gets that mean, because a missing score says nothing about its answers. The paper
    leaves this open.
    """
    sums = [sum(arm.rewards) for arm in arms]
    scored = sum(len(arm.rewards) for arm in arms)
    neutral = sum(sums) / scored if scored else 0.5
    return np.array([_mean(arm, total, neutral) for total, arm in zip(sums, arms, strict=True)])


def _mean(arm: Arm, total: float, neutral: float) -> float:
    count, weight = len(arm.rewards), _weight(arm)
    if not count + weight:
        return neutral
    return pulled(total / count if count else neutral, count, neutral + _advantage(arm), weight)


def prices(arms: Sequence[Arm]) -> NDArray[np.float64]:
    """The price of one pull of each arm, shape (len(arms),)."""
    return np.array([arm.price for arm in arms], dtype=np.float64)


def highest(scores: NDArray[np.float64], rng: np.random.Generator) -> int:
    """The index of the highest score. Scores within 1e-12 of it are ties, broken at random.

    Args:
        scores: finite, shape (arms,). The tolerance covers differences from summing in another order.
        rng: breaks ties.
    """
    ties = np.flatnonzero(scores >= scores.max() - 1e-12)
    return int(ties[rng.integers(len(ties))])


def untried(arms: Sequence[Arm], size: int, *, but_believed: bool = False) -> list[int]:
    """At most `size` arms that need a first pull before arms are compared.

    The arm with the highest prior advantage, less its price, comes first.

    Args:
        arms: at least one.
        size: at least 0.
        but_believed: leave out arms whose prior counts for a reward or more; weaker priors only decide the order.
    """
    fresh = [i for i, arm in enumerate(arms) if arm.pulls == 0 and not (but_believed and _weight(arm) >= 1)]
    return sorted(fresh, key=lambda index: arms[index].price - _advantage(arms[index]))[:size]


def _weight(arm: Arm) -> float:
    return arm.prior.weight if arm.prior else 0.0


def _advantage(arm: Arm) -> float:
    return arm.prior.advantage if arm.prior else 0.0
