"""How right the arms of recorded samples are: does the way of thinking matter on these questions?"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metascale.evals.recordings import Numbers, Recordings
from metascale.evals.statistics import Interval, is_tie, mean_interval, paired_bootstrap

COMPOSED = "composed for the question"
"""The arm of all meta-thoughts that the model composed: their names, `m1`, `m2` and so on, mean something else for each
question."""
_COMPOSED = re.compile(r"m\d+")


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
    """
    names = [COMPOSED if _COMPOSED.fullmatch(name) else name for name in recordings.arms]
    of = np.array(names)[recordings.arm]
    shares = {name: _shares(recordings, of == name) for name in dict.fromkeys(names) if (of == name).any()}
    base = shares.get(chain_of_thought or "")
    found = [
        _accuracy(name, own, int((of == name).sum()), None if name == chain_of_thought else base)
        for name, own in shares.items()
    ]
    return sorted(found, key=lambda one: -one.right)


def _shares(recordings: Recordings, among: NDArray[np.bool_]) -> Numbers:
    """The share of right samples of each question, shape (questions,); NaN where there are none."""
    total = len(recordings.questions)
    samples = np.bincount(recordings.question[among], minlength=total)
    right = np.bincount(recordings.question[among & recordings.right], minlength=total)
    return np.where(samples > 0, right / np.maximum(samples, 1), math.nan)


def _accuracy(name: str, own: Numbers, samples: int, base: Numbers | None) -> ArmAccuracy:
    known = ~np.isnan(own)
    shared = known & ~np.isnan(base) if base is not None else np.zeros_like(known)
    between = paired_bootstrap(own[shared], base[shared], seed=0) if base is not None and shared.any() else None
    return ArmAccuracy(
        arm=name,
        questions=int(known.sum()),
        samples=samples,
        right=float(own[known].mean()),
        interval=mean_interval(own[known], seed=0),
        difference=float((own[shared] - base[shared]).mean()) if base is not None and shared.any() else None,
        of_difference=between,
        tie=between is not None and is_tie(between),
    )
