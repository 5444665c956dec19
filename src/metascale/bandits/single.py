"""One arm for everything: best-of-N under one meta-thought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metascale.bandits.base import Arm


@dataclass(frozen=True)
class Single:
    """Pulls one arm only. Unlike every other policy, it never pulls the others, not even once.

    Attributes:
        arm: its index, at least 0.
    """

    arm: int = 0

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:  # noqa: ARG002
        """Choose `size` pulls; see `Policy.plan`.

        Raises:
            ValueError: there is no such arm.
        """
        if not 0 <= self.arm < len(arms):
            raise ValueError(f"no arm {self.arm} among {len(arms)}")
        return [self.arm] * size
