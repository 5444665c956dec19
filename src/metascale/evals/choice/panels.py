"""Weights of several recorded judges: equal, by their agreement, and by labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metascale.evals.choice.rows import Numbers, Question
from metascale.stats.dawid_skene import judge_weights

FOLDS = 10
RIDGE, STEPS = 1.0, 200
EQUAL, AGREED, LABELLED = "equal weights", "weights by agreement", "weights by labels, cross-fitted"


def panels_of(questions: Sequence[Question], *, seed: int) -> dict[str, list[Numbers]]:
    """For each way of weighing, the judges' weights for each question; empty unless there are several judges.

    Weights by agreement see all verdicts, but no label. Weights by labels are fitted to other questions.
    """
    judges = list(dict.fromkeys(name for question in questions for name in question.verdicts))
    if len(judges) < 2:
        return {}
    tables = [_table(question, judges) for question in questions]
    agreed = judge_weights(np.concatenate(tables))
    labelled = [np.ones(len(judges))] * len(questions)
    for fold in np.array_split(np.random.default_rng(seed).permutation(len(questions)), min(FOLDS, len(questions))):
        others = np.setdiff1d(np.arange(len(questions)), fold)
        weights = _by_labels([tables[i] for i in others], [questions[i].quality for i in others])
        for index in fold:
            labelled[index] = weights
    return {EQUAL: [np.ones(len(judges))] * len(questions), AGREED: [agreed] * len(questions), LABELLED: labelled}


def _table(question: Question, judges: Sequence[str]) -> Numbers:
    """The first score of each judge, shape (answers, judges); NaN where there is none."""
    none: list[list[float]] = [[]] * len(question.finals)
    columns = [question.verdicts.get(name, none) for name in judges]
    return np.array([[said[index][0] if said[index] else np.nan for said in columns] for index in range(len(none))])


def _by_labels(tables: Sequence[Numbers], qualities: Sequence[Numbers]) -> Numbers:
    """Weights, at least 0, of a ridge regression of quality on scores, both centred by question."""
    centred, wanted = [], []
    for table, quality in zip(tables, qualities, strict=True):
        known = np.where(np.isnan(table), np.nanmean(table) if not np.isnan(table).all() else 0.0, table)
        centred.append(known - known.mean(axis=0))
        wanted.append(quality - quality.mean())
    scores, quality = np.concatenate(centred), np.concatenate(wanted)
    grams = scores.T @ scores + RIDGE * np.eye(scores.shape[1])
    weights: Numbers = np.full(scores.shape[1], 1.0)
    target = scores.T @ quality
    for _ in range(STEPS):
        for judge in range(len(weights)):
            rest = target[judge] - grams[judge] @ weights + grams[judge, judge] * weights[judge]
            weights[judge] = max(0.0, rest / grams[judge, judge])
    return weights / weights.mean() if weights.any() else np.ones(len(weights))
