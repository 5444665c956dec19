"""Several judges as one reward, weighted by their reliability."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import ensure_config
from langchain_core.runnables.utils import gather_with_concurrency
from numpy.typing import NDArray

from metascale.models import MeteredModel, resolve_model
from metascale.rewards.base import Earlier, Reward, Score
from metascale.rewards.judge import WORDINGS, JudgeReward
from metascale.rewards.scorer import Scorer
from metascale.settings import MetaScaleSettings
from metascale.stats.dawid_skene import judge_weights
from metascale.stats.reliability import Reliability
from metascale.usage import add_usage, no_usage

ENOUGH_TO_BE_CONSTANT = 3
"""Answers with the same value after which a member counts as constant: two equal values are common."""
ENOUGH_TO_AGREE = 3
"""Members whose agreement tells them apart: of two, both agree equally often."""
DECIMALS = 9
"""Decimals of a value, well above rounding errors, so that equal judgements give equal values."""


@dataclass(frozen=True)
class Member:
    """One judge of a panel.

    Attributes:
        reward: the judge; a relative reward cannot be one.
        reliability: how it did on labelled answers; None gives it the weight of a perfect judge.
    """

    reward: Reward
    reliability: Reliability | None = None

    @property
    def weight(self) -> float:
        """Its weight, in [0, 1], before it has scored any answer of the task."""
        return 1.0 if self.reliability is None else self.reliability.weight


class PanelReward:
    """The weighted mean of its members' values of an answer.

    A member's weight is its measured reliability, or 1 without a measurement, times what the agreement of three or more
    members in this task says (`metascale.stats.dawid_skene`); a few answers say little. It is 0 in a task where the
    member gave the same value to at least `ENOUGH_TO_BE_CONSTANT` answers while another member gave those answers
    different values. So a judge that gives every answer a 10 has no influence, even if its reliability is unknown. If
    all weights are 0, the members that did distinguish answers get equal weights, regardless of their reliability.
    Weights depend on all answers of the task so far and are the same for all of them.

    If members failed on an answer, its value is the mean of all answers plus the weighted mean of the differences
    between the other members' values and their own means. So the severity of the missing members makes no difference.
    If no member with a weight above 0 scored it, its value is the mean of all answers.

    The memo of an answer is the list of the members' values, with None for those that failed.
    """

    calls_per_look = 1

    @property
    def shares_verdicts(self) -> bool:
        """Whether all members share verdicts on answers with the same final answer."""
        return all(scorer.shares_verdicts for scorer in self._scorers)

    def __init__(self, members: Sequence[Member]) -> None:
        """Score with these members.

        Raises:
            ValueError: there is none, or one is a relative reward, whose values may change later.
        """
        if not members:
            raise ValueError("a panel needs a member")
        self._scorers = [Scorer(member.reward, name="it") for member in members]
        relative = [type(scorer.reward).__name__ for scorer in self._scorers if scorer.is_relative]
        if relative:
            raise ValueError(f"a relative reward cannot sit on a panel: {', '.join(relative)}")
        self.members = tuple(members)

    @classmethod
    def of_wordings(cls, model: BaseChatModel | MeteredModel | str, *, rubric: str | None = None) -> Self:
        """One model as three judges, each with its own wording; see `JudgeReward` for the arguments."""
        metered = model if isinstance(model, MeteredModel) else MeteredModel(resolve_model(model))
        return cls([Member(_OneWording(metered, wording, rubric=rubric)) for wording in range(len(WORDINGS))])

    def calls(self, new: int, earlier: int = 0) -> int:
        """As in `Reward`: the sum over the members."""
        return sum(member.reward.calls(new, earlier) for member in self.members)

    async def score(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        earlier: Sequence[Earlier] = (),
    ) -> list[Score]:
        """Ask all members; see `RelativeReward.score`.

        An answer is unscored only if every member failed on it. Its critique comes from the member of the highest
        weight that wrote one.
        """
        said = await _all_members(
            _first_scores(scorer.score(question, answers, settings, place=[*place, number]))
            for number, scorer in enumerate(self._scorers)
        )
        by_answer = list(zip(*said, strict=True))
        memos = [_memo(scores) for scores in by_answer]
        everything = [*(answer.memo for answer in earlier), *memos]
        values = self.values(everything)[len(earlier) :]
        weights = self._weights(_table(everything, len(self.members)))
        by_weight = sorted(range(len(self.members)), key=lambda number: -weights[number])
        return [
            _joined(value, memo, [scores[number] for number in by_weight])
            for value, memo, scores in zip(values, memos, by_answer, strict=True)
        ]

    def values(self, memos: Sequence[Any]) -> list[float | None]:
        """The members' weighted mean; see `RelativeReward.values`."""
        said = _table(memos, len(self.members))
        weights = self._weights(said)
        means = np.array([_mean(column) for column in said.T])
        overall = float((weights * means).sum() / weights.sum()) if weights.sum() else 0.0
        values: list[float | None] = []
        for memo, row in zip(memos, said, strict=True):
            heard = np.where(np.isnan(row), 0.0, weights)
            above = float((heard * np.nan_to_num(row - means)).sum() / heard.sum()) if heard.sum() else 0.0
            values.append(None if memo is None else round(min(1.0, max(0.0, overall + above)), DECIMALS))
        return values

    async def look_again(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        looks: Sequence[int],
    ) -> list[Score]:
        """Ask one member about each answer; members take turns from look to look.

        Only members that can re-judge and whose weight is above 0 take turns; without any, nothing is scored. A
        member's own looks are counted from 1. A wording begins with the member's number.
        """
        able = [
            (number, scorer)
            for number, (member, scorer) in enumerate(zip(self.members, self._scorers, strict=True))
            if member.weight > 0 and scorer.calls_per_look is not None
        ]
        if not able:
            return [Score(None, error="no member of the panel can look again") for _ in answers]
        turns = [
            (number, judge, [index for index, look in enumerate(looks) if (look - 1) % len(able) == turn])
            for turn, (number, judge) in enumerate(able)
        ]
        said = await _all_members(
            judge.look_again(
                question,
                [answers[index] for index in indices],
                settings,
                place=[*place, number],
                looks=[1 + (looks[index] - 1) // len(able) for index in indices],
            )
            for number, judge, indices in turns
        )
        by_answer = {
            index: replace(score, wording=f"{number}: {score.wording}")
            for (number, _, indices), scores in zip(turns, said, strict=True)
            for index, score in zip(indices, scores, strict=True)
        }
        return [by_answer[index] for index in range(len(answers))]

    def _weights(self, said: NDArray[np.float64]) -> NDArray[np.float64]:
        """The members' weights in a task; at least one is above 0 if any answer was scored.

        Args:
            said: shape (answers, members), NaN where a member failed.
        """
        telling = np.array([_scored_any(column) and not _is_constant(column, said) for column in said.T])
        weights = np.where(telling, [member.weight for member in self.members], 0.0)
        weights = weights if weights.any() else telling.astype(np.float64)
        heard = weights > 0
        if heard.sum() >= ENOUGH_TO_AGREE:
            weights[heard] *= judge_weights(said[:, heard])
        return weights


class _OneWording(JudgeReward):
    """A judge with one wording, which alternates between showing the question first and the answer first."""

    def __init__(self, model: MeteredModel, wording: int, *, rubric: str | None) -> None:
        super().__init__(model, rubric=rubric, at_once=1)
        self._wording = wording

    async def _judge(
        self,
        model: MeteredModel,
        question: str,
        answer: str,
        settings: MetaScaleSettings,
        place: Sequence[int | str],
        *,
        look: int,
    ) -> Score:
        way = self._wording + len(WORDINGS) * look
        return await super()._judge(model, question, answer, settings, place, look=way)


def _table(memos: Sequence[Any], members: int) -> NDArray[np.float64]:
    """The members' values, of shape (answers, members), with NaN for None."""
    rows = [[None] * members if memo is None else memo for memo in memos]
    return np.array(rows, dtype=np.float64).reshape(len(rows), members)


def _scored_any(column: NDArray[np.float64]) -> bool:
    return bool((~np.isnan(column)).any())


def _is_constant(column: NDArray[np.float64], said: NDArray[np.float64]) -> bool:
    """Whether a member gave several answers the same value while another member gave them different ones."""
    scored = ~np.isnan(column)
    if scored.sum() < ENOUGH_TO_BE_CONSTANT or len(set(column[scored])) > 1:
        return False
    return any(len(set(other[~np.isnan(other)])) > 1 for other in said[scored].T)


def _mean(column: NDArray[np.float64]) -> float:
    """The mean of a member's values; 0 where it scored nothing."""
    scored = column[~np.isnan(column)]
    return float(scored.mean()) if scored.size else 0.0


def _memo(scores: Sequence[Score]) -> list[float | None] | None:
    values = [score.value for score in scores]
    return None if all(value is None for value in values) else values


def _joined(value: float | None, memo: Any, scores: Sequence[Score]) -> Score:
    """One score made of the members', which are sorted by weight, the highest first."""
    usage = no_usage()
    for score in scores:
        usage = add_usage(usage, score.usage)
    if value is None:
        return Score(None, error="; ".join(dict.fromkeys(score.error or "no value" for score in scores)), usage=usage)
    critique = next((score.critique for score in scores if score.critique is not None), None)
    return Score(value, critique=critique, memo=memo, usage=usage)


async def _first_scores(asked: Coroutine[Any, Any, tuple[list[Score], list[float | None]]]) -> list[Score]:
    """A member's scores; it changes no earlier ones, because it is not relative."""
    scores, _ = await asked
    return scores


async def _all_members(work: Iterable[Coroutine[Any, Any, list[Score]]]) -> list[list[Score]]:
    """All members' scores: concurrently, or one after another if the run has a `max_concurrency`.

    Each member uses the whole of that limit by itself.
    """
    return await gather_with_concurrency(1 if ensure_config().get("max_concurrency") else None, *work)
