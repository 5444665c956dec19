"""Matrices of recorded correctness without texts, for fast studies of policies on thousands of questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from metascale.data import read_rows
from metascale.errors import ModelSetupError

Numbers = NDArray[np.float64]

MISSING = "?"
"""Marks a missing answer in a string of letters; every other letter except the gold one is wrong."""


@dataclass(frozen=True)
class CorrectnessMatrix:
    """Which recorded samples were right.

    Attributes:
        question_ids: the questions' ids.
        tasks: the kind of each question.
        strategies: the strategies.
        correct: shape (questions, strategies, samples): 1 right, 0 wrong or in between, NaN not recorded.
        characters: the lengths of the answers, of the same shape; NaN not recorded.
    """

    question_ids: Sequence[str]
    tasks: Sequence[str]
    strategies: Sequence[str]
    correct: Numbers
    characters: Numbers

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a JSONL file with `question_id`, `task`, and one of three: `correct`, for each strategy a list of 0
        and 1; `gold` and `answers`, for each strategy a string with one letter per sample; or `models`, for each model
        its `scores` in [0, 1] and, if known, its answers' lengths as `characters`.

        Raises:
            ModelSetupError: the file cannot be read, or a row has another format.
        """  # noqa: D205
        rows = read_rows(path, ("question_id", "task"))
        marks = [_marks(row, path) for row in rows]
        strategies = list(dict.fromkeys(name for row in marks for name in row))
        samples = max(len(found) for row in marks for found in row.values())
        correct, characters = np.full((2, len(rows), len(strategies), samples), math.nan)
        for question, row in enumerate(marks):
            for name, found in row.items():
                correct[question, strategies.index(name), : len(found)] = found
        for question, row in enumerate(rows):
            for name, lengths in _lengths(row).items():
                characters[question, strategies.index(name), : len(lengths)] = lengths
        ids, tasks = [row["question_id"] for row in rows], [row["task"] for row in rows]
        return cls(ids, tasks, strategies, correct, characters)

    def only(self, strategies: Sequence[str]) -> Self:
        """The matrix of some strategies.

        Raises:
            KeyError: one of them is not recorded.
        """
        unknown = [name for name in strategies if name not in self.strategies]
        if unknown:
            raise KeyError(f"no recorded strategy {unknown[0]!r}")
        chosen = [list(self.strategies).index(name) for name in strategies]
        correct, characters = self.correct[:, chosen], self.characters[:, chosen]
        return type(self)(self.question_ids, self.tasks, list(strategies), correct, characters)

    def accuracy(self) -> Numbers:
        """Share of right samples, shape (questions, strategies); NaN where nothing is recorded."""
        return mean_of_known(self.correct, axis=2)

    def uniform(self) -> float:
        """Accuracy of a random strategy for each question."""
        return float(np.nanmean(mean_of_known(self.accuracy(), axis=1)))

    def best_single(self) -> tuple[str, float]:
        """The strategy that is best over all questions, and its accuracy."""
        means = mean_of_known(self.accuracy(), axis=0)
        best = int(np.nanargmax(means))
        return self.strategies[best], float(means[best])

    def best_per_task(self, rng: np.random.Generator) -> float:
        """Accuracy of the best strategy of each task, cross-fitted: chosen on a random half, scored on the other."""
        accuracy = self.accuracy()
        scores = np.full(len(self.tasks), math.nan)
        for task in dict.fromkeys(self.tasks):
            members = rng.permutation(np.flatnonzero(np.array(self.tasks) == task))
            halves = np.array_split(members, 2)
            for chosen_on, scored_on in (halves, halves[::-1]):
                means = mean_of_known(accuracy[chosen_on], axis=0)
                scores[scored_on] = accuracy[scored_on, int(np.argmax(np.nan_to_num(means, nan=-1.0)))]
        return float(np.nanmean(scores))

    def best_per_question(self, rng: np.random.Generator | None = None) -> float:
        """Accuracy of the best strategy of each question: an upper bound for any choice of strategies.

        Without `rng` it is chosen and scored on the same samples, which overfits noise (with one sample per strategy:
        "any strategy right"). With `rng` it is chosen on a random half of the samples and scored on the other half.
        """
        if rng is None:
            return float(np.nanmean(np.nanmax(self.accuracy(), axis=1)))
        order = rng.permutation(self.correct.shape[2])
        halves = [self._samples(half).accuracy() for half in np.array_split(order, 2)]
        scores = []
        for chosen_on, scored_on in (halves, halves[::-1]):
            best = np.argmax(np.nan_to_num(chosen_on, nan=-1.0), axis=1)
            scores.append(np.nanmean(np.take_along_axis(scored_on, best[:, None], axis=1)))
        return float(np.mean(scores))

    def _samples(self, chosen: NDArray[Any]) -> Self:
        correct, characters = self.correct[:, :, chosen], self.characters[:, :, chosen]
        return type(self)(self.question_ids, self.tasks, self.strategies, correct, characters)


def mean_of_known(values: Numbers, axis: int) -> Numbers:
    """The mean of the recorded values along an axis; NaN if there are none."""
    counts = (~np.isnan(values)).sum(axis=axis)
    sums: Numbers = np.nansum(values, axis=axis)
    means: Numbers = np.divide(sums, counts, out=np.full(sums.shape, math.nan), where=counts > 0)
    return means


def _lengths(row: dict[str, Any]) -> dict[str, list[float]]:
    """The known lengths of the answers to one question by strategy, in characters."""
    models = row.get("models", {})
    return {name: list(found.get("characters", []))[: len(found["scores"])] for name, found in models.items()}


def _marks(row: dict[str, Any], path: Path) -> dict[str, list[float]]:
    """The marks of one question by strategy."""
    if "correct" in row:
        return {
            name: [math.nan if mark is None else float(mark) for mark in found]
            for name, found in row["correct"].items()
        }
    if "models" in row:
        return {
            name: [math.nan if mark is None else float(mark) for mark in found["scores"]]
            for name, found in row["models"].items()
        }
    if "answers" in row and "gold" in row:
        return {
            name: [math.nan if letter == MISSING else float(letter == row["gold"]) for letter in letters]
            for name, letters in row["answers"].items()
        }
    raise ModelSetupError(
        f"{path.name}: question {row['question_id']!r} has none of 'correct', 'models', and 'gold' with 'answers'"
    )
