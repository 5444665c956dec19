"""Answers that belong together: of one task and model, of one method and budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar

import numpy as np

from metascale.evals.report.labels import labelled
from metascale.evals.report.records import AnswerGiven, SampleRecord

OURS = "metascale"
"""The method to compare the others with."""


SEED = 0
"""Seed of every bootstrap: the same logs make the same report."""


Key = TypeVar("Key", bound=Hashable)


Item = TypeVar("Item")


class Setting(NamedTuple):
    """Answers of different settings are never mixed. Sorts real models before simulated ones.

    Attributes:
        simulated: whether the offline model answered or judged.
        model: the model's name, with the conditions in brackets that hold for all methods.
        task: such as `gsm8k`.
    """

    simulated: bool
    model: str
    task: str


def setting_of(answer: AnswerGiven) -> Setting:
    """The task and the model of an answer, with its conditions."""
    return Setting(answer.simulated, labelled(answer.model, answer.conditions), answer.task)


def base_of(method: str) -> str:
    """A method's name without its settings."""
    return method.partition(" (")[0]


def is_ours(method: str) -> bool:
    """Whether a method is METASCALE, with any settings."""
    return base_of(method) == OURS


def method_order(method: str) -> tuple[bool, str]:
    """Sorts methods by name, METASCALE last."""
    return is_ours(method), method


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """The items by key, in order of appearance."""
    groups: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def by_setting(answers: Sequence[AnswerGiven]) -> list[tuple[Setting, list[AnswerGiven]]]:
    """The answers of each setting, in order of the settings."""
    return sorted(grouped(answers, setting_of).items(), key=lambda item: item[0])


def cells_of(answers: Sequence[AnswerGiven]) -> list[tuple[tuple[Setting, str, int], list[AnswerGiven]]]:
    """The answers of each setting, method and budget, in that order, METASCALE after the others."""
    cells = grouped(answers, lambda answer: (setting_of(answer), answer.method, answer.budget))
    return sorted(cells.items(), key=lambda item: (item[0][0], method_order(item[0][1]), item[0][2]))


def choosing(answers: Sequence[AnswerGiven]) -> list[tuple[tuple[Setting, str, int], list[AnswerGiven]]]:
    """The cells of largest budget, with their runs that had more than one arm."""
    chosen = cells_of([answer for answer in answers if len(answer.pool) > 1 and answer.samples])
    return [list(same)[-1] for _, same in groupby(chosen, key=lambda item: item[0][:2])]


def question_means(answers: Iterable[AnswerGiven]) -> dict[str, float]:
    """The mean score of each answered question over its answered epochs."""
    scores = [(answer.question_id, answer.score) for answer in answers if answer.score is not None]
    by_question = grouped(scores, lambda item: item[0])
    return {question: float(np.mean([score for _, score in runs])) for question, runs in by_question.items()}


def is_proportion(answers: Sequence[AnswerGiven]) -> bool:
    """Whether every score is 0 or 1 and every question was answered at most once."""
    answered = [answer for answer in answers if answer.score is not None]
    once = len({answer.question_id for answer in answered}) == len(answered)
    return once and all(answer.score in {0.0, 1.0} for answer in answered)


def mean_or_none(values: Sequence[float]) -> float | None:
    """The mean; None without values."""
    return float(np.mean(values)) if values else None


def rewards_of(samples: Iterable[SampleRecord]) -> tuple[float, ...]:
    """The rewards of the samples that have one."""
    return tuple(sample.reward for sample in samples if sample.reward is not None)
