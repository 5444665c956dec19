"""Statistics of a judge's verdicts: spread of repeats, shared errors, and Matthews' correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

TOO_FEW = 3
"""Fewest pairs for a correlation: two points always lie on a line."""


class Spread(NamedTuple):
    """The scatter of repeated values of answers, by one-way analysis of variance.

    Attributes:
        within: standard deviation of repeated values of one answer, at least 0.
        between: standard deviation of the answers' true values, corrected for the scatter within; at least 0, or None
            for a single answer.
        icc: the share of the variance that lies between answers, ICC(1,1) of Shrout and Fleiss (1979) with negative
            estimates set to 0; in [0, 1], or None where nothing varies or there is a single answer.
    """

    within: float
    between: float | None
    icc: float | None


def spread(groups: Sequence[Sequence[float]]) -> Spread | None:
    """The spread of repeated values.

    Args:
        groups: the values of each answer. Answers with fewer than two are left out; sizes may differ.

    Returns:
        The spread, with a `within` of exactly 0 where all values of each answer are the same; None where no answer has
        two values.
    """
    repeated = [np.asarray(group, dtype=np.float64) for group in groups if len(group) > 1]
    if not repeated:
        return None
    sizes = np.array([len(group) for group in repeated], dtype=np.float64)
    shifted = [group - group[0] for group in repeated]
    inner = sum(float((group**2).sum() - group.sum() ** 2 / len(group)) for group in shifted)
    within = max(0.0, inner) / float((sizes - 1).sum())
    if len(repeated) == 1:
        return Spread(within**0.5, None, None)
    means = np.array([group[0] + shift.mean() for group, shift in zip(repeated, shifted, strict=True)])
    from_middle = means - means[0]
    from_middle -= (sizes * from_middle).sum() / sizes.sum()
    outer = float((sizes * from_middle**2).sum()) / (len(repeated) - 1)
    size = float(sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(repeated) - 1)
    between = max(0.0, outer - within) / size
    return Spread(within**0.5, between**0.5, between / (between + within) if between + within > 0 else None)


def correlation_in_pairs(pairs: Sequence[tuple[float, float]]) -> float | None:
    """The correlation of the two numbers of each unordered pair.

    Returns:
        A value in [-1, 1] (Pearson's, with every pair taken in both orders); None with fewer than three pairs or
        without variance.
    """
    if len(pairs) < TOO_FEW or len({value for pair in pairs for value in pair}) == 1:
        return None
    numbers = np.asarray(pairs, dtype=np.float64)
    numbers = numbers - numbers.mean()
    return min(1.0, max(-1.0, float((numbers[:, 0] * numbers[:, 1]).mean() / (numbers**2).mean())))


def matthews(said: Sequence[bool], true: Sequence[bool]) -> float:
    """Matthews' correlation coefficient of two yes-no answers to the same questions (Matthews 1975).

    Returns:
        A value in [-1, 1]; 0 where either side never varies.

    Raises:
        ValueError: the lengths differ.
    """
    pairs = list(zip(said, true, strict=True))
    yes_yes, yes_no, no_yes, no_no = (
        sum(pair == wanted for pair in pairs) for wanted in ((True, True), (True, False), (False, True), (False, False))
    )
    below = (yes_yes + yes_no) * (yes_yes + no_yes) * (no_no + yes_no) * (no_no + no_yes)
    return (yes_yes * no_no - yes_no * no_yes) / below**0.5 if below else 0.0
