"""The paper's mini-batch rule (section 3, phase 2): a round shared out by a softmax of mean rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metascale.bandits.base import Arm, mean_rewards, prices, untried


def largest_remainder(shares: NDArray[np.float64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Whole numbers that sum to `size` and are proportional to `shares`, shape (len(shares),).

    Each gets the floor of its share, and what is left goes to the largest remainders, ties at random. The paper's
    plain floor would lose samples: eight equal arms and a round of seven give eight zeros.

    Args:
        shares: non-negative and summing to 1.
        size: at least 0.
        rng: breaks ties.
    """
    exact = shares * size
    counts = np.floor(exact).astype(np.int64)
    remainders = np.round(exact - counts, 12)
    order = np.lexsort((rng.random(len(shares)), -remainders))
    counts[order[: size - int(counts.sum())]] += 1
    return counts


@dataclass(frozen=True)
class Softmax:
    """Shares a round among the arms in proportion to `exp(mean reward / temperature)`.

    Arms without a pull are pulled once before; what is left of the round is shared among the others.

    Attributes:
        temperature: above 0, on the scale of rewards; the paper does not give its value.
    """

    temperature: float = 0.1

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:  # noqa: ARG002
        """Choose `size` pulls; see `Policy.plan`."""
        plan = untried(arms, size)
        pulled = np.array([arm.pulls > 0 for arm in arms])
        if len(plan) < size and not pulled.any():
            pulled[:] = True
        if len(plan) < size:
            logits = np.where(pulled, (mean_rewards(arms) - prices(arms)) / self.temperature, -np.inf)
            weights = np.exp(logits - logits.max())
            counts = largest_remainder(weights / weights.sum(), size - len(plan), rng)
            plan += [index for index, count in enumerate(counts) for _ in range(count)]
        return plan
