"""When to stop, how large the next round may be, and when to evolve: pure functions of settings and state."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from metascale.bandits import Arm
from metascale.settings import MetaScaleSettings
from metascale.state import Candidate, StopReason
from metascale.usage import Usage

Judging = Callable[[int], int]

STEPS_PER_ROUND = 3
"""Supersteps of one round: select_arm, generate, score."""


def affordable(settings: MetaScaleSettings, usage: Usage, judging: Judging, *, reserve: int = 0) -> int:
    """Samples that the budget and `max_calls` still pay for, each with its judgement (at least 0).

    Args:
        settings: the run's limits.
        usage: what was spent so far.
        judging: model requests that scoring so many new answers costs; grows with their number.
        reserve: requests that are kept for the final choice.
    """
    left = max(0, settings.budget - usage["samples"])
    if settings.max_calls is None:
        return left
    calls = settings.max_calls - usage["calls"] - reserve
    return bisect_right(range(1, min(left, max(0, calls)) + 1), calls, key=lambda samples: samples + judging(samples))


def failures_in_a_row(candidates: Sequence[Candidate]) -> int:
    """Failed samples since the last one that was generated."""
    count = 0
    for candidate in reversed(candidates):
        if candidate["status"] != "failed":
            break
        count += 1
    return count


def best_reward(candidates: Sequence[Candidate]) -> float | None:
    """The highest reward so far, or None while nothing is scored."""
    return max((c["reward"] for c in candidates if c["reward"] is not None), default=None)


def stop_reason(
    settings: MetaScaleSettings,
    usage: Usage,
    candidates: Sequence[Candidate],
    *,
    samples_left: int,
    remaining_steps: int,
) -> StopReason | None:
    """Why no further round may begin, or None if one may.

    Args:
        settings: the run's limits.
        usage: what was spent so far.
        candidates: the samples so far, in order.
        samples_left: what `affordable` gives.
        remaining_steps: supersteps that LangGraph's recursion limit leaves; the run keeps back enough for one
            evolution, one round and `finalize`.
    """
    best = best_reward(candidates)
    tokens = usage["input_tokens"] + usage["output_tokens"]

    def reached(limit: float | None, value: float | None) -> bool:
        return limit is not None and value is not None and value >= limit

    limits: dict[StopReason, bool] = {
        "budget": reached(settings.budget, usage["samples"]),
        "target_reward": reached(settings.target_reward, best),
        "max_calls": samples_left == 0,
        "max_tokens_total": reached(settings.max_tokens_total, tokens),
        "max_seconds": reached(settings.max_seconds, usage["seconds"]),
        "failures": reached(settings.max_failures, failures_in_a_row(candidates)),
        "step_limit": remaining_steps < STEPS_PER_ROUND + 2,
    }
    return next((name for name, is_reached in limits.items() if is_reached), None)


def evolution_due(
    settings: MetaScaleSettings,
    arms: Sequence[Arm],
    *,
    rounds: int,
    evolved_at: int,
    samples_left: int,
) -> bool:
    """Whether the pool evolves now: enough rounds have passed, every arm was pulled, something was scored.

    The paper evolves "periodically". That every arm has its first pull before any children compete for the budget is
    ours, and so is that nothing is bred that could not be sampled any more.
    """
    return (
        settings.evolve_every > 0
        and rounds - evolved_at >= settings.evolve_every
        and samples_left > 0
        and all(arm.pulls for arm in arms)
        and any(arm.rewards for arm in arms)
    )
