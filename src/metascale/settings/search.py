"""Settings of the search: which meta-thoughts there are, which are tried, and how the pool evolves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from metascale.settings.fields import Frozen, known, on

PolicyName = Literal["upper_tail", "ucb", "softmax", "round_robin", "single"]


class SearchSettings(Frozen):
    """How a run searches."""

    policy: Annotated[PolicyName, known("policy", PolicyName)] = Field(
        default="upper_tail",
        description="Which meta-thoughts to sample from: those whose best answers may be best ('upper_tail', not in "
        "the paper), the paper's 'ucb' or its mini-batch rule 'softmax', "
        "each in turn ('round_robin': METASCALE without its bandit), or plain chain of thought alone ('single': "
        "best-of-N).",
        json_schema_extra=on("select_arm"),
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        le=1_024,
        description="Samples drawn in parallel in one round: the paper's B. Null: 4 in the first round, and then as "
        "many as in all rounds before.",
        json_schema_extra=on("select_arm"),
    )
    beta: float = Field(
        default=0.3,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Weight of exploration in mean + beta * sqrt(ln t / n). On rewards in [0, 1] the usual "
        "sqrt(2) is nearly round robin for budgets up to 128.",
        json_schema_extra=on("select_arm", "evolve"),
    )
    softmax_temperature: float = Field(
        default=0.1,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="Temperature of the 'softmax' policy over mean rewards in [0, 1].",
        json_schema_extra=on("select_arm"),
    )
    temperature: float | None = Field(
        default=1.0,
        ge=0,
        le=2,
        description="Sampling temperature of answers; null leaves the model's own, and so does leaving this out if the "
        "model was made with one. Samples must differ, and 1 is the only value that reasoning models accept.",
        json_schema_extra=on("generate"),
    )
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Longest answer, in tokens; null leaves the model's own limit.",
        json_schema_extra=on("generate"),
    )
    end_early: bool = Field(
        default=False,
        description="End an answer once the model is less sure of its last 64 tokens than of the least sure stretch of "
        "three quarters of the answers so far (DeepConf). It counts as a sample, with the score 0. Needs a server that "
        "streams and tells token probabilities. The first eight answers are never ended.",
        json_schema_extra=on("generate"),
    )
    refine: bool = Field(
        default=False,
        description="Add one more arm, which refines one of the best answers with its critique.",
        json_schema_extra=on("initialize_pool", "select_arm"),
    )
    pool_size: int = Field(
        default=8,
        ge=2,
        le=256,
        description="Meta-thoughts in the first pool, the two fixed ones included (8 in the paper).",
        json_schema_extra=on("initialize_pool"),
    )
    retriever_k: int = Field(
        default=8,
        ge=0,
        le=64,
        description="Similar worked examples to abstract when a retriever is given (8 in the paper).",
        json_schema_extra=on("initialize_pool"),
    )
    duplicate_similarity: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Jaccard similarity of character trigrams from which a meta-thought counts as a near-duplicate "
        "and is dropped.",
        json_schema_extra=on("initialize_pool", "evolve"),
    )
    head_start: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Prior advantage in mean reward of plain chain of thought over the average meta-thought. The prior "
        "weighs as much as two rewards; 0 is no advantage. Ours, tuned on recorded exams.",
        json_schema_extra=on("initialize_pool"),
    )
    seed_methods: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Reasoning methods of the catalogue that enter the pool: those that the model rates best for the "
        "task (Meta-Reasoning Prompting). The ratings say which are tried first. 0 asks for no ratings.",
        json_schema_extra=on("initialize_pool"),
    )
    rated_methods: Literal["mrp", "all"] = Field(
        default="mrp",
        description="Which methods are rated: the seven of Meta-Reasoning Prompting and those of 'methods_dir', or "
        "'all' of the catalogue.",
        json_schema_extra=on("rate_methods", "initialize_pool"),
    )
    methods_dir: str | None = Field(
        default=None,
        description="Folder of reasoning methods of your own, Markdown files like those in prompts/methods. Set where "
        "the graph is built.",
        json_schema_extra=on("rate_methods", "initialize_pool"),
    )
    review_pool: bool = Field(
        default=False,
        description="Pause once the pool is made, before any sample is drawn, so that a person can edit it. Needs a "
        "checkpointer.",
        json_schema_extra=on("review_pool"),
    )
    evolution: Literal["gated", "always", "off"] = Field(
        default="gated",
        description="When the pool evolves: only while children are worth their pulls ('gated'), at every interval and "
        "from the arms of highest UCB, as in the paper ('always'), or never ('off').",
        json_schema_extra=on("evolve"),
    )
    operators: Literal["all", "combine"] = Field(
        default="all",
        description="How children are bred: by combining and refining parents, as in the paper ('combine'), or also by "
        "diagnosing one, contrasting two, or composing afresh, whichever has done best so far ('all').",
        json_schema_extra=on("evolve"),
    )
    evolve_every: int = Field(
        default=2,
        ge=0,
        le=10_000,
        description="Rounds between two evolutions; 0 switches evolution off.",
        json_schema_extra=on("evolve"),
    )
    parents: int = Field(
        default=2,
        ge=1,
        le=16,
        description="Meta-thoughts that are combined in one evolution.",
        json_schema_extra=on("evolve"),
    )
    children: int = Field(
        default=2,
        ge=1,
        le=16,
        description="Meta-thoughts that one evolution adds to the pool.",
        json_schema_extra=on("evolve"),
    )
    max_pool: int = Field(
        default=32,
        ge=2,
        le=10_000,
        description="Meta-thoughts that may be in play at once. In a full pool a child takes the place of an arm that "
        "can hardly win any more; where there is no such arm, no child is added.",
        json_schema_extra=on("evolve"),
    )
    foresee: bool = Field(
        default=False,
        description="First let the model predict its pass rate, the length of its answers and the notions they need. "
        "Tasks predicted to be easy end once their first answers confirm it, hopeless ones get a smaller budget unless "
        "those refute it. The length limits samples, and one meta-thought hints at the notions.",
        json_schema_extra=on("foresee", "initialize_pool", "select_arm", "generate"),
    )
    predictions: int = Field(
        default=4,
        ge=2,
        le=32,
        description="Predictions that are asked for: in one request where the server gives several replies. (16 in "
        "MASA's training.)",
        json_schema_extra=on("foresee"),
    )
    memory: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        pattern=r"^[^.]+$",
        description="Name of the strategy memory, of a user or a project: what earlier runs learned says which "
        "meta-thoughts are tried first in a search, and this run is remembered. It is kept in the graph's store. Null: "
        "no memory.",
        json_schema_extra=on("initialize_pool", "finalize"),
    )
    memory_seeds: int = Field(
        default=2,
        ge=0,
        le=32,
        description="Remembered meta-thoughts of similar tasks that may enter the pool.",
        json_schema_extra=on("initialize_pool"),
    )
