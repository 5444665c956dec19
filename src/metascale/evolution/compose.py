"""Compose afresh: the baseline for the other operators."""

from __future__ import annotations

from collections.abc import Sequence

from metascale import prompts
from metascale.evolution.operators import described
from metascale.pool.admission import PoolArm
from metascale.records import MetaThought


class Compose:
    """No parents: the model composes for the task and sees the arms that are already in play."""

    prompt = "evolve_compose"

    def parents(self, members: Sequence[PoolArm], ranked: Sequence[int], count: int) -> list[int]:  # noqa: ARG002
        """None; see `Operator.parents`."""
        return []

    def material(
        self,
        pool: Sequence[MetaThought],
        members: Sequence[PoolArm],
        parents: Sequence[int],  # noqa: ARG002
        tag: str,
    ) -> list[str]:
        """Every arm that is in play and says how to think; see `Operator.material`."""
        in_play = [t for t, member in zip(pool, members, strict=True) if not member.retired and not member.is_blank]
        return [prompts.fence("known", described(thought), tag) for thought in in_play]
