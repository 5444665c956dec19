"""The outcome of every question for every method and budget, with its answers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metascale.evals.report.records import AnswerGiven, Battle, SampleRecord
from metascale.evals.report.tables import Setting, grouped

Result = Literal["right", "wrong", "partly", "failed", "unanswered"]
"""`partly` is a score between 0 and 1, such as a share of battles won."""


@dataclass(frozen=True)
class Reply:
    """One answer of one method to one question.

    Attributes:
        method: such as `best_of_n`.
        budget: the sampling budget that was set.
        epoch: the repetition of the question, from 1.
        outcome: of the run.
        score: in [0, 1]; None where the run failed or has not ended.
        text: the answer's text; empty where the run failed.
        problem: why the run failed, or None.
        winner: the id of the chosen sample, or None.
        reward: the reward of the chosen sample, or None.
        samples: every sample, in order.
        battles: Arena-Hard's judgements.
        calls: model requests of every kind; this and the following costs are None where they are not known.
        input_tokens: prompt tokens.
        output_tokens: completion tokens.
        seconds: wall-clock working time.
        dollars: None also if the price is unknown.
    """

    method: str
    budget: int
    epoch: int
    outcome: Result
    score: float | None
    text: str
    problem: str | None
    winner: int | None
    reward: float | None
    samples: tuple[SampleRecord, ...]
    battles: tuple[Battle, ...]
    calls: int | None
    input_tokens: int | None
    output_tokens: int | None
    seconds: float | None
    dollars: float | None

    @property
    def chosen(self) -> SampleRecord | None:
        """The sample that became the answer."""
        return next((sample for sample in self.samples if sample.id == self.winner), None)

    @property
    def finals(self) -> list[FinalAnswer]:
        """What the samples answered, most votes first."""
        same = grouped(self.samples, lambda sample: sample.extracted)
        found = [
            FinalAnswer(
                final,
                len(of_final),
                tuple(sample.reward for sample in of_final if sample.reward is not None),
                of_final[0].right,
                any(sample.id == self.winner for sample in of_final),
            )
            for final, of_final in same.items()
        ]
        return sorted(found, key=lambda one: -one.votes)


@dataclass(frozen=True)
class FinalAnswer:
    """The samples of one run with the same final answer.

    Attributes:
        final: the final answer in canonical form; None for samples without one.
        votes: how many samples gave it, at least 1.
        rewards: their rewards, where they were scored.
        right: whether it is the gold answer; None where that is not known.
        chosen: whether the run's answer is one of them.
    """

    final: str | None
    votes: int
    rewards: tuple[float, ...]
    right: bool | None
    chosen: bool


@dataclass(frozen=True)
class Question:
    """One question with all its answers.

    Attributes:
        id: the question's.
        text: its text.
        gold: the expected answer; empty without one.
        replies: for each column of the table its answers, one for each epoch; none where it was not asked.
    """

    id: str
    text: str
    gold: str
    replies: tuple[tuple[Reply, ...], ...]


@dataclass(frozen=True)
class Outcomes:
    """The questions of one task and model, hardest first.

    Attributes:
        setting: the task and the model.
        columns: every method and budget.
        questions: those with the lowest mean score first, those without an answer last.
    """

    setting: Setting
    columns: tuple[tuple[str, int], ...]
    questions: tuple[Question, ...]


def outcomes(setting: Setting, columns: Sequence[tuple[str, int]], answers: Sequence[AnswerGiven]) -> Outcomes:
    """The outcomes of all questions.

    Args:
        setting: the task and the model of all answers.
        columns: the methods and budgets, in the order of the table.
        answers: to any questions, by these methods.
    """
    by_question = grouped(answers, lambda answer: answer.question_id)
    hardest = sorted(by_question.values(), key=lambda given: (_mean_score(given), _natural(given[0].question_id)))
    return Outcomes(setting, tuple(columns), tuple(_question(given, columns) for given in hardest))


def _question(answers: Sequence[AnswerGiven], columns: Sequence[tuple[str, int]]) -> Question:
    cells = grouped(sorted(answers, key=lambda answer: answer.epoch), lambda answer: (answer.method, answer.budget))
    replies = tuple(tuple(_reply(answer) for answer in cells.get(column, ())) for column in columns)
    text = next((answer.question for answer in answers if answer.question), "")
    gold = next((answer.gold for answer in answers if answer.gold), "")
    return Question(answers[0].question_id, text, gold, replies)


def _reply(answer: AnswerGiven) -> Reply:
    bill = answer.usage
    return Reply(
        method=answer.method,
        budget=answer.budget,
        epoch=answer.epoch,
        outcome=_result(answer),
        score=answer.score,
        text=answer.text,
        problem=answer.problem,
        winner=answer.winner,
        reward=answer.reward,
        samples=tuple(answer.samples),
        battles=tuple(answer.battles),
        calls=bill["calls"] if bill else None,
        input_tokens=bill["input_tokens"] if bill else None,
        output_tokens=bill["output_tokens"] if bill else None,
        seconds=bill["seconds"] if bill else None,
        dollars=bill["cost_usd"] if bill else None,
    )


def _result(answer: AnswerGiven) -> Result:
    if answer.outcome != "answered":
        return answer.outcome
    return "right" if answer.score == 1 else "wrong" if answer.score == 0 else "partly"


def _mean_score(answers: Sequence[AnswerGiven]) -> float:
    known = [answer.score for answer in answers if answer.score is not None]
    return sum(known) / len(known) if known else math.inf


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sorts `q2` before `q10`."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name))
