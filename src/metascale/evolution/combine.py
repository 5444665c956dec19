"""The paper's operator: combine and refine several parents."""

from __future__ import annotations

from collections.abc import Sequence

from metascale import prompts
from metascale.evolution.operators import record
from metascale.pool.admission import PoolArm
from metascale.records import MetaThought


class Combine:
    """Several parents, each with the latest critiques of its answers (paper, section 3, phase 3)."""

    prompt = "evolve"

    def parents(self, members: Sequence[PoolArm], ranked: Sequence[int], count: int) -> list[int]:  # noqa: ARG002
        """The best `count`; see `Operator.parents`."""
        return list(ranked[:count])

    def material(
        self, pool: Sequence[MetaThought], members: Sequence[PoolArm], parents: Sequence[int], tag: str
    ) -> list[str]:
        """The parents' records; see `Operator.material`."""
        return [prompts.fence("expert", record(pool[index], members[index]), tag) for index in parents]
