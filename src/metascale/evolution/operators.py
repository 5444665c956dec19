"""The protocol of an operator of evolution, and how meta-thoughts are shown to the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from metascale.evolution.parents import REMARKS_READ
from metascale.pool.admission import PoolArm, Remark
from metascale.records import MetaThought


class Operator(Protocol):
    """A way to breed children: which arms it uses as parents, and what the model reads about them."""

    prompt: str
    """The name of its prompt, which `prompts.for_experts` renders."""

    def parents(self, members: Sequence[PoolArm], ranked: Sequence[int], count: int) -> list[int] | None:
        """Choose the parents.

        Args:
            members: the pool.
            ranked: indices of the arms that may breed, best first; at least one.
            count: how many parents an operator with a free choice takes, at least 1.

        Returns:
            Indices into the pool, empty where children have no parents; None where the operator cannot be used.
        """
        ...

    def material(
        self, pool: Sequence[MetaThought], members: Sequence[PoolArm], parents: Sequence[int], tag: str
    ) -> list[str]:
        """What the model reads besides the task, each part between fences.

        Args:
            pool: the meta-thoughts.
            members: their statistics, in the same order.
            parents: the indices that `parents` returned.
            tag: of the fences.
        """
        ...


def described(thought: MetaThought) -> str:
    """The parts of a meta-thought that it has, worded for the model."""
    parts = {"Mindset": thought["mindset"], "Strategy": thought["strategy"]}
    return "\n".join(f"{name}: {text}" for name, text in parts.items() if text)


def record(thought: MetaThought, member: PoolArm, remarks: Sequence[Remark] | None = None) -> str:
    """A meta-thought with its mean reward and critiques of its answers.

    Args:
        thought: the meta-thought.
        member: its statistics, with at least one reward.
        remarks: whose critiques to show; by default the latest.
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
