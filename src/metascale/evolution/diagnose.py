"""Edit one parent by a step-by-step diagnosis of its failures."""

from __future__ import annotations

from collections.abc import Sequence

from metascale import prompts
from metascale.evolution.operators import record
from metascale.evolution.parents import REMARKS_READ
from metascale.pool.admission import PoolArm, Remark
from metascale.records import MetaThought


class Diagnose:
    """One parent and the critiques of its worst answers; after PE2 (arXiv 2311.05661).

    A failure is an answer with a critique and a reward below the highest of all.
    """

    prompt = "evolve_diagnose"

    def parents(self, members: Sequence[PoolArm], ranked: Sequence[int], count: int) -> list[int] | None:  # noqa: ARG002
        """The best arm with a failure; see `Operator.parents`."""
        return next(([index] for index in ranked if _failures(members, index)), None)

    def material(
        self, pool: Sequence[MetaThought], members: Sequence[PoolArm], parents: Sequence[int], tag: str
    ) -> list[str]:
        """The parent, then each failure, the worst first; see `Operator.material`."""
        (index,) = parents
        failures = _failures(members, index)
        return [
            prompts.fence("expert", record(pool[index], members[index], []), tag),
            *(prompts.fence("failure", f"Reward: {f.reward:.2f}\nCritique: {f.critique}", tag) for f in failures),
        ]


def _failures(members: Sequence[PoolArm], index: int) -> list[Remark]:
    top = max(reward for member in members for reward in member.rewards)
    found = [(remark.reward, remark) for remark in members[index].remarks if remark.reward is not None]
    below = sorted((pair for pair in found if pair[0] < top), key=lambda pair: pair[0])
    return [remark for _, remark in below[:REMARKS_READ]]
