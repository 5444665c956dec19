"""Learn from the difference between a winner and a loser."""

from __future__ import annotations

from collections.abc import Sequence

from metascale import prompts
from metascale.evolution.operators import record
from metascale.pool.admission import PoolArm
from metascale.records import MetaThought


class Contrast:
    """The best arm beside the arm of the lowest mean reward."""

    prompt = "evolve_contrast"

    def parents(self, members: Sequence[PoolArm], ranked: Sequence[int], count: int) -> list[int] | None:  # noqa: ARG002
        """The winner and the loser; None where all means are equal. See `Operator.parents`."""
        means = {index: sum(members[index].rewards) / len(members[index].rewards) for index in ranked}
        winner, loser = ranked[0], min(ranked, key=lambda index: means[index])
        return [winner, loser] if means[loser] < means[winner] else None

    def material(
        self, pool: Sequence[MetaThought], members: Sequence[PoolArm], parents: Sequence[int], tag: str
    ) -> list[str]:
        """Both records; see `Operator.material`."""
        return [
            prompts.fence(label, record(pool[index], members[index]), tag)
            for label, index in zip(("winner", "loser"), parents, strict=True)
        ]
