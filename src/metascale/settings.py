"""The settings of a run, which are also the graphs' context schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from metascale.answers import Kind
from metascale.errors import UnknownNameError

PolicyName = Literal["ucb", "softmax", "round_robin"]


def _known_policy(name: Any) -> Any:
    if isinstance(name, str) and name not in get_args(PolicyName):
        raise UnknownNameError("policy", name, get_args(PolicyName))
    return name


class Price(BaseModel):
    """What a model costs, in US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0, description="US dollars per million prompt tokens.")
    output: float = Field(ge=0, description="US dollars per million completion tokens.")


def _on(*nodes: str) -> dict[str, Any]:
    """The mark by which Studio shows a setting at the nodes that it governs."""
    return {"langgraph_nodes": list(nodes)}


class MetaScaleSettings(BaseModel):
    """How a run searches and where it stops.

    Given to `create_metascale` they are the graph's defaults; given as `context=` to one run, the fields that are set
    override those defaults. Values marked "ours" are given by no source of the paper (Liu et al. 2026).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    budget: int = Field(
        default=16,
        ge=1,
        le=100_000,
        description="Answers to generate: the hard sampling budget. (Ours.)",
        json_schema_extra=_on("select_arm"),
    )
    batch_size: int = Field(
        default=4,
        ge=1,
        le=1_024,
        description="Samples drawn in parallel in one round: the paper's B, its value ours.",
        json_schema_extra=_on("select_arm"),
    )
    policy: Annotated[PolicyName, BeforeValidator(_known_policy)] = Field(
        default="ucb",
        description="Which meta-thoughts to sample from: 'ucb', the paper's mini-batch rule 'softmax', or each in turn "
        "('round_robin': METASCALE without its bandit).",
        json_schema_extra=_on("select_arm"),
    )
    beta: float = Field(
        default=0.3,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Weight of exploration in mean + beta * sqrt(ln t / n). Ours: on rewards in [0, 1] the usual "
        "sqrt(2) is nearly round robin for budgets up to 128.",
        json_schema_extra=_on("select_arm", "evolve"),
    )
    softmax_temperature: float = Field(
        default=0.1,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="Temperature of the 'softmax' policy over mean rewards in [0, 1]. (Ours.)",
        json_schema_extra=_on("select_arm"),
    )
    pool_size: int = Field(
        default=8,
        ge=2,
        le=256,
        description="Meta-thoughts in the first pool, the two fixed ones included (8 in the paper).",
        json_schema_extra=_on("initialize_pool"),
    )
    retriever_k: int = Field(
        default=8,
        ge=0,
        le=64,
        description="Similar worked examples to abstract when a retriever is given (8 in the paper).",
        json_schema_extra=_on("initialize_pool"),
    )
    duplicate_similarity: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Jaccard similarity of character trigrams from which a meta-thought counts as a near-duplicate "
        "and is dropped. (Ours.)",
        json_schema_extra=_on("initialize_pool", "evolve"),
    )
    evolve_every: int = Field(
        default=2,
        ge=0,
        le=10_000,
        description="Rounds between two evolutions; 0 switches evolution off. (Ours.)",
        json_schema_extra=_on("evolve"),
    )
    parents: int = Field(
        default=2,
        ge=1,
        le=16,
        description="Meta-thoughts of highest UCB that one evolution breeds from. (Ours.)",
        json_schema_extra=_on("evolve"),
    )
    children: int = Field(
        default=2,
        ge=1,
        le=16,
        description="Meta-thoughts that one evolution adds to the pool. (Ours.)",
        json_schema_extra=_on("evolve"),
    )
    temperature: float | None = Field(
        default=1.0,
        ge=0,
        le=2,
        description="Sampling temperature of answers; null leaves the model's own. Ours: samples must "
        "differ, and 1 is the one value that reasoning models accept.",
        json_schema_extra=_on("generate"),
    )
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Longest answer, in tokens; null leaves the model's own limit.",
        json_schema_extra=_on("generate"),
    )
    max_calls: int | None = Field(
        default=None,
        ge=1,
        description="Model requests of all kinds; rounds shrink to fit, retries and repairs excepted.",
        json_schema_extra=_on("select_arm"),
    )
    max_tokens_total: int | None = Field(
        default=None,
        ge=1,
        description="Prompt and completion tokens of the run; no round begins at or above it.",
        json_schema_extra=_on("select_arm"),
    )
    max_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Seconds at work; no round begins at or above it.",
        json_schema_extra=_on("select_arm"),
    )
    target_reward: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Reward at which the search stops: no round begins once an answer reached it.",
        json_schema_extra=_on("select_arm"),
    )
    max_failures: int = Field(
        default=8,
        ge=1,
        description="Failed samples in a row after which the run gives up. (Ours.)",
        json_schema_extra=_on("generate"),
    )
    max_retries: int = Field(
        default=2,
        ge=0,
        le=20,
        description="Retries of a request that failed in passing (429, 5xx, connection lost). Models "
        "that bring a retry setting of their own, as instances do, keep that instead.",
        json_schema_extra=_on("generate", "score"),
    )
    max_question_chars: int = Field(
        default=100_000,
        ge=1,
        description="Longest conversation accepted, in characters: every sample pays for all of it.",
        json_schema_extra=_on("initialize_pool"),
    )
    answer_kind: Kind = Field(
        default="auto",
        description="What final answers are, where a method reads them (self-consistency): 'number', 'choice', 'text', "
        "or whichever is marked ('auto').",
        json_schema_extra=_on("tally"),
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**32,
        description="Makes a run repeat itself: the policy's choices always, the samples as far "
        "as the model takes a seed. Null: policies use 0 and models draw freely.",
        json_schema_extra=_on("select_arm", "generate"),
    )
    prices: dict[str, Price] = Field(
        default_factory=dict,
        description="Prices by model name, for `cost_usd`; a model without one makes it null.",
        json_schema_extra=_on("finalize"),
    )

    @model_validator(mode="before")
    @classmethod
    def _known_settings(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for name in values:
                if name not in cls.model_fields:
                    raise UnknownNameError("setting", str(name), cls.model_fields)
        return values

    def overlaid_by(self, other: Self) -> Self:
        """These settings with every field that `other` sets explicitly.

        Raises:
            pydantic.ValidationError: the combination is not valid.
        """
        if not other.model_fields_set:
            return self
        chosen = other.model_dump(include=other.model_fields_set)
        return type(self).model_validate(self.model_dump(exclude_unset=True) | chosen)
