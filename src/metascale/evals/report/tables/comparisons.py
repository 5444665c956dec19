"""METASCALE against the other methods at equal cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metascale.evals.report.records import AnswerGiven
from metascale.evals.report.tables.cells import OURS, SEED, Setting, cells_of, grouped, question_means
from metascale.evals.report.tables.rows import Row, summary
from metascale.evals.statistics import Interval, is_tie, mcnemar, paired_bootstrap

NEAR = 0.15
"""Largest difference of equal costs, as a share of METASCALE's cost."""


@dataclass(frozen=True)
class MethodComparison:
    """METASCALE against another method at equal cost, over their common questions.

    Attributes:
        setting: the task and the model.
        basis: what is equal: the samples, or all model requests.
        budget: METASCALE's.
        rival: the other method.
        rival_budget: the other method's.
        questions: how many common questions there are.
        score: METASCALE's mean over them, in [0, 1].
        rival_score: the other's.
        difference: METASCALE's minus the other's, in [-1, 1].
        interval: its 95 % interval, a bootstrap over questions.
        p: of McNemar's exact test; None unless both have scores of 0 and 1 and one epoch.
        calls: METASCALE's mean number of model requests.
        rival_calls: the other's.
        verdict: of METASCALE; a tie where the interval holds 0.
    """

    setting: Setting
    basis: Literal["samples", "calls"]
    budget: int
    rival: str
    rival_budget: int
    questions: int
    score: float
    rival_score: float
    difference: float
    interval: Interval
    p: float | None
    calls: float | None
    rival_calls: float | None
    verdict: Literal["better", "worse", "tie"]


def comparisons(answers: Sequence[AnswerGiven]) -> list[MethodComparison]:
    """METASCALE, at each of its budgets, against every other method at equal cost, paired by question.

    At equal samples: the other method has the same budget and drew as many samples within 15 %, which excludes methods
    with one sample. At equal calls: the other's budget with the mean calls closest to METASCALE's, if within 15 %.
    Pairs without a common question are left out.
    """
    cells = {(setting, method, budget): cell for (setting, method, budget), cell in cells_of(answers)}
    rows = summary(answers)
    found = []
    for ours in (row for row in rows if row.method == OURS):
        rivals = [row for row in rows if row.setting == ours.setting and row.method != OURS]
        pairs: list[tuple[Literal["samples", "calls"], Row]] = [
            ("samples", rival) for rival in rivals if rival.budget == ours.budget and _near(ours.samples, rival.samples)
        ]
        for same in grouped(rivals, lambda row: row.method).values():
            near = [rival for rival in same if _near(ours.calls, rival.calls)]
            if near:
                pairs.append(("calls", min(near, key=lambda rival: (_distance(ours.calls, rival.calls), rival.budget))))
        for basis, rival in pairs:
            both = (cells[row.setting, row.method, row.budget] for row in (ours, rival))
            found += _comparison(basis, ours, rival, *both)
    return found


def _comparison(
    basis: Literal["samples", "calls"],
    ours: Row,
    rival: Row,
    our_answers: Sequence[AnswerGiven],
    rival_answers: Sequence[AnswerGiven],
) -> list[MethodComparison]:
    """One comparison, or none without a common question."""
    our_means, rival_means = question_means(our_answers), question_means(rival_answers)
    common = [question for question in our_means if question in rival_means]
    if not common:
        return []
    first, second = [our_means[question] for question in common], [rival_means[question] for question in common]
    difference = float(np.mean(first) - np.mean(second))
    interval = paired_bootstrap(first, second, seed=SEED)
    p = mcnemar([s == 1 for s in first], [s == 1 for s in second]) if ours.proportion and rival.proportion else None
    decided: Literal["better", "worse"] = "better" if difference > 0 else "worse"
    return [
        MethodComparison(
            setting=ours.setting,
            basis=basis,
            budget=ours.budget,
            rival=rival.method,
            rival_budget=rival.budget,
            questions=len(common),
            score=float(np.mean(first)),
            rival_score=float(np.mean(second)),
            difference=difference,
            interval=interval,
            p=p,
            calls=ours.calls,
            rival_calls=rival.calls,
            verdict="tie" if is_tie(interval) else decided,
        )
    ]


def _distance(ours: float | None, other: float | None) -> float:
    return abs(ours - other) if ours is not None and other is not None else np.inf


def _near(ours: float | None, other: float | None) -> bool:
    return ours is not None and _distance(ours, other) <= NEAR * ours
