"""One budget over many recorded questions: shared out, or the same for everybody, or stopped question by question.

The answers of a question are drawn in random order without replacement. The most frequent one is given; those that tie
share the win. Nothing here is fitted, and no rule sees the gold answers.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from metascale.budget.shared import OPENING, expected_gain
from metascale.budget.stopping import agreement
from metascale.data import read_rows
from metascale.errors import MetaScaleError
from metascale.evals.policies.matrix import MISSING
from metascale.evals.recordings import is_recordings, read_recordings
from metascale.evals.statistics import Interval, mean_interval

UNREAD = "-"
"""Marks an answer without a final answer in a string of letters."""
THRESHOLDS = (0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
"""Probabilities of `budget.stopping.agreement` at which a question stops: the curve of that rule."""


class SharingError(MetaScaleError, ValueError):
    """Recorded answers are too few, or a number of samples is out of range."""


@dataclass(frozen=True)
class Question:
    """The recorded final answers of one question, None where a sample marks none, and the gold answer."""

    answers: Sequence[Hashable | None]
    gold: Hashable


@dataclass(frozen=True)
class Point:
    """One point of a curve.

    Attributes:
        rule: `shared`, `uniform` or `one by one`.
        samples: mean samples of a question.
        right: share of right answers, over all questions and orders.
        interval: its 95 % bootstrap interval over questions.
        difference: to `uniform` with as many samples as the reference has.
        difference_interval: the same of the difference, which is paired: both rules see the same orders.
    """

    rule: str
    samples: float
    right: float
    interval: Interval
    difference: float
    difference_interval: Interval


@dataclass(frozen=True)
class Shared:
    """The curves of all rules.

    Attributes:
        questions: how many questions have enough answers.
        left_out: how many have not.
        reference: samples of every question, with which all points are compared.
        repeats: random orders.
        points: rule by rule.
    """

    questions: int
    left_out: int
    reference: int
    repeats: int
    points: Sequence[Point]


def compare_sharing(path: Path, *, reference: int = 16, repeats: int = 20, seed: int = 0) -> Shared:
    """Compare the rules on recorded answers.

    Args:
        path: rows with `question_id`, `gold` and `answers` (a list, a string of letters, or one of these for each arm,
            which are pooled); or recorded samples as `metascale.evals.recordings` has them.
        reference: samples of every question in the comparison, at least 3.
        repeats: random orders, at least 1.
        seed: of the orders.

    Raises:
        ModelSetupError: the file cannot be read.
        SharingError: a number is out of range, or no question has `reference` answers.
    """
    if reference <= OPENING or repeats < 1:
        raise SharingError(f"at least {OPENING + 1} samples and one order are needed")
    everything = read_answers(path)
    questions = [one for one in everything if len(one.answers) >= reference]
    if not questions:
        raise SharingError(f"no question has {reference} recorded answers")
    generator = np.random.default_rng(seed)
    means = sorted({reference / 4, reference / 3, reference / 2, reference * 3 / 4, float(reference)})
    means = [mean for mean in means if mean >= OPENING]
    found: dict[tuple[str, float], list[list[float]]] = {}
    used: dict[tuple[str, float], list[float]] = {}
    for _ in range(repeats):
        orders = [[one.answers[i] for i in generator.permutation(len(one.answers))] for one in questions]
        golds = [one.gold for one in questions]
        for rule, key, counts in _allocations(orders, means, reference):
            scores = [_right(order[:n], gold) for order, gold, n in zip(orders, golds, counts, strict=True)]
            found.setdefault((rule, key), []).append(scores)
            used.setdefault((rule, key), []).append(float(np.mean(counts)))
    base = np.mean(found["uniform", float(reference)], axis=0)
    points = []
    for (rule, key), rows in found.items():
        right = np.mean(rows, axis=0)
        points.append(
            Point(
                rule=rule,
                samples=float(np.mean(used[rule, key])),
                right=float(right.mean()),
                interval=mean_interval(right, seed=seed),
                difference=float((right - base).mean()),
                difference_interval=mean_interval(right - base, seed=seed),
            )
        )
    points.sort(key=lambda point: (("shared", "uniform", "one by one").index(point.rule), point.samples))
    return Shared(len(questions), len(everything) - len(questions), reference, repeats, points)


def read_answers(path: Path) -> list[Question]:
    """The recorded answers of each question; arms are pooled.

    Raises:
        ModelSetupError: the file cannot be read, or a row lacks a key.
        SharingError: the answers of a row have another form.
    """
    if is_recordings(path):
        recordings = read_recordings(path)
        found = []
        for number in range(len(recordings.questions)):
            mine = recordings.question == number
            answers = [None if code < 0 else int(code) for code in recordings.answer[mine]]
            right = next((a for a, is_right in zip(answers, recordings.right[mine], strict=True) if is_right), -1)
            found.append(Question(answers, right))
        return found
    return [
        Question(list(_answers(row["answers"])), _plain(row["gold"]))
        for row in read_rows(path, ("question_id", "gold", "answers"))
    ]


def _answers(given: Any) -> Iterator[str | None]:
    if isinstance(given, dict):
        for answers in given.values():
            yield from _answers(answers)
    elif isinstance(given, list | str):
        for answer in given:
            if answer != MISSING:
                yield None if answer is None or answer == UNREAD else _plain(answer)
    else:
        raise SharingError(f"answers are a list or a string of letters, not {given!r:.40}")


def _plain(answer: Any) -> str:
    """A final answer without marks of emphasis, stops and space around it, in one case."""
    return str(answer).strip(" \t\n*.`$").casefold()


def _allocations(
    orders: Sequence[Sequence[Hashable | None]], means: Sequence[float], reference: int
) -> Iterator[tuple[str, float, Sequence[int]]]:
    """The samples of every question, by each rule and at each point of its curve."""
    for mean in means:
        ends = [int(mean * (place + 1)) for place in range(len(orders))]
        yield "uniform", mean, [end - start for start, end in pairwise([0, *ends])]
    totals = [round(mean * len(orders)) for mean in means]
    for mean, counts in zip(means, shared_out(orders, totals), strict=True):
        yield "shared", mean, counts
    for threshold in THRESHOLDS:
        yield "one by one", threshold, [_stopped(order, threshold, reference) for order in orders]


def shared_out(orders: Sequence[Sequence[Hashable | None]], totals: Sequence[int]) -> Iterator[list[int]]:
    """The samples of every question when a total is shared out, for rising totals."""
    counts = [min(OPENING, len(order)) for order in orders]
    spent = sum(counts)
    waiting = [(-expected_gain(order[:n]), place) for place, (order, n) in enumerate(zip(orders, counts, strict=True))]
    heapq.heapify(waiting)
    for total in totals:
        while spent < total and waiting:
            _, place = heapq.heappop(waiting)
            if counts[place] == len(orders[place]):
                continue
            counts[place] += 1
            spent += 1
            heapq.heappush(waiting, (-expected_gain(orders[place][: counts[place]]), place))
        yield list(counts)


def _stopped(order: Sequence[Hashable | None], threshold: float, most: int) -> int:
    for n in range(OPENING + 1, most):
        if agreement([str(answer) for answer in order[:n] if answer is not None]) >= threshold:
            return n
    return min(most, len(order))


def _right(answers: Sequence[Hashable | None], gold: Hashable) -> float:
    votes = Counter(answer for answer in answers if answer is not None)
    best = [answer for answer, count in votes.items() if count == max(votes.values())]
    return (gold in best) / len(best) if best else 0.0
