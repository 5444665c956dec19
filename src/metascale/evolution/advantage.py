"""How children fared against what was there before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metascale.pool.admission import Member
from metascale.records import OperatorName
from metascale.stats.shrinkage import Shrunk


@dataclass(frozen=True)
class Advantage:
    """One child that was tried, against the best of its parents.

    Attributes:
        operator: what bred it.
        value: its mean reward, minus the estimated one of its best parent.
        variance: of that difference's error, above 0.
    """

    operator: OperatorName
    value: float
    variance: float


def advantages(members: Sequence[Member], now: Shrunk) -> list[Advantage]:
    """How every scored child of the pool fared.

    The parent's mean is shrunk, because it was chosen for being high; the child's is its plain mean, because nobody
    chose it. A child without parents is compared with the best arm that was there before it. Ours.

    Args:
        members: the pool, in order of birth.
        now: what is known of them.
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


def best_before(members: Sequence[Member], index: int, now: Shrunk) -> int:
    """What a child is compared with: its best parent; without parents, the best arm that was there before it."""
    return max(members[index].parents or range(index), key=lambda i: float(now.means[i]))
