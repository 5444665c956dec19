"""Successive halving: equal pulls for all arms, then for the better half, and so on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.policies.moments import moments
from metascale.bandits.base import Arm, untried


def quotas(arms: int, horizon: int) -> list[int]:
    """Total pulls of a surviving arm at the end of each stage; never decreasing.

    After one first pull of every arm, the rest of the horizon is split into equal shares for the `ceil(log2 arms)`
    stages, and each share into equal parts for the stage's `ceil(arms / 2^stage)` survivors (Karnin, Koren and Somekh
    2013, who do not set first pulls apart). Parts are added up before they are rounded down.

    Args:
        arms: at least 1; a single arm has no stages.
        horizon: pulls of the whole run, at least 0.
    """
    stages = (arms - 1).bit_length()
    ends, parts = [], 0.0
    for stage in range(stages):
        parts += max(0, horizon - arms) / (stages * math.ceil(arms / 2**stage))
        ends.append(1 + math.floor(parts + 1e-9))
    return ends


@dataclass(frozen=True)
class SuccessiveHalving:
    """Pulls all surviving arms equally often and drops the worse half of them after every stage.

    It is stateless: every plan replays the stages from the start. In each stage the survivors, all arms in the first,
    are pulled until each has its quota (`quotas`), the one with the fewest pulls first, ties at random. Then the better
    half survives, rounded up: those of highest `mean + tail * sd`, estimated by `moments` from the survivors' first
    rewards up to the quota, so that earlier stages come out the same again. Ties go to the arm with more pulls, which
    keeps an earlier choice, and then to a random one. Pulls after the last stage go to the last survivor.

    The horizon is all pulls so far and all that are left. Arms that join later first catch up with the quotas.
    Within a round, planned pulls count as pulls; where they fill a quota, the half is chosen by the rewards that are
    known, and chosen again in the next round. Unscored pulls count as pulls too.

    Attributes:
        tail: how many standard deviations above the mean arms are compared, at least 0.
    """

    tail: float = 1.5

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:
        """Choose `size` pulls; see `Policy.plan`."""
        plan = untried(arms, size)
        pulls = np.array([arm.pulls for arm in arms], dtype=np.int64)
        ends = quotas(len(arms), int(pulls.sum()) + left)
        pulls[plan] += 1
        alive = np.arange(len(arms))
        for quota in ends:
            while len(plan) < size and pulls[alive].min() < quota:
                plan.append(_pull_fewest(pulls, alive, rng))
            if len(plan) == size:
                return plan
            known = moments([Arm(quota, arms[index].rewards[:quota]) for index in alive.tolist()])
            tails = np.round(known.means + self.tail * np.sqrt(known.variances), 12)
            order = np.lexsort((rng.random(len(alive)), -pulls[alive], -tails))
            alive = alive[order[: (len(alive) + 1) // 2]]
        return plan + [int(alive[0])] * (size - len(plan))


def _pull_fewest(pulls: NDArray[np.int64], alive: NDArray[np.int64], rng: np.random.Generator) -> int:
    fewest = alive[pulls[alive] == pulls[alive].min()]
    arm = int(fewest[rng.integers(len(fewest))])
    pulls[arm] += 1
    return arm
