"""The genetic step's pure part: who may have children."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metascale.bandits import Arm, ucb_scores


def choose_parents(arms: Sequence[Arm], count: int, beta: float) -> list[int]:
    """The `count` arms of highest UCB among those with at least one reward, best first (paper, section 3, phase 3).

    Args:
        arms: the arms.
        count: how many parents, at least 1; fewer come back if fewer arms are scored. Ours: the paper gives no number.
        beta: weight of exploration in the UCB.
    """
    scores = ucb_scores(arms, beta)
    ranked = np.argsort(-scores, kind="stable")
    return [int(index) for index in ranked if arms[index].rewards][:count]
