"""METASCALE against the other methods at equal cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metascale.evals.report.labels import concerns
from metascale.evals.report.records import AnswerGiven
from metascale.evals.report.tables.cells import (
    SEED,
    Setting,
    base_of,
    cells_of,
    grouped,
    is_ours,
    is_proportion,
    question_means,
)
from metascale.evals.report.tables.rows import Row, summary
from metascale.evals.statistics import Interval, paired_difference

NEAR = 0.15
"""Largest difference of equal costs, as a share of METASCALE's cost."""
MOST_MISSING = 0.05
"""Largest share of a method's planned runs without a scored answer with which it still gets a verdict. Not tuned."""

Basis = Literal["samples", "calls"]
Verdict = Literal["better", "worse", "tie", "too many missing"]


@dataclass(frozen=True)
class MethodComparison:
    """METASCALE against another method at equal cost, over the questions that both answered.

    Attributes:
        setting: the task and the model.
        basis: what is equal: the samples, or all model requests.
        method: METASCALE, such as `metascale (evolution=off)`.
        budget: METASCALE's.
        rival: the other method.
        rival_budget: the other method's.
        questions: how many questions both answered, at least 1.
        differing: on how many of them their scores differ.
        failed: failed runs of both, over all questions.
        unanswered: runs of both that have not ended, over all questions.
        score: METASCALE's mean over the common questions, in [0, 1].
        rival_score: the other's.
        difference: METASCALE's minus the other's, in [-1, 1].
        interval: its 95 % interval, a bootstrap over questions.
        p: of McNemar's exact test; None unless both have scores of 0 and 1 and one answer to each question.
        calls: METASCALE's mean number of model requests.
        rival_calls: the other's.
        verdict: of METASCALE; a tie unless the scores decide (`metascale.evals.statistics.PairedDifference`). `too many
            missing` where a larger share of the runs of either method failed or has not ended than is allowed.
    """

    setting: Setting
    basis: Basis
    method: str
    budget: int
    rival: str
    rival_budget: int
    questions: int
    differing: int
    failed: int
    unanswered: int
    score: float
    rival_score: float
    difference: float
    interval: Interval
    p: float | None
    calls: float | None
    rival_calls: float | None
    verdict: Verdict


def comparisons(answers: Sequence[AnswerGiven], *, most_missing: float = MOST_MISSING) -> list[MethodComparison]:
    """METASCALE, at each of its budgets, against every other method at equal cost, paired by question.

    At equal samples: the other method has the same budget and drew as many samples within 15 %, which excludes methods
    with one sample. At equal calls: the other's budget with the mean calls closest to METASCALE's, if within 15 %.
    Pairs without a common question are left out.

    Methods with several settings are compared with the settings most like METASCALE's. If METASCALE itself has several,
    the one with the fewest changes is compared with its other variants, too.

    Args:
        answers: of any tasks, models, methods and budgets.
        most_missing: the largest share, in [0, 1], of a method's runs without a scored answer for a verdict.
    """
    cells = {(setting, method, budget): cell for (setting, method, budget), cell in cells_of(answers)}
    found = []
    for rows in grouped(summary(answers), lambda row: row.setting).values():
        for ours in (row for row in rows if is_ours(row.method)):
            for basis, rival in _pairs(ours, _partners(ours, rows)):
                both = (cells[row.setting, row.method, row.budget] for row in (ours, rival))
                found += _comparison(basis, ours, rival, *both, most_missing=most_missing)
    return found


def _partners(ours: Row, rows: Sequence[Row]) -> list[Row]:
    """The rows to compare METASCALE's with: of each other method those with the settings most like METASCALE's."""
    plainest = min((row for row in rows if is_ours(row.method)), key=lambda row: (len(row.changes), row.method))
    others = grouped((row for row in rows if not is_ours(row.method)), lambda row: base_of(row.method))
    partners: list[Row] = []
    for base, of_base in others.items():
        least = min(_unlike(ours.changes, row.changes, base) for row in of_base)
        partners += [row for row in of_base if _unlike(ours.changes, row.changes, base) == least]
    variants = [row for row in rows if is_ours(row.method) and row.method != ours.method]
    return partners + (variants if ours.method == plainest.method else [])


def _unlike(ours: Mapping[str, str], others: Mapping[str, str], method: str) -> int:
    """How many settings that concern a method differ."""
    return sum(ours.get(name) != others.get(name) for name in {*ours, *others} if concerns(name, method))


def _pairs(ours: Row, rivals: Sequence[Row]) -> list[tuple[Basis, Row]]:
    pairs: list[tuple[Basis, Row]] = [
        ("samples", rival) for rival in rivals if rival.budget == ours.budget and _near(ours.samples, rival.samples)
    ]
    for same in grouped(rivals, lambda row: row.method).values():
        near = [rival for rival in same if _near(ours.calls, rival.calls)]
        if near:
            pairs.append(("calls", min(near, key=lambda rival: (_distance(ours.calls, rival.calls), rival.budget))))
    return pairs


def _distance(ours: float | None, other: float | None) -> float:
    return abs(ours - other) if ours is not None and other is not None else np.inf


def _near(ours: float | None, other: float | None) -> bool:
    return ours is not None and _distance(ours, other) <= NEAR * ours


def _comparison(
    basis: Basis,
    ours: Row,
    rival: Row,
    our_answers: Sequence[AnswerGiven],
    rival_answers: Sequence[AnswerGiven],
    *,
    most_missing: float,
) -> list[MethodComparison]:
    """One comparison, or none without a common question."""
    our_means, rival_means = question_means(our_answers), question_means(rival_answers)
    common = [question for question in our_means if question in rival_means]
    if not common:
        return []
    first, second = [our_means[question] for question in common], [rival_means[question] for question in common]
    paired = [[one for one in answers if one.question_id in common] for answers in (our_answers, rival_answers)]
    difference = paired_difference(first, second, seed=SEED, is_binary=all(map(is_proportion, paired)))
    verdict: Verdict = "tie"
    if any(_missing(row) > most_missing for row in (ours, rival)):
        verdict = "too many missing"
    elif difference.is_decided:
        verdict = "better" if difference.mean > 0 else "worse"
    return [
        MethodComparison(
            setting=ours.setting,
            basis=basis,
            method=ours.method,
            budget=ours.budget,
            rival=rival.method,
            rival_budget=rival.budget,
            questions=len(common),
            differing=difference.differing,
            failed=ours.failed + rival.failed,
            unanswered=ours.unanswered + rival.unanswered,
            score=float(np.mean(first)),
            rival_score=float(np.mean(second)),
            difference=difference.mean,
            interval=difference.interval,
            p=difference.p,
            calls=ours.calls,
            rival_calls=rival.calls,
            verdict=verdict,
        )
    ]


def _missing(row: Row) -> float:
    """The share of a row's planned runs without a scored answer."""
    missing = row.failed + row.unanswered
    return missing / (row.answered + missing)
