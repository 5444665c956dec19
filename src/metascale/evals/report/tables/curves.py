"""The course of regret and of expected progress over runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metascale.bandits import Arm
from metascale.budget.progress import expected_by_round, shortfalls
from metascale.evals.report.records import AnswerGiven, SampleRecord
from metascale.evals.report.tables.cells import SEED, Setting, choosing, grouped, rewards_of
from metascale.evals.statistics import Interval, mean_interval

CURVE_RESAMPLES = 500
"""Resamples for each point of a curve: enough for a band, and a curve has many points."""


@dataclass(frozen=True)
class Curve:
    """The mean course of a quantity over the runs of one method at its largest budget.

    Attributes:
        setting: the task and the model.
        method: such as `metascale`.
        budget: the sampling budget that was set.
        at: the steps: samples so far, or rounds so far.
        runs: number of runs with a value, for each step.
        mean: for each step, the mean over those runs, in units of reward.
        intervals: its 95 % intervals, bootstraps over runs.
    """

    setting: Setting
    method: str
    budget: int
    at: tuple[int, ...]
    runs: tuple[int, ...]
    mean: tuple[float, ...]
    intervals: tuple[Interval, ...]


def cumulative_regret(samples: Sequence[SampleRecord]) -> NDArray[np.float64]:
    """The regret of one run up to each of its samples, in hindsight, shape (len(samples),).

    A sample adds the best mean reward of any arm of the run minus that of the arm it was drawn from, both over the
    whole run; see `metascale.budget.progress.shortfalls`.
    """
    drawn = grouped(samples, lambda sample: sample.meta_thought)
    arms = [Arm(len(of_arm), rewards_of(of_arm)) for of_arm in drawn.values()]
    lost = dict(zip(drawn, shortfalls(arms), strict=True))
    return np.cumsum([lost[sample.meta_thought] for sample in samples], dtype=np.float64)


def regret(answers: Sequence[AnswerGiven]) -> list[Curve]:
    """The mean cumulative regret, sample by sample, of each method that chooses among arms, at its largest budget.

    Runs without a scored sample are left out.
    """
    return _curves(answers, lambda run: cumulative_regret(run.samples).tolist() if rewards_of(run.samples) else [])


def progress(answers: Sequence[AnswerGiven]) -> list[Curve]:
    """The mean expected progress, round by round, of each method that chooses among arms, at its largest budget.

    Rounds without enough rewards for an expectation are left out of the mean.
    """
    return _curves(
        answers,
        lambda run: expected_by_round([(one.round, one.meta_thought, one.reward) for one in run.samples]),
    )


def _curves(answers: Sequence[AnswerGiven], steps: Callable[[AnswerGiven], Sequence[float | None]]) -> list[Curve]:
    curves = []
    for (setting, method, budget), runs in choosing(answers):
        each = [steps(run) for run in runs]
        longest = max(map(len, each), default=0)
        values = {
            index + 1: known
            for index in range(longest)
            if (known := [value for run in each if len(run) > index and (value := run[index]) is not None])
        }
        if values:
            curves.append(
                Curve(
                    setting,
                    method,
                    budget,
                    tuple(values),
                    tuple(map(len, values.values())),
                    tuple(float(np.mean(known)) for known in values.values()),
                    tuple(mean_interval(known, seed=SEED, resamples=CURVE_RESAMPLES) for known in values.values()),
                )
            )
    return curves
