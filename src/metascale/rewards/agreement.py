"""Self-consistency as a reward: the value of an answer is the share of all answers that agree with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from metascale.answers import Kind, extract
from metascale.rewards.base import Earlier, Score
from metascale.settings import MetaScaleSettings


class AgreementReward:
    """Counts final answers; for questions whose answers can be extracted (see `metascale.answers`).

    The vote of Wang et al. (2023, arXiv 2203.11171) as a value: among the answers that mark a final answer, the share
    that mark the same one. The memo of an answer is its final answer in canonical form.
    """

    counts_votes = True

    def __init__(self, kind: Kind | None = None) -> None:
        """Compare final answers.

        Args:
            kind: the kind of final answers; by default the settings' `answer_kind`.
        """
        self.kind = kind

    def calls(self, new: int, earlier: int = 0) -> int:  # noqa: ARG002
        """No model is asked."""
        return 0

    async def score(
        self,
        question: str,  # noqa: ARG002
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],  # noqa: ARG002
        earlier: Sequence[Earlier] = (),
    ) -> list[Score]:
        """Compare the final answers; see `RelativeReward.score`."""
        kind = self.kind or settings.answer_kind
        memos = [extract(answer, kind) for answer in answers]
        values = self.values([*(answer.memo for answer in earlier), *memos])[len(earlier) :]
        return [
            Score(value, memo=memo, error="no final answer is marked" if memo is None else None)
            for value, memo in zip(values, memos, strict=True)
        ]

    def values(self, memos: Sequence[Any]) -> list[float | None]:
        """For each final answer its share of all, in (0, 1]; see `RelativeReward.values`."""
        counts = Counter(memo for memo in memos if memo is not None)
        return [None if memo is None else counts[memo] / counts.total() for memo in memos]
