"""Which arms retire from a full pool."""

from __future__ import annotations

from collections.abc import Sequence

from metascale.bandits.estimates import estimate, upper_tails
from metascale.pool.admission import PoolArm

IMPLAUSIBLE = 2.0
"""Standard errors by which an arm's mean must lie below the best: a chance of at most one in twenty that it is not."""


def retirable(members: Sequence[PoolArm]) -> list[int]:
    """The arms that cannot plausibly win any more, the least promising first.

    The mean of such an arm lies more than `IMPLAUSIBLE` standard errors of the difference below the best mean. Fixed
    arms, arms without a reward, the arm with the best mean, the arm with the best upper tail, and arms that gave an
    answer with the highest reward never retire.

    Args:
        members: the pool, in order of birth.

    Returns:
        Indices into `members`.
    """
    if not any(member.rewards for member in members):
        return []
    now, tails = estimate(members), upper_tails(members)
    active = [index for index, member in enumerate(members) if member.rewards and not member.retired]
    if not active:
        return []
    best = max(active, key=lambda index: now.means[index])
    top = max(max(members[index].rewards) for index in active)

    def is_hopeless(index: int) -> bool:
        error = float((now.errors[index] ** 2 + now.errors[best] ** 2) ** 0.5)
        return bool(now.means[index] + IMPLAUSIBLE * error < now.means[best])

    tallest = max(active, key=lambda index: tails[index])
    hopeless = [
        index
        for index in active
        if not members[index].is_fixed and index != tallest and max(members[index].rewards) < top and is_hopeless(index)
    ]
    return sorted(hopeless, key=lambda index: tails[index])


def room(members: Sequence[PoolArm], max_pool: int) -> int:
    """How many children the pool can take: its free places and the arms that can retire; at least 0."""
    active = sum(not member.retired for member in members)
    return max(0, max_pool - active + len(retirable(members)))


def making_room(members: Sequence[PoolArm], newcomers: int, max_pool: int) -> list[int]:
    """The arms that retire as `newcomers` join, so that at most `max_pool` stay active; the least promising first."""
    excess = sum(not member.retired for member in members) + newcomers - max_pool
    return retirable(members)[: max(0, excess)]
