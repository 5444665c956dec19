"""What an operator of evolution is, and how it shows meta-thoughts to the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from metascale.evolution.parents import REMARKS_READ
from metascale.pool.admission import Member, Remark
from metascale.records import MetaThought


class Operator(Protocol):
    """A way to get children: which arms it reads, and what it shows of them."""

    prompt: str
    """The name of its prompt, which takes `count` and `tag`."""

    def parents(self, members: Sequence[Member], ranked: Sequence[int], count: int) -> list[int] | None:
        """Choose the parents.

        Args:
            members: the pool.
            ranked: places of the arms that may breed, best first; at least one.
            count: parents where the operator takes any number, at least 1.

        Returns:
            Places in the pool, none where children inherit nothing; None where the operator has nothing to work on.
        """
        ...

    def material(
        self, pool: Sequence[MetaThought], members: Sequence[Member], parents: Sequence[int], tag: str
    ) -> list[str]:
        """What the model reads besides the task: every part between fences.

        Args:
            pool: the meta-thoughts.
            members: their statistics, in the same order.
            parents: what `parents` gave.
            tag: of the fences.
        """
        ...


def described(thought: MetaThought) -> str:
    """A meta-thought as the model reads it."""
    return f"Mindset: {thought['mindset'] or '(none)'}\nStrategy: {thought['strategy'] or '(none)'}"


def record(thought: MetaThought, member: Member, remarks: Sequence[Remark] | None = None) -> str:
    """A meta-thought with what it earned and what was said of its answers, by default the latest remarks.

    Args:
        thought: the meta-thought.
        member: its statistics, with at least one reward.
        remarks: what to show instead.
    """
    mean = sum(member.rewards) / len(member.rewards)
    said = member.remarks[-REMARKS_READ:] if remarks is None else remarks
    return "\n".join(
        [
            described(thought),
            f"Mean reward: {mean:.2f} over {len(member.rewards)} answers",
            *(f"Critique: {remark.critique}" for remark in said),
        ]
    )
