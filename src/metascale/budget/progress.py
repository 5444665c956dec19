"""How a search went: its regret in hindsight, and its expected progress after each round.

After MRT (arXiv 2503.07572), which measures the progress of each further episode and the regret of the whole against an
oracle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metascale.bandits import Arm, mean_rewards
from metascale.budget.stopping import expected_progress
from metascale.records import Candidate


def shortfalls(arms: Sequence[Arm]) -> NDArray[np.float64]:
    """How far each arm's mean is below the highest, shape (len(arms),): the regret of one pull in hindsight.

    An arm without rewards counts as average, as it does for the policies. Priors do not count.

    Args:
        arms: pulled arms; may be none.
    """
    means = mean_rewards([Arm(arm.pulls, arm.rewards) for arm in arms])
    return np.asarray(means.max(initial=0.0) - means, dtype=np.float64)


def regret(arms: Sequence[Arm]) -> float:
    """Cumulative regret in hindsight: the loss of all pulls against always pulling the arm with the highest mean.

    Args:
        arms: all arms; may be none.

    Returns:
        At least 0, in units of reward; 0 where nothing was pulled.
    """
    pulled = [arm for arm in arms if arm.pulls]
    if not pulled:
        return 0.0
    return float(np.dot([arm.pulls for arm in pulled], shortfalls(pulled)))


def progress(candidates: Sequence[Candidate]) -> list[float | None]:
    """The expected rise of the highest reward from one more sample, after each round.

    Args:
        candidates: the samples of a run.

    Returns:
        One value per round, as `expected_by_round` gives it.
    """
    ordered = sorted(candidates, key=lambda c: (c["round"], c["id"]))
    return expected_by_round([(c["round"], c["meta_thought"], c["reward"]) for c in ordered])


def expected_by_round(samples: Sequence[tuple[int, str, float | None]]) -> list[float | None]:
    """The expected progress after each round.

    Args:
        samples: the round, the arm and the reward of each, in order of the rounds.

    Returns:
        One value per round: `expected_progress` of the arms pulled so far; None while it is not finite.
    """
    pulls: dict[str, int] = {}
    rewards: dict[str, list[float]] = {}
    found: list[float | None] = []
    for index, (number, arm, reward) in enumerate(samples):
        pulls[arm] = pulls.get(arm, 0) + 1
        if reward is not None:
            rewards.setdefault(arm, []).append(reward)
        if index + 1 == len(samples) or samples[index + 1][0] != number:
            expected = expected_progress([Arm(count, tuple(rewards.get(name, ()))) for name, count in pulls.items()])
            found.append(round(expected, 6) if math.isfinite(expected) else None)
    return found
