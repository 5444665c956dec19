"""Whom the judge of several models favours: what it gives each of them for equally good answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metascale.evals.report.records import AnswerGiven, SampleRecord
from metascale.evals.report.tables.cells import SEED, Setting, base_of, by_setting, grouped, mean_or_none, rewards_of
from metascale.evals.report.tables.reliability import VOTED
from metascale.evals.statistics import Interval, mean_interval


@dataclass(frozen=True)
class Favour:
    """The rewards of one of several models.

    A judge that is one of the models and is above 0 in its own row prefers its own answers (self-preference,
    Panickssery et al. 2024, arXiv 2404.13076).

    Attributes:
        setting: the task and the models.
        model: that wrote the answers.
        right: mean reward of its right answers, in [0, 1]; None without any.
        wrong: mean reward of its wrong answers, in [0, 1]; None without any.
        questions: on which both it and another model gave right answers, or both gave wrong ones; at least 1.
        favour: what its rewards are above those of the other models' answers to the same question that are as right or
            as wrong, mean over these questions, in [-1, 1].
        interval: the 95 % interval of `favour`, a bootstrap over questions.
    """

    setting: Setting
    model: str
    right: float | None
    wrong: float | None
    questions: int
    favour: float
    interval: Interval


def favours(answers: Sequence[AnswerGiven]) -> list[Favour]:
    """For each task with several models, a row for each of them.

    Samples that share the verdicts on others are left out, and methods in `VOTED`.
    """
    return [row for setting, group in by_setting(answers) for row in _of_setting(setting, group)]


def _of_setting(setting: Setting, answers: Sequence[AnswerGiven]) -> list[Favour]:
    judged = [
        (answer.question_id, sample)
        for answer in answers
        if base_of(answer.method) not in VOTED
        for sample in answer.samples
        if sample.reward is not None and sample.right is not None and not sample.shared
    ]
    rows = []
    for model in sorted({sample.model for _, sample in judged}):
        own = [sample for _, sample in judged if sample.model == model]
        gains = [
            float(np.mean(apart))
            for on_question in grouped(judged, lambda one: one[0]).values()
            if (apart := _apart([sample for _, sample in on_question], model))
        ]
        if gains:
            rows.append(
                Favour(
                    setting=setting,
                    model=model,
                    right=mean_or_none(rewards_of(sample for sample in own if sample.right)),
                    wrong=mean_or_none(rewards_of(sample for sample in own if not sample.right)),
                    questions=len(gains),
                    favour=float(np.mean(gains)),
                    interval=mean_interval(gains, seed=SEED),
                )
            )
    return rows


def _apart(samples: Sequence[SampleRecord], model: str) -> list[float]:
    """The differences between a model's rewards and the others', among right answers and among wrong ones."""
    apart = []
    for is_right in (True, False):
        alike = [sample for sample in samples if sample.right is is_right]
        own = rewards_of(sample for sample in alike if sample.model == model)
        others = rewards_of(sample for sample in alike if sample.model != model)
        if own and others:
            apart.append(float(np.mean(own) - np.mean(others)))
    return apart
