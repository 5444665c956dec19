"""What a reward is asked and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from metascale.settings import MetaScaleSettings
from metascale.usage import Usage, no_usage


@dataclass(frozen=True)
class Score:
    """What a reward says of one answer.

    Attributes:
        value: in [0, 1]; None where it could not score, which is not the same as 0.
        critique: what is good or bad about the answer, for evolution to learn from.
        error: why there is no value.
        usage: what scoring this answer cost.
    """

    value: float | None
    critique: str | None = None
    error: str | None = None
    usage: Usage = field(default_factory=no_usage)


class Reward(Protocol):
    """Scores the answers to one question."""

    calls_per_answer: int
    """Model requests that one answer costs when nothing goes wrong; 0 for a reward without a model."""

    async def score(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
    ) -> list[Score]:
        """Score the answers of one round, concurrently where that helps.

        Args:
            question: the task, as text.
            answers: at least one answer, all of the same task. Untrusted.
            settings: the run's settings.
            place: where in the run this round stands, for seeds.

        Returns:
            One score an answer, in their order.
        """
        ...
