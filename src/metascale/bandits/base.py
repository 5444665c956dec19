"""What a policy sees and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Arm:
    """The statistics of one meta-thought.

    Attributes:
        pulls: samples drawn under it, scored or not, failures included.
        rewards: the rewards in [0, 1] of those that were scored; at most `pulls` of them.
    """

    pulls: int = 0
    rewards: tuple[float, ...] = ()


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
            Arms without a pull come first.
        """
        ...


def mean_rewards(arms: Sequence[Arm]) -> NDArray[np.float64]:
    """Mean reward of each arm, shape (len(arms),).

    An arm of which nothing is scored gets the mean over all rewards (0.5 where there are none): not being scored says
    nothing about its answers. Ours; the paper leaves it open.
    """
    everything = [reward for arm in arms for reward in arm.rewards]
    neutral = float(np.mean(everything)) if everything else 0.5
    return np.array([float(np.mean(arm.rewards)) if arm.rewards else neutral for arm in arms])


def unpulled(arms: Sequence[Arm], size: int) -> list[int]:
    """The first `size` arms without a pull: every arm is pulled once before any is compared."""
    return [index for index, arm in enumerate(arms) if arm.pulls == 0][:size]
