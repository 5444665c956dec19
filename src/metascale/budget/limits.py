"""When a run ends, how large the next round may be, and when to evolve. Pure functions of settings and state."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from metascale.budget.stopping import expected_progress, gain_of_more
from metascale.evolution import children_pay, may_breed, room
from metascale.pool.admission import PoolArm, arm_statistics
from metascale.records import Candidate, MetaThought, StopReason
from metascale.settings import MetaScaleSettings
from metascale.usage import Usage, charged

Judging = Callable[[int], int]

STEPS_PER_ROUND = 3
"""Supersteps of one round: select_arm, generate, score."""
PULLS_AN_ARM = 4
"""Budget in pulls per arm below which gated evolution breeds no children: fewer pulls cannot
distinguish the arms. Not tuned."""

SHARE_OF_CALLS, SHARE_OF_TOKENS = 1 / 4, 1 / 2
"""Shares of `max_calls` and `max_cost_usd`, and of `max_tokens_total`, from which no further meta-thought is asked for.
Not tuned."""


def affordable(settings: MetaScaleSettings, usage: Usage, judging: Judging, *, reserve: int = 0, kept: int = 0) -> int:
    """Samples that the budget and `max_calls` still allow, each with its judgement; at least 0.

    Args:
        settings: the run's limits.
        usage: of the run so far.
        judging: the model requests for scoring a number of new answers; must not fall with that number.
        reserve: requests kept for the final choice.
        kept: samples kept for a synthesis.
    """
    left = max(0, settings.budget - kept - usage["samples"])
    if settings.max_calls is None:
        return left
    calls = settings.max_calls - usage["calls"] - reserve
    return bisect_right(range(1, min(left, max(0, calls)) + 1), calls, key=lambda samples: samples + judging(samples))


def failures_in_a_row(candidates: Sequence[Candidate]) -> int:
    """Consecutive failed samples at the end of the run so far."""
    count = 0
    for candidate in reversed(candidates):
        if candidate["status"] != "failed":
            break
        count += 1
    return count


def tokens_of(usage: Usage) -> int:
    """Prompt and completion tokens together."""
    return usage["input_tokens"] + usage["output_tokens"]


def may_compose(settings: MetaScaleSettings, usage: Usage) -> bool:
    """Whether the limits of requests, tokens and money leave enough for the search after one more for the pool."""
    calls, tokens, usd = settings.max_calls, settings.max_tokens_total, settings.max_cost_usd
    return (
        (calls is None or usage["calls"] < SHARE_OF_CALLS * calls)
        and (tokens is None or tokens_of(usage) < SHARE_OF_TOKENS * tokens)
        and (usd is None or charged(usage) < SHARE_OF_CALLS * usd)
    )


def calls_paid_for(max_usd: float | None, usage: Usage) -> int | None:
    """The requests of a whole run that its money pays for, if further ones cost as much as those so far on average.

    None without a limit, or while nothing was charged.
    """
    spent, calls = charged(usage), usage["calls"]
    if max_usd is None or spent == 0 or calls == 0:
        return None
    return calls + int(max(0.0, max_usd - spent) * calls / spent + 1e-9)  # whatever is lost in rounding


def reached(limit: float | None, spent: float) -> bool:
    """Whether there is a limit and it is spent."""
    return limit is not None and spent >= limit


def has_reached(candidate: Candidate, target: float, looks: int) -> bool:
    """Whether a whole answer's reward, and the mean of all its scores after `looks` looks, are at least `target`."""
    reward = candidate["reward"]
    if candidate["status"] != "ok" or reward is None or reward < target or len(candidate["looks"]) < looks:
        return False
    fresh = [look["value"] for look in candidate["looks"] if look["value"] is not None]
    return (looks == 0 or len(fresh) > 0) and (reward + sum(fresh)) / (1 + len(fresh)) >= target


def unconfirmed(candidates: Sequence[Candidate], target: float | None) -> Candidate | None:
    """The best answer that reached the target reward and was not judged again; None if there is none."""
    if target is None:
        return None
    waiting = [c for c in candidates if not c["looks"] and not c.get("shared") and has_reached(c, target, looks=0)]
    return max(waiting, key=lambda c: c["reward"] or 0.0, default=None)


def draws_from_several(settings: MetaScaleSettings, pool: Sequence[MetaThought]) -> bool:
    """Whether the samples of a run come from more than one meta-thought."""
    return len(pool) > 1 and settings.policy != "single"


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
    is_refused: bool = False,
) -> StopReason | None:
    """The reason why no further round may begin, or None if one may.

    Args:
        settings: the run's limits.
        usage: of the run so far.
        pool: the meta-thoughts.
        candidates: the samples so far, in order.
        samples_left: as `affordable` returns.
        kept: samples kept for a synthesis.
        target_looks: second looks that a reached target needs.
        remaining_steps: supersteps within LangGraph's recursion limit. The run reserves enough for one evolution, one
            round and `finalize`.
        is_refused: whether no further request can succeed, which ends the run whatever else holds.
    """
    if is_refused:
        return "failures"
    limits: dict[StopReason, bool] = {
        "budget": reached(settings.budget - kept, usage["samples"]),
        "target_reward": settings.target_reward is not None
        and any(has_reached(candidate, settings.target_reward, target_looks) for candidate in candidates),
        "agreement": settings.stop_on_agreement is not None
        and gain_of_more(candidates, samples_left, settings, several_arms=draws_from_several(settings, pool))
        < 1 - settings.stop_on_agreement,
        "no_progress": settings.min_progress is not None
        and expected_progress(arm_statistics(pool, candidates)) < settings.min_progress,
        "max_calls": samples_left == 0,
        "max_tokens_total": reached(settings.max_tokens_total, tokens_of(usage)),
        "max_seconds": reached(settings.max_seconds, usage["seconds"]),
        "failures": reached(settings.max_failures, failures_in_a_row(candidates)),
        "step_limit": remaining_steps < STEPS_PER_ROUND + 2,
    }
    return next((name for name, is_reached in limits.items() if is_reached), None)


def evolution_due(
    settings: MetaScaleSettings,
    members: Sequence[PoolArm],
    *,
    rounds: int,
    evolved_at: int,
    samples_left: int,
) -> bool:
    """Whether the pool evolves now.

    The paper evolves "periodically". Here `evolve_every` rounds must have passed, every arm must have been pulled, and
    one that may be a parent must have a reward. Children must have room in the pool and samples left to try them. With
    the evolution `"gated"` the budget must also be at least `PULLS_AN_ARM` pulls for every arm that is not retired,
    and `children_pay` must hold.
    """
    is_time = (
        settings.evolution != "off"
        and settings.evolve_every > 0
        and rounds - evolved_at >= settings.evolve_every
        and samples_left > 0
        and all(member.pulls for member in members)
        and any(may_breed(member) for member in members)
        and room(members, settings.max_pool) > 0
    )
    if not is_time or settings.evolution == "always":
        return is_time
    active = sum(not member.retired for member in members)
    return settings.budget >= PULLS_AN_ARM * active and children_pay(members, samples_left)
