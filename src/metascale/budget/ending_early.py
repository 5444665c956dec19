"""When an answer is ended early: DeepConf's online rule (Fu et al. 2025, arXiv 2508.15260)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from metascale.records import Candidate

FIRST = 8
"""Answers that are read to their end before any is ended early.

With this and the median as the floor, majority of 16 reads 18 % fewer tokens on 2,112 answers of Qwen2.5-Coder-1.5B to
48 questions of GSM8K, and loses 0.2 points (standard error 0.5). A first look at four saves 27 % and loses 0.5 (0.9).
"""


def floor_of(candidates: Sequence[Candidate]) -> float | None:
    """How sure the model must stay of an answer, as the mean log-probability of a window of tokens.

    It is the median of the lowest windows of all answers so far, those that were ended included: the model is less sure
    of an answer below it than of most others.

    Args:
        candidates: the samples so far.

    Returns:
        In nats a token; None while too few answers are known.
    """
    known = [certainty["lowest"] for c in candidates if (certainty := c.get("certainty"))]
    return median(known) if len(known) >= FIRST else None
