"""What a sample of each model costs, and what one may cost. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from metascale.pool.pairs import model_of
from metascale.records import Candidate
from metascale.settings.prices import Tariff
from metascale.usage import Usage, charged

FIRST_GUESS = (500.0, 1_000.0)
"""Tokens of a prompt and of a reply, before a sample is known. Not tuned."""


def expected_costs(candidates: Sequence[Candidate], tariffs: Mapping[str, Tariff]) -> dict[str, float]:
    """What the next sample of each model costs, in US dollars.

    A model is expected to read and write as much as in its samples so far, and one sample as all models do on average:
    models that think write many times what others do.

    Args:
        candidates: the samples so far.
        tariffs: the prices of all models of the run, by label.
    """
    drawn = [c for c in candidates if c["input_tokens"] or c["output_tokens"]]
    read, written = _mean(drawn, "input_tokens", FIRST_GUESS[0], 0), _mean(drawn, "output_tokens", FIRST_GUESS[1], 0)
    costs = {}
    for model, tariff in tariffs.items():
        own = [c for c in drawn if model_of(c, list(tariffs)) == model]
        costs[model] = tariff.of(_mean(own, "input_tokens", read, 1), _mean(own, "output_tokens", written, 1))
    return costs


def allowed_cost(
    max_usd: float | None, usage: Usage, candidates: Sequence[Candidate], tariffs: Mapping[str, Tariff], *, left: int
) -> float:
    """US dollars that each of the samples to come may cost itself, its judgement aside; infinite without a limit.

    Args:
        max_usd: the limit of the run.
        usage: its bill so far.
        candidates: its samples so far.
        tariffs: the prices of all models of the run, by label.
        left: samples to come, at least 1.
    """
    if max_usd is None or not tariffs:
        return math.inf
    spent = sum(
        tariffs[model_of(c, list(tariffs))].of(c["input_tokens"], c["output_tokens"])
        for c in candidates
        if model_of(c, list(tariffs)) in tariffs
    )
    beside = max(0.0, charged(usage) - spent) / max(1, len(candidates))
    return max(0.0, (max_usd - charged(usage)) / left - beside)


def _mean(candidates: Sequence[Candidate], tokens: str, before: float, weight: int) -> float:
    """The mean tokens of some samples and of `weight` samples of `before` tokens; `before` without samples."""
    count = len(candidates) + weight
    return (sum(c[tokens] for c in candidates) + weight * before) / count if count else before  # type: ignore[literal-required]
