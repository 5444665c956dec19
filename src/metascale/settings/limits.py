"""Settings of where a run stops."""

from __future__ import annotations

from pydantic import Field

from metascale.settings.fields import Frozen, on


class LimitSettings(Frozen):
    """Where a run stops: what it may spend, and what makes more samples pointless."""

    budget: int = Field(
        default=16,
        ge=1,
        le=100_000,
        description="Answers to generate: the hard sampling budget.",
        json_schema_extra=on("select_arm"),
    )
    max_calls: int | None = Field(
        default=None,
        ge=1,
        description="Model requests of all kinds; rounds shrink to fit. Retries and repairs may exceed it.",
        json_schema_extra=on("select_arm"),
    )
    max_tokens_total: int | None = Field(
        default=None,
        ge=1,
        description="Prompt and completion tokens of the run; no round begins at or above it.",
        json_schema_extra=on("select_arm"),
    )
    max_seconds: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Seconds at work: no round begins at or above it, and requests in flight are cut off there.",
        json_schema_extra=on("select_arm", "generate", "score"),
    )
    max_cost_usd: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="US dollars of the run, for models with a known price: rounds shrink to fit, and no request is "
        "sent at or above it, so it is exceeded by no more than the requests in flight. A request whose cost stays "
        "unknown counts as much as the dearest one.",
        json_schema_extra=on("select_arm", "generate", "score"),
    )
    target_reward: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Reward at which the search stops: no round begins once an answer has reached it. Where it is not "
        "set, an exact reward such as 'verifier' stops at 1; null switches that off.",
        json_schema_extra=on("select_arm"),
    )
    stop_on_agreement: float | None = Field(
        default=0.99,
        gt=0.5,
        lt=1,
        description="Stop once the samples that are left are expected to raise the chance of a right answer by less "
        "than 1 minus this, where final answers can be compared; null draws them all. The budget is then a ceiling.",
        json_schema_extra=on("score"),
    )
    min_progress: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Stop once one more sample is expected to raise the best reward by less than this: a sample's "
        "price in reward.",
        json_schema_extra=on("score"),
    )
    max_failures: int = Field(
        default=8,
        ge=1,
        description="Failed samples in a row after which the run gives up.",
        json_schema_extra=on("generate"),
    )
    max_question_chars: int = Field(
        default=100_000,
        ge=1,
        description="Longest conversation accepted, in characters: every sample pays for all of it.",
        json_schema_extra=on("initialize_pool"),
    )
    ask_for_budget: bool = Field(
        default=False,
        description="Pause once the budget is spent, so that a person can grant more samples or none. Needs a "
        "checkpointer.",
        json_schema_extra=on("grant_budget"),
    )
