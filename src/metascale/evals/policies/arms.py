"""How right the arms of recorded samples are: does the way of thinking matter on these questions?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metascale.evals.recordings import Numbers, Recordings, RecordingsError
from metascale.evals.statistics import Interval, is_tie, mean_interval, paired_bootstrap

COMPOSED = "composed for the question"
"""The arm of all samples whose rows say that their meta-thought was composed for the question."""


@dataclass(frozen=True)
class ArmAccuracy:
    """How often one arm is right.

    Attributes:
        arm: its name.
        questions: questions that it was sampled on.
        samples: its samples.
        right: the mean over questions of the share of right samples.
        interval: its 95 % bootstrap interval over questions.
        difference: to chain of thought on the questions that both have; None for chain of thought itself, or without
            such questions.
        of_difference: the difference's 95 % bootstrap interval over questions; None without a difference.
        tie: whether that interval contains 0.
    """

    arm: str
    questions: int
    samples: int
    right: float
    interval: Interval
    difference: float | None
    of_difference: Interval | None
    tie: bool


def measure_arms(recordings: Recordings, chain_of_thought: str | None) -> list[ArmAccuracy]:
    """Measure every arm, the best first.

    Args:
        recordings: the samples.
        chain_of_thought: the name of that arm; None if it is not recorded.

    Raises:
        RecordingsError: all samples of that arm are under meta-thoughts composed for their questions.
    """
    apart = [~recordings.composed & (recordings.arm == arm) for arm in range(len(recordings.arms))]
    fixed = {name: own for name, own in zip(recordings.arms, apart, strict=True) if own.any()}
    if chain_of_thought is not None and chain_of_thought not in fixed:
        raise RecordingsError(
            f"{chain_of_thought!r} is no baseline: all its meta-thoughts were composed for their questions"
        )
    base = None if chain_of_thought is None else _shares(recordings, fixed[chain_of_thought])
    found = [
        _accuracy(name, recordings, own, None if name == chain_of_thought else base) for name, own in fixed.items()
    ]
    if recordings.composed.any():
        found.append(_accuracy(COMPOSED, recordings, recordings.composed, base))
    return sorted(found, key=lambda one: -one.right)


def _shares(recordings: Recordings, among: NDArray[np.bool_]) -> Numbers:
    """The share of right samples of each question, shape (questions,); NaN where there are none."""
    total = len(recordings.questions)
    samples = np.bincount(recordings.question[among], minlength=total)
    right = np.bincount(recordings.question[among & recordings.right], minlength=total)
    return np.where(samples > 0, right / np.maximum(samples, 1), math.nan)


def _accuracy(name: str, recordings: Recordings, among: NDArray[np.bool_], base: Numbers | None) -> ArmAccuracy:
    own = _shares(recordings, among)
    known = ~np.isnan(own)
    shared = known & ~np.isnan(base) if base is not None else np.zeros_like(known)
    between = paired_bootstrap(own[shared], base[shared], seed=0) if base is not None and shared.any() else None
    return ArmAccuracy(
        arm=name,
        questions=int(known.sum()),
        samples=int(among.sum()),
        right=float(own[known].mean()),
        interval=mean_interval(own[known], seed=0),
        difference=float((own[shared] - base[shared]).mean()) if base is not None and shared.any() else None,
        of_difference=between,
        tie=between is not None and is_tie(between),
    )
