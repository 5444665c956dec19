"""The protocols of rewards, and the scores that they return."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from langchain_core.messages import BaseMessage

from metascale.errors import describe
from metascale.records import Certainty
from metascale.settings import MetaScaleSettings
from metascale.usage import Usage, no_usage


@dataclass(frozen=True)
class Score:
    """A reward's judgement of one answer.

    Attributes:
        value: in [0, 1]; None where the answer could not be scored, which is not the same as 0.
        critique: what is good or bad about the answer, for evolution to learn from.
        error: why there is no value.
        memo: what a relative reward remembers about the answer, as JSON; None for other rewards.
        wording: how the question was put. Scores of one answer under the same wording may be mere copies.
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
        memo: what the reward remembered about it; None where scoring failed.
    """

    text: str
    memo: Any


@dataclass(frozen=True)
class Drawn:
    """An answer with how it came about: what a `SampleReward` reads.

    Attributes:
        text: the answer. Untrusted.
        meta_thought: the id of the meta-thought that it was sampled under.
        certainty: how sure the model was of it; None where that is not known.
        conversation: the messages that the sample answered, exactly as they were sent.
    """

    text: str
    meta_thought: str
    certainty: Certainty | None
    conversation: Sequence[BaseMessage]


class Reward(Protocol):
    """Scores the answers to one question."""

    def calls(self, new: int, earlier: int = 0) -> int:
        """Model requests to score `new` answers after `earlier` ones if none fails; 0 without a model."""
        ...

    async def score(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
    ) -> list[Score]:
        """Score the answers of one round, concurrently where possible.

        Args:
            question: the task, as text.
            answers: at least one answer, all of the same task. Untrusted.
            settings: the run's settings.
            place: the RNG seed path of this round.

        Returns:
            One score for each answer, in their order.
        """
        ...


@runtime_checkable
class RelativeReward(Protocol):
    """A reward that values an answer relative to the other answers of its task.

    It keeps a memo of each answer, and the memos of all answers so far give the value of each. So the values of a task
    are always comparable, though the values of earlier answers may change when new ones arrive.
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
        """Score new answers relative to the earlier ones, which are given in order; see `Reward.score`."""
        ...

    def values(self, memos: Sequence[Any]) -> list[float | None]:
        """The values in [0, 1] of all answers of a task.

        Args:
            memos: the memo of each answer, in the order of scoring; None where scoring failed.

        Returns:
            One value for each memo; None for None.
        """
        ...


@runtime_checkable
class SampleReward(Protocol):
    """A reward that reads more of a sample than its text: the conversation, the meta-thought or the certainty.

    It is a `Reward` or a `RelativeReward` as well. `score` is called where nothing but the texts is known.
    """

    reads_certainty: bool
    """Whether samples are to be drawn with their token probabilities."""

    async def score_samples(
        self,
        question: str,
        samples: Sequence[Drawn],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        earlier: Sequence[Earlier] = (),
    ) -> list[Score]:
        """Score the samples of one round; see `Reward.score`.

        Args:
            question: the task, as text.
            samples: at least one, all of the same task.
            settings: the run's settings.
            place: the RNG seed path of this round.
            earlier: the earlier answers, in order; empty unless the reward is a `RelativeReward`.
        """
        ...


@runtime_checkable
class Rejudging(Protocol):
    """A reward that can re-judge an answer, so that a second look tells more than the first."""

    calls_per_look: int
    """Model requests that one more look at one answer costs if none fails."""

    async def look_again(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        looks: Sequence[int],
    ) -> list[Score]:
        """Re-judge answers: in another wording, in another order or by another judge.

        Args:
            question: the task, as text.
            answers: answers that were scored before; the same answer may occur more than once. Untrusted.
            settings: the run's settings.
            place: the RNG seed path of these looks.
            looks: for each answer its number of judgements so far, 1 or more; it decides the wording.

        Returns:
            One score for each answer, with its wording.
        """
        ...


async def guarded(work: Awaitable[list[Score]], answers: int, who: str = "the reward") -> list[Score]:
    """The scores of a reward, with an error in place of everything that is no valid score.

    A reward may be the user's code: whatever it raises or returns, there is one score for each answer.

    Args:
        work: the reward at work on the answers.
        answers: the number of answers.
        who: the reward's name in errors.
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
    """The value as a float if it is a number in [0, 1]; else None."""
    try:
        return float(value) if math.isfinite(value) and 0 <= value <= 1 else None
    except TypeError:
        return None
