"""How well runs foretell their outcomes, and what that saves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from metascale.evals.report.records import AnswerGiven
from metascale.evals.report.tables.cells import SEED, Setting, cells_of, grouped, question_means
from metascale.evals.statistics import Interval, paired_bootstrap, wilson
from metascale.stats.reliability import CalibrationBin, expected_calibration


@dataclass(frozen=True)
class Foretold:
    """How well predicted pass rates match outcomes, over one method's questions with predictions and gold answers.

    Attributes:
        setting: the task and the model.
        method: such as `metascale (foresee=True)`.
        budget: the largest of that method.
        questions: number of runs with predictions, at least 1.
        error: expected calibration error of the predicted pass rates, in [0, 1].
        bins: of the predicted pass rate; `accuracy` is the mean share of right samples.
        intervals: Wilson's 95 % intervals of those shares; conservative, because a share varies less than a coin.
        accuracy: the means of the three meta-rewards (`difficulty`, `length`, `notions`) against gold answers.
    """

    setting: Setting
    method: str
    budget: int
    questions: int
    error: float
    bins: tuple[CalibrationBin, ...]
    intervals: tuple[Interval, ...]
    accuracy: Mapping[str, float]


@dataclass(frozen=True)
class Savings:
    """A method with foresight against the same method without, over their common questions.

    Attributes:
        setting: the task and the model.
        method: such as `metascale (foresee=True)`.
        full: the same without foresight, such as `metascale`.
        budget: of both.
        questions: how many common questions there are.
        easy: share of the runs that predicted success, in [0, 1].
        hopeless: share of the runs that predicted failure, in [0, 1].
        samples: mean number of samples saved per question; negative if there were more.
        samples_interval: its 95 % interval, a bootstrap over questions, like the other intervals.
        calls: mean number of model requests saved per question, after those of the predictions.
        calls_interval: its interval.
        share: share of the full budget's requests that were saved, at most 1.
        lost: the score with the full budget minus that with foresight, in [-1, 1].
        lost_interval: its interval.
    """

    setting: Setting
    method: str
    full: str
    budget: int
    questions: int
    easy: float
    hopeless: float
    samples: float
    samples_interval: Interval
    calls: float
    calls_interval: Interval
    share: float
    lost: float
    lost_interval: Interval


def foretold(answers: Sequence[AnswerGiven]) -> list[Foretold]:
    """For each method with foresight, at its largest budget: predicted pass rates against the right samples' share."""
    found = []
    cells = cells_of([answer for answer in answers if answer.foreseen is not None])
    for (setting, method, budget), cell in (list(same)[-1] for _, same in groupby(cells, key=lambda item: item[0][:2])):
        known = [(one.foreseen.pass_rate, one.foreseen.accuracy) for one in cell if one.foreseen]
        pairs = [(predicted, accuracy) for predicted, accuracy in known if accuracy is not None]
        if pairs:
            predicted, shares = [rate for rate, _ in pairs], [accuracy["pass_rate"] for _, accuracy in pairs]
            error, bins = expected_calibration(predicted, shares)
            found.append(
                Foretold(
                    setting,
                    method,
                    budget,
                    len(pairs),
                    error,
                    tuple(bins),
                    tuple(wilson(one.accuracy * one.count, one.count) for one in bins),
                    {
                        "difficulty": float(np.mean([accuracy["difficulty"] for _, accuracy in pairs])),
                        "length": float(np.mean([accuracy["length"] for _, accuracy in pairs])),
                        "notions": float(np.mean([accuracy["notions"] for _, accuracy in pairs])),
                    },
                )
            )
    return found


def savings(answers: Sequence[AnswerGiven]) -> list[Savings]:
    """What foresight saved and lost, for each method and budget that the logs also hold without foresight."""
    answered = [answer for answer in answers if answer.outcome == "answered"]
    cells = {(setting, method, budget): cell for (setting, method, budget), cell in cells_of(answered)}
    found = []
    for (setting, method, budget), cell in cells.items():
        full = cell[0].full_budget
        other = cells.get((setting, full, budget)) if full is not None else None
        if full is None or other is None or not any(answer.foreseen for answer in cell):
            continue
        ours, theirs = question_means(cell), question_means(other)
        common = [question for question in ours if question in theirs]
        billed = [_question_bills(one) for one in (cell, other)]
        paid = [question for question in common if all(question in bills for bills in billed)]
        if not paid:
            continue
        samples, calls = (
            [[bills[question][place] for question in paid] for bills in (billed[1], billed[0])] for place in (0, 1)
        )
        scores = [[means[question] for question in common] for means in (theirs, ours)]
        outlooks = [answer.foreseen.outlook for answer in cell if answer.foreseen]
        found.append(
            Savings(
                setting=setting,
                method=method,
                full=full,
                budget=budget,
                questions=len(common),
                easy=outlooks.count("easy") / len(cell),
                hopeless=outlooks.count("hopeless") / len(cell),
                samples=_fewer(samples),
                samples_interval=paired_bootstrap(*samples, seed=SEED),
                calls=_fewer(calls),
                calls_interval=paired_bootstrap(*calls, seed=SEED),
                share=_fewer(calls) / float(np.mean(calls[0])),
                lost=_fewer(scores),
                lost_interval=paired_bootstrap(*scores, seed=SEED),
            )
        )
    return found


def _fewer(pair: Sequence[Sequence[float]]) -> float:
    return float(np.mean(pair[0]) - np.mean(pair[1]))


def _question_bills(answers: Iterable[AnswerGiven]) -> dict[str, tuple[float, float]]:
    """Mean samples and calls of each question, over the runs with usage."""
    by_question = grouped((answer for answer in answers if answer.usage), lambda answer: answer.question_id)
    bills = {question: [run.usage for run in runs if run.usage] for question, runs in by_question.items()}
    return {
        question: (float(np.mean([one["samples"] for one in known])), float(np.mean([one["calls"] for one in known])))
        for question, known in bills.items()
    }
