"""What a policy sees and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metascale.stats.shrinkage import pulled


@dataclass(frozen=True)
class Prior:
    """What is believed of an arm beside its own rewards: from other runs, from a rating, or from its family.

    It is relative, because how high rewards are differs from task to task, and which arms are better much less. Every
    policy makes first pulls in the order of advantages; `upper_tail`, `ucb` and `softmax` also count it as rewards.

    Attributes:
        advantage: by how much its mean reward is believed to lie above that of the average arm, in [-1, 1].
        weight: how many rewards that belief counts for, above 0.
    """

    advantage: float
    weight: float


@dataclass(frozen=True)
class Arm:
    """The statistics of one meta-thought.

    Attributes:
        pulls: samples drawn under it, scored or not, failures included.
        rewards: the rewards in [0, 1] of those that were scored; at most `pulls` of them.
        prior: what is believed of it from elsewhere; None for nothing.
    """

    pulls: int = 0
    rewards: tuple[float, ...] = ()
    prior: Prior | None = field(default=None, kw_only=True)


class Policy(Protocol):
    """Decides which arms the next round pulls."""

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:
        """Choose `size` pulls.

        Args:
            arms: at least one arm.
            size: pulls to plan, at least 1.
            left: pulls that the budget still pays for, these included; at least `size`.
            rng: breaks ties; the same generator state gives the same plan.

        Returns:
            `size` indices into `arms`, in the order in which they are to be pulled. An arm may appear several times.
            Arms without a pull come first, but a policy may let one wait whose prior counts for a reward or more.
        """
        ...


def mean_rewards(arms: Sequence[Arm]) -> NDArray[np.float64]:
    """Mean reward of each arm, shape (len(arms),), its prior counted as so many rewards.

    A prior's rewards lie by its advantage above the mean over all rewards (0.5 where there are none). That mean is also
    what an arm gets of which nothing is known: not being scored says nothing about its answers. Ours; the paper leaves
    it open.
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


def highest(scores: NDArray[np.float64], rng: np.random.Generator) -> int:
    """The index of the highest score; scores within 1e-12 of it are ties, broken at random.

    Args:
        scores: finite, shape (arms,). The tolerance (ours) covers what summing in another order changes.
        rng: breaks ties.
    """
    ties = np.flatnonzero(scores >= scores.max() - 1e-12)
    return int(ties[rng.integers(len(ties))])


def untried(arms: Sequence[Arm], size: int, *, but_believed: bool = False) -> list[int]:
    """At most `size` arms that must be pulled once before any is compared, the highest prior advantage first.

    Args:
        arms: at least one.
        size: at least 0.
        but_believed: leave out those whose prior counts for a reward or more; a weaker one only says who is first.
    """
    fresh = [i for i, arm in enumerate(arms) if arm.pulls == 0 and not (but_believed and _weight(arm) >= 1)]
    return sorted(fresh, key=lambda index: -_advantage(arms[index]))[:size]


def _weight(arm: Arm) -> float:
    return arm.prior.weight if arm.prior else 0.0


def _advantage(arm: Arm) -> float:
    return arm.prior.advantage if arm.prior else 0.0
