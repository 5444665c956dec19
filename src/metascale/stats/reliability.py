"""How reliable a judge is: calibration and discrimination, measured on labelled answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field


class Reliability(BaseModel):
    """How well a judge's values in [0, 1] served as probabilities of being right.

    After the trust scores of Orchestrator-Agent Trust (arXiv 2507.10571): calibration error, over-confidence and
    correlation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    answers: int = Field(ge=1, description="Labelled answers that the judge gave a value.")
    calibration_error: float = Field(ge=0, le=1, description="Expected calibration error over ten bins.")
    overconfidence: float = Field(ge=0, le=1, description="Mean excess of the value over the truth, where it exceeds.")
    concordance: float = Field(ge=-1, le=1, description="Correlation of value and truth; 0 where either is constant.")

    @property
    def weight(self) -> float:
        """The judge's weight in a panel, in [0, 1]: concordance, discounted by calibration error and over-confidence.

        Concordance is a factor of its own because the choice between answers depends on it. A judge that gives every
        answer the same score has no concordance, and so no weight. A judge that is consistently wrong has no weight
        either.
        """
        return max(0.0, self.concordance) * (1 - self.calibration_error) * (1 - self.overconfidence)


@dataclass(frozen=True)
class CalibrationBin:
    """The answers whose confidence falls into one bin.

    Attributes:
        low: the bin's lower end, included.
        high: its upper end, excluded unless it is 1.
        count: the number of answers in it, above 0.
        mean_confidence: their mean confidence, in [0, 1].
        accuracy: the share of right answers among them, in [0, 1].
    """

    low: float
    high: float
    count: int
    mean_confidence: float
    accuracy: float


def reliability(values: Sequence[float], right: Sequence[bool]) -> Reliability:
    """Measure a judge.

    Args:
        values: in [0, 1], at least one.
        right: whether each answer is right, of the same length.

    Raises:
        ValueError: the lengths differ, or a value is out of its range.
    """
    error, _ = expected_calibration(values, right)
    stated, truth = _numbers(values), np.asarray(right, dtype=np.float64)
    varied = stated.std() > 0 and truth.std() > 0
    concordance = float(np.corrcoef(stated, truth)[0, 1]) if varied else 0.0
    return Reliability(
        answers=len(stated),
        calibration_error=error,
        overconfidence=float(np.maximum(stated - truth, 0).mean()),
        concordance=min(1.0, max(-1.0, concordance)),
    )


def expected_calibration(
    confidences: Sequence[float], right: Sequence[float], bins: int = 10
) -> tuple[float, list[CalibrationBin]]:
    """The expected calibration error (Naeini et al. 2015) over bins of equal width, and the bins that hold answers.

    Args:
        confidences: in [0, 1], at least one; 1 belongs to the last bin.
        right: whether each answer is right, or the share of right answers in a group, in [0, 1]; of the same length.
        bins: at least 1.

    Returns:
        The mean over answers of their bin's `|accuracy - mean confidence|`, in [0, 1], and the bins in order.

    Raises:
        ValueError: the lengths differ, or an argument is out of its range.
    """
    stated, truth = _numbers(confidences), np.asarray(right, dtype=np.float64)
    if stated.shape != truth.shape:
        raise ValueError(f"{len(stated)} confidences for {truth.size} answers")
    if bins < 1 or stated.min() < 0 or stated.max() > 1:
        raise ValueError("calibration needs a bin and confidences in [0, 1]")
    edges = np.arange(bins + 1) / bins
    places = np.minimum(np.searchsorted(edges, stated, side="right") - 1, bins - 1)
    held = [
        CalibrationBin(
            float(edges[place]),
            float(edges[place + 1]),
            int((places == place).sum()),
            float(stated[places == place].mean()),
            float(truth[places == place].mean()),
        )
        for place in np.unique(places)
    ]
    return sum(b.count * abs(b.accuracy - b.mean_confidence) for b in held) / len(stated), held


def auc(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """The probability that a right answer scores above a wrong one, ties counting half; in O(n log n), by ranks.

    Args:
        scores: finite numbers.
        right: whether each answer is right, of the same length.

    Returns:
        A value in [0, 1] (the Mann-Whitney U over its maximum), or None where no answer is right or none is wrong.

    Raises:
        ValueError: the lengths differ, or a score is not finite.
    """
    truth = np.asarray(right, dtype=np.bool_)
    if len(scores) != len(truth):
        raise ValueError(f"{len(scores)} scores for {len(truth)} answers")
    positive = int(truth.sum())
    negative = len(truth) - positive
    if not positive or not negative:
        return None
    _, places, counts = np.unique(_numbers(scores), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    above = float(ranks[truth].sum()) - positive * (positive + 1) / 2
    return above / (positive * negative)


def _numbers(values: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError("expected a non-empty list of finite numbers")
    return numbers
