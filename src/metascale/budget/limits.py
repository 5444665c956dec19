"""When to stop, how large the next round may be, and when to evolve: pure functions of settings and state."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from metascale.budget.stopping import agreement, expected_progress
from metascale.evolution import children_pay, room
from metascale.pool.admission import Member, arm_statistics
from metascale.records import Candidate, MetaThought, StopReason
from metascale.settings import MetaScaleSettings
from metascale.usage import Usage

Judging = Callable[[int], int]

STEPS_PER_ROUND = 3
"""Supersteps of one round: select_arm, generate, score."""
PULLS_AN_ARM = 4
"""Budget for every arm below which gated evolution adds none: fewer pulls do not tell the arms apart. Ours."""


def affordable(settings: MetaScaleSettings, usage: Usage, judging: Judging, *, reserve: int = 0, kept: int = 0) -> int:
    """Samples that the budget and `max_calls` still pay for, each with its judgement (at least 0).

    Args:
        settings: the run's limits.
        usage: what was spent so far.
        judging: model requests that scoring so many new answers costs; grows with their number.
        reserve: requests that are kept for the final choice.
        kept: samples that are kept for a synthesis.
    """
    left = max(0, settings.budget - kept - usage["samples"])
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


def tokens_of(usage: Usage) -> int:
    """Prompt and completion tokens together."""
    return usage["input_tokens"] + usage["output_tokens"]


def reached(limit: float | None, spent: float) -> bool:
    """Whether so much was spent that a limit, if there is one, leaves nothing."""
    return limit is not None and spent >= limit


def has_reached(candidate: Candidate, target: float, looks: int) -> bool:
    """Whether an answer's reward reached the target, and the mean of all its scores did after so many more looks."""
    reward = candidate["reward"]
    if reward is None or reward < target or len(candidate["looks"]) < looks:
        return False
    fresh = [look["value"] for look in candidate["looks"] if look["value"] is not None]
    return (looks == 0 or len(fresh) > 0) and (reward + sum(fresh)) / (1 + len(fresh)) >= target


def unconfirmed(candidates: Sequence[Candidate], target: float | None) -> Candidate | None:
    """The best answer that reached the target reward and was not judged again; None if there is none."""
    if target is None:
        return None
    waiting = [c for c in candidates if not c["looks"] and has_reached(c, target, looks=0)]
    return max(waiting, key=lambda c: c["reward"] or 0.0, default=None)


def stop_reason(
    settings: MetaScaleSettings,
    usage: Usage,
    pool: Sequence[MetaThought],
    candidates: Sequence[Candidate],
    *,
    samples_left: int,
    kept: int = 0,
    target_looks: int = 0,
    remaining_steps: int,
) -> StopReason | None:
    """Why no further round may begin, or None if one may.

    Args:
        settings: the run's limits.
        usage: what was spent so far.
        pool: the meta-thoughts.
        candidates: the samples so far, in order.
        samples_left: what `affordable` gives.
        kept: samples that are kept for a synthesis.
        target_looks: second looks that confirm a reached target.
        remaining_steps: supersteps that LangGraph's recursion limit leaves; the run keeps back enough for one
            evolution, one round and `finalize`.
    """
    limits: dict[StopReason, bool] = {
        "budget": reached(settings.budget - kept, usage["samples"]),
        "target_reward": settings.target_reward is not None
        and any(has_reached(candidate, settings.target_reward, target_looks) for candidate in candidates),
        "agreement": settings.stop_on_agreement is not None
        and agreement_of(pool, candidates) >= settings.stop_on_agreement,
        "no_progress": settings.min_progress is not None
        and expected_progress(arm_statistics(pool, candidates)) < settings.min_progress,
        "max_calls": samples_left == 0,
        "max_tokens_total": reached(settings.max_tokens_total, tokens_of(usage)),
        "max_seconds": reached(settings.max_seconds, usage["seconds"]),
        "failures": reached(settings.max_failures, failures_in_a_row(candidates)),
        "step_limit": remaining_steps < STEPS_PER_ROUND + 2,
    }
    return next((name for name, is_reached in limits.items() if is_reached), None)


def agreement_of(pool: Sequence[MetaThought], candidates: Sequence[Candidate]) -> float:
    """How sure the most frequent final answer is; 0 while only one of several meta-thoughts gave marked answers.

    That two ways of thinking must agree is ours: samples under one of them share its mistakes.
    """
    marked = [c for c in candidates if c["extracted"] is not None and c["status"] == "ok"]
    if len({c["meta_thought"] for c in marked}) < min(2, len(pool)):
        return 0.0
    return agreement([c["extracted"] or "" for c in marked])


def evolution_due(
    settings: MetaScaleSettings,
    members: Sequence[Member],
    *,
    rounds: int,
    evolved_at: int,
    samples_left: int,
) -> bool:
    """Whether the pool evolves now: enough rounds have passed, every arm was pulled, something was scored.

    The paper evolves "periodically". That every arm has its first pull before any children compete for the budget is
    ours, and so is that nothing is bred that could not be sampled any more or for which a full pool has no room. With
    the evolution `"gated"` it must also be worth it: the budget is at least `PULLS_AN_ARM` for every arm that is not
    retired, and `children_pay` says so.
    """
    is_time = (
        settings.evolution != "off"
        and settings.evolve_every > 0
        and rounds - evolved_at >= settings.evolve_every
        and samples_left > 0
        and all(member.pulls for member in members)
        and any(member.rewards for member in members)
        and room(members, settings.max_pool) > 0
    )
    if not is_time or settings.evolution == "always":
        return is_time
    active = sum(not member.retired for member in members)
    return settings.budget >= PULLS_AN_ARM * active and children_pay(members, samples_left)
