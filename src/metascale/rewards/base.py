"""What a reward is asked and what it returns."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from metascale.errors import describe
from metascale.settings import MetaScaleSettings
from metascale.usage import Usage, no_usage


@dataclass(frozen=True)
class Score:
    """What a reward says of one answer.

    Attributes:
        value: in [0, 1]; None where it could not score, which is not the same as 0.
        critique: what is good or bad about the answer, for evolution to learn from.
        error: why there is no value.
        memo: what a relative reward remembers of the answer, as JSON; None for all others.
        wording: how it was asked. Scores of one answer under the same wording may be mere copies of each other.
        usage: what scoring this answer cost.
    """

    value: float | None
    critique: str | None = None
    error: str | None = None
    memo: Any = None
    wording: str = ""
    usage: Usage = field(default_factory=no_usage)


@dataclass(frozen=True)
class Earlier:
    """An answer to the same question that a relative reward scored in an earlier round.

    Attributes:
        text: the answer.
        memo: what the reward remembered of it; None where it failed.
    """

    text: str
    memo: Any


class Reward(Protocol):
    """Scores the answers to one question."""

    def calls(self, new: int, earlier: int = 0) -> int:
        """Model requests to score `new` answers after `earlier` ones when nothing goes wrong; 0 without a model."""
        ...

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


@runtime_checkable
class RelativeReward(Protocol):
    """A reward by which an answer is worth what it is worth beside the others of its task.

    It remembers of each answer a memo, and the memos of all answers so far give the value of each. So the values of a
    task are always comparable, though those of earlier answers may move when new ones arrive.
    """

    def calls(self, new: int, earlier: int = 0) -> int:
        """As in `Reward`."""
        ...

    async def score(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        earlier: Sequence[Earlier] = (),
    ) -> list[Score]:
        """Score new answers beside the earlier ones, which are given in order; see `Reward.score`."""
        ...

    def values(self, memos: Sequence[Any]) -> list[float | None]:
        """The values in [0, 1] of all answers of a task.

        Args:
            memos: what was remembered of each, in the order in which they were scored; None where that failed.

        Returns:
            One value a memo; None for None.
        """
        ...


@runtime_checkable
class Rejudging(Protocol):
    """A reward whose second look at an answer can tell more than its first."""

    calls_per_look: int
    """Model requests that one more look at one answer costs when nothing goes wrong."""

    async def look_again(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        looks: Sequence[int],
    ) -> list[Score]:
        """Judge answers afresh: asked in other words, in another order or by somebody else.

        Args:
            question: the task, as text.
            answers: answers that were scored before; one may stand here more than once. Untrusted.
            settings: the run's settings.
            place: where in the run this stands, for seeds.
            looks: for each answer how many judgements it has had, 1 or more; it decides how it is asked now.

        Returns:
            One score an answer, each with its wording.
        """
        ...


async def guarded(work: Awaitable[list[Score]], answers: int, who: str = "the reward") -> list[Score]:
    """What a reward says of so many answers, with an error in place of everything that is no score.

    A reward may be the user's code: whatever it raises or returns, there is one score an answer.

    Args:
        work: what was asked of it.
        answers: how many answers it was asked about.
        who: the reward, as errors name it.
    """
    try:
        scores = await work
        if len(scores) != answers:
            raise ValueError(f"{who} gave {len(scores)} scores for {answers} answers")
    except Exception as error:  # noqa: BLE001
        return [Score(None, error=describe(error)) for _ in range(answers)]
    return [
        score
        if score.value is None or in_range(score.value) is not None
        else replace(score, value=None, memo=None, error=f"{who} gave {score.value}, which is not in [0, 1]")
        for score in scores
    ]


def in_range(value: Any) -> float | None:
    """What a reward gave as a value, if it is a number in [0, 1]; else None."""
    try:
        return float(value) if math.isfinite(value) and 0 <= value <= 1 else None
    except TypeError:
        return None
