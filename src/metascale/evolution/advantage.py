"""How children compare with the arms before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metascale.pool.admission import PoolArm
from metascale.records import OperatorName
from metascale.stats.shrinkage import Shrunk


@dataclass(frozen=True)
class Advantage:
    """A scored child compared with its best parent.

    Attributes:
        operator: that bred the child.
        value: its mean reward minus the estimated mean of its best parent.
        variance: of the error of `value`, above 0.
    """

    operator: OperatorName
    value: float
    variance: float


def advantages(members: Sequence[PoolArm], now: Shrunk) -> list[Advantage]:
    """The advantage of every scored child of the pool.

    The parent's mean is shrunk, because the parent was chosen for a high mean. The child was not, so its plain mean
    counts. A child without parents is compared with the best arm before it.

    Args:
        members: the pool, in order of birth.
        now: their estimated means.
    """
    found = []
    for index, member in enumerate(members):
        if member.operator is None or not member.rewards:
            continue
        before = best_before(members, index, now)
        mean = sum(member.rewards) / len(member.rewards)
        variance = now.noise**2 / len(member.rewards) + float(now.errors[before]) ** 2
        found.append(Advantage(member.operator, mean - float(now.means[before]), variance))
    return found


def best_before(members: Sequence[PoolArm], index: int, now: Shrunk) -> int:
    """The index of the arm that a child is compared with: its best parent; without parents, the best arm before it."""
    return max(members[index].parents or range(index), key=lambda i: float(now.means[i]))
