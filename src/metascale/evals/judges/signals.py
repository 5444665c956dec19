"""Which signals tell right answers from wrong ones within a question, on recorded samples of a real model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metascale.evals.recordings import ASKED, OF_CERTAINTY, Indices, Numbers, Recordings, RecordingsError
from metascale.evals.statistics import Interval, mean_interval
from metascale.stats.reliability import auc

FOLDS = 8
"""Parts of the questions in cross-fitting."""
RIDGE = 0.01
"""Penalty on squared coefficients of the combination, per pair; signals have unit spread within a question."""
STEPS = 25
"""Newton steps of its fit; it converges in fewer than ten."""
COMBINED = "certainty, all combined"
COMBINED_WITH = "certainty and {}, combined"
FIRST_OF, MEAN_OF = "first of {} verdicts", "mean of {} verdicts"


@dataclass(frozen=True)
class Discrimination:
    """How often a right answer to a question has a higher value than a wrong one, ties counting half.

    Attributes:
        questions: questions with right and wrong answers.
        pairs: pairs of a right and a wrong answer that were compared.
        auc: the mean of the questions' areas under the curve, in [0, 1].
        interval: its 95 % bootstrap interval over questions.
    """

    questions: int
    pairs: int
    auc: float
    interval: Interval


@dataclass(frozen=True)
class Signal:
    """One signal.

    Attributes:
        name: of the signal.
        answers: how many have it.
        all_answers: among all answers to a question; one without a final answer is wrong.
        votes: among those that mark a final answer.
        same_arm: among those of one arm, so that no arm's manner helps or hurts; None without such pairs.
    """

    name: str
    answers: int
    all_answers: Discrimination | None
    votes: Discrimination | None
    same_arm: Discrimination | None


def measure_signals(recordings: Recordings, *, seed: int = 0) -> list[Signal]:
    """Measure every recorded signal, and combinations of them that are cross-fitted by question.

    Where several verdicts are recorded on some answers, their mean is measured too, and beside it the first of them on
    the same answers.

    A combination is linear in the signals, in units of their spread within a question. It is fitted to pairs of a right
    and a wrong answer (a conditional logistic model) of other questions than those it is measured on.

    Raises:
        RecordingsError: no signal is recorded.
    """
    if not recordings.signals:
        raise RecordingsError(f"{recordings.file}: no signal is recorded")
    found = {**recordings.signals, **_of_several(recordings.verdicts), **combinations(recordings, seed=seed)}
    return [_signal(recordings, name, values) for name, values in found.items()]


def _of_several(verdicts: Numbers) -> dict[str, Numbers]:
    """The first verdict and the mean of all, for the answers with the most verdicts; nothing if that is one."""
    most = int((~np.isnan(verdicts)).sum(axis=1).max(initial=0))
    if most <= 1:
        return {}
    mean = verdicts[:, :most].mean(axis=1)
    first = np.where(np.isnan(mean), np.nan, verdicts[:, 0])
    return {FIRST_OF.format(most): first, MEAN_OF.format(most): mean}


def combinations(recordings: Recordings, *, seed: int = 0) -> dict[str, Numbers]:
    """The combinations by name: of all summaries of certainty, and of these with each signal that is asked for."""
    certainty = [name for name in OF_CERTAINTY.values() if name in recordings.signals]
    if not certainty:
        return {}
    asked = [name for name in ASKED if name in recordings.signals]
    sets = {COMBINED: certainty, **{COMBINED_WITH.format(name): [*certainty, name] for name in asked}}
    return {name: combined(recordings, signals, seed=seed) for name, signals in sets.items()}


def combined(recordings: Recordings, names: Sequence[str], *, seed: int = 0) -> Numbers:
    """The combination of some signals for each sample, cross-fitted by question; NaN where one is not recorded."""
    raw = np.column_stack([recordings.signals[name] for name in names])
    known = ~np.isnan(raw).any(axis=1)
    values = np.full_like(raw, np.nan)
    questions = np.unique(recordings.question[known])
    for question in questions:
        own = known & (recordings.question == question)
        values[own] = raw[own] - raw[own].mean(axis=0)
    if not len(questions):
        return values[:, 0]
    spread = np.nanstd(values, axis=0)
    values /= np.where(spread > 0, spread, 1.0)
    scores = np.full(len(raw), np.nan)
    order = np.random.default_rng(seed).permutation(questions)
    for fold in np.array_split(order, min(FOLDS, len(order))):
        training = known & ~np.isin(recordings.question, fold)
        held_out = known & np.isin(recordings.question, fold)
        scores[held_out] = values[held_out] @ _fitted(_differences(recordings, values, training))
    return scores


def _differences(recordings: Recordings, values: Numbers, among: NDArray[np.bool_]) -> Numbers:
    """Right minus wrong for each pair of answers to one question that mark a final answer, shape (pairs, signals)."""
    found = [np.zeros((0, values.shape[1]))]
    voting = among & (recordings.answer >= 0)
    for question in np.unique(recordings.question[voting]):
        own = voting & (recordings.question == question)
        right, wrong = values[own & recordings.right], values[own & ~recordings.right]
        found.append((right[:, None] - wrong[None]).reshape(-1, values.shape[1]))
    return np.concatenate(found)


def _fitted(differences: Numbers) -> Numbers:
    """Coefficients of a logistic model without intercept that says which of a pair is right."""
    beta = np.zeros(differences.shape[1])
    if not len(differences):
        return beta
    for _ in range(STEPS):
        wrong = 1 / (1 + np.exp(np.clip(differences @ beta, -30, 30)))
        gradient = differences.T @ wrong / len(differences) - RIDGE * beta
        curvature = (differences * (wrong * (1 - wrong))[:, None]).T @ differences / len(differences)
        beta = beta + np.linalg.solve(curvature + RIDGE * np.eye(len(beta)), gradient)
    return beta


def _signal(recordings: Recordings, name: str, values: Numbers) -> Signal:
    known = ~np.isnan(values)
    voting = known & (recordings.answer >= 0)
    within_arms = recordings.question * len(recordings.arms) + recordings.arm
    return Signal(
        name,
        int(known.sum()),
        _discrimination(recordings, values, known, recordings.question),
        _discrimination(recordings, values, voting, recordings.question),
        _discrimination(recordings, values, voting, within_arms),
    )


def _discrimination(
    recordings: Recordings, values: Numbers, among: NDArray[np.bool_], groups: Indices
) -> Discrimination | None:
    """The mean over questions of the mean AUC of each question's groups."""
    by_question: dict[int, list[float]] = {}
    pairs = 0
    for group in np.unique(groups[among]):
        own = among & (groups == group)
        area = auc(values[own].tolist(), recordings.right[own].tolist())
        pairs += int(recordings.right[own].sum()) * int((~recordings.right[own]).sum())
        if area is not None:
            by_question.setdefault(int(recordings.question[own][0]), []).append(area)
    if not by_question:
        return None
    areas = [sum(found) / len(found) for found in by_question.values()]
    return Discrimination(len(areas), pairs, sum(areas) / len(areas), mean_interval(areas, seed=0))
