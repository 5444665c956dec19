"""The settings of a run, which are also the graphs' context schema."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from metascale.answers import Kind
from metascale.errors import UnknownNameError
from metascale.stats.reliability import Reliability

PolicyName = Literal[
    "upper_tail", "ucb", "softmax", "round_robin", "single", "thompson", "max_ucb", "successive_halving"
]
RewardName = Literal["judge", "panel", "critique", "pairwise", "reward_model", "agreement", "verifier"]

ENVIRONMENT_VARIABLE = "METASCALE_SETTINGS"


def _known(kind: str, names: Any) -> BeforeValidator:
    def check(name: Any) -> Any:
        if isinstance(name, str) and name not in get_args(names):
            raise UnknownNameError(kind, name, get_args(names))
        return name

    return BeforeValidator(check)


class Price(BaseModel):
    """What a model costs, in US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0, allow_inf_nan=False, description="US dollars per million prompt tokens.")
    output: float = Field(ge=0, allow_inf_nan=False, description="US dollars per million completion tokens.")


def _on(*nodes: str) -> dict[str, Any]:
    """The mark by which Studio shows a setting at the nodes that it governs."""
    return {"langgraph_nodes": list(nodes)}


def _without_a_key(url: str) -> str:
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ValueError("a URL in the settings holds no password: settings are shown, kept and logged")
    return url


Url = Annotated[str, AfterValidator(_without_a_key)]


class PanelMember(BaseModel):
    """One judge of a panel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(default=None, description="A model's name; null is the model that judges otherwise.")
    base_url: Url | None = Field(default=None, description="The OpenAI-compatible server of an 'openai:NAME' model.")
    rubric: str | None = Field(default=None, description="The member's own rubric.")
    reliability: Reliability | None = Field(
        default=None,
        description="How the judge did on labelled answers, as `metascale bench judge --json` reports it; its weight "
        "follows from that. Null weighs like a judge without a fault.",
    )


class RewardModelSettings(BaseModel):
    """Where a sequence-classification reward model is, and how to ask it."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    api: Literal["vllm_classify", "vllm_pooling", "tei", "local"] = Field(
        description="vLLM's /classify or /pooling, Text Embeddings Inference's /predict, or transformers in this "
        "process."
    )
    model: str = Field(description="The model's name at the server; for 'local' a checkpoint's folder or hub name.")
    url: Url | None = Field(default=None, description="The server, such as http://localhost:8000; not for 'local'.")
    chat_template: str | None = Field(
        default=None,
        description="File with the model's chat template (Jinja, or a tokenizer_config.json); null lets vLLM's chat "
        "form or the checkpoint's own tokenizer apply it.",
    )
    api_key_variable: str | None = Field(default=None, description="Environment variable that holds the server's key.")


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
    policy: Annotated[PolicyName, _known("policy", PolicyName)] = Field(
        default="upper_tail",
        description="Which meta-thoughts to sample from: those whose best answers may be best ('upper_tail', ours), "
        "the paper's 'ucb' or its mini-batch rule 'softmax', 'thompson', 'max_ucb', 'successive_halving', each in turn "
        "('round_robin': METASCALE without its bandit), or plain chain of thought alone ('single': best-of-N).",
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
    evolution: Literal["gated", "always", "off"] = Field(
        default="gated",
        description="When the pool evolves: only while children are worth their pulls ('gated', ours), at every "
        "interval and from the arms of highest UCB, as in the paper ('always'), or never ('off').",
        json_schema_extra=_on("evolve"),
    )
    operators: Literal["all", "combine"] = Field(
        default="all",
        description="How children are bred: by combining and refining parents, as in the paper ('combine'), or also by "
        "diagnosing one, contrasting two, or composing afresh, whichever has fared best ('all', ours).",
        json_schema_extra=_on("evolve"),
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
        description="Meta-thoughts that are combined in one evolution. (Ours.)",
        json_schema_extra=_on("evolve"),
    )
    children: int = Field(
        default=2,
        ge=1,
        le=16,
        description="Meta-thoughts that one evolution adds to the pool. (Ours.)",
        json_schema_extra=_on("evolve"),
    )
    max_pool: int = Field(
        default=32,
        ge=2,
        le=10_000,
        description="Meta-thoughts that may be in play at once: when so many are, a child comes only where one that "
        "cannot plausibly win any more retires. (Ours.)",
        json_schema_extra=_on("evolve"),
    )
    head_start: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="By how much plain chain of thought's mean reward is believed to lie above the average "
        "meta-thought's before the first sample; it counts for two rewards, and 0 believes nothing. (Ours.)",
        json_schema_extra=_on("initialize_pool"),
    )
    foresee: bool = Field(
        default=False,
        description="First let the model predict its pass rate, the length of its answers and the notions they need. "
        "Tasks foreseen to be easy end once their first answers confirm it, hopeless ones are capped unless those "
        "refute it; the length limits samples, and one meta-thought hints at the notions.",
        json_schema_extra=_on("foresee", "initialize_pool", "select_arm", "generate"),
    )
    predictions: int = Field(
        default=4,
        ge=2,
        le=32,
        description="Predictions that are asked for: in one request where the server gives several replies. (Ours; 16 "
        "in MASA's training.)",
        json_schema_extra=_on("foresee"),
    )
    seed_methods: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Reasoning methods of the catalogue that enter the pool: those that the model rates best for the "
        "task (Meta-Reasoning Prompting). The ratings say which are tried first. 0 asks for no ratings.",
        json_schema_extra=_on("initialize_pool"),
    )
    rated_methods: Literal["mrp", "all"] = Field(
        default="mrp",
        description="Which methods are rated: the seven of Meta-Reasoning Prompting and those of 'methods_dir', or "
        "'all' of the catalogue.",
        json_schema_extra=_on("rate_methods", "initialize_pool"),
    )
    methods_dir: str | None = Field(
        default=None,
        description="Folder of reasoning methods of your own, Markdown files like those in prompts/methods.",
        json_schema_extra=_on("rate_methods", "initialize_pool"),
    )
    memory: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        pattern=r"^[^.]+$",
        description="Name of the strategy memory, of a user or a project: what earlier runs learned says which "
        "meta-thoughts are tried first, and this run is remembered. It lies in the graph's store. Null: neither.",
        json_schema_extra=_on("initialize_pool", "finalize"),
    )
    memory_seeds: int = Field(
        default=2,
        ge=0,
        le=32,
        description="Remembered meta-thoughts of similar tasks that may enter the pool. (Ours.)",
        json_schema_extra=_on("initialize_pool"),
    )
    review_pool: bool = Field(
        default=False,
        description="Stop once the pool is made, before any sample is drawn, for somebody to look at it and edit it. "
        "Needs a checkpointer.",
        json_schema_extra=_on("review_pool"),
    )
    ask_for_budget: bool = Field(
        default=False,
        description="Stop once the budget is spent, for somebody to grant more samples or none. Needs a checkpointer.",
        json_schema_extra=_on("grant_budget"),
    )
    refine: bool = Field(
        default=False,
        description="Let the bandit also choose to refine one of the best answers with its critique, as one more arm.",
        json_schema_extra=_on("initialize_pool", "select_arm"),
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
        allow_inf_nan=False,
        description="Seconds at work: no round begins at or above it, and a request in flight is cut off there.",
        json_schema_extra=_on("select_arm", "generate", "score"),
    )
    call_timeout: float | None = Field(
        default=600.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that one request may take before it is cancelled, which counts as failed in passing; null "
        "for any time. (600 as in OpenAI's client.)",
        json_schema_extra=_on("generate", "score"),
    )
    max_in_flight: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="Requests to one server that the process may have in flight, of all graphs together; fewer while "
        "the server replies 429. Set where the graph is built. (Ours.)",
        json_schema_extra=_on("generate", "score"),
    )
    stragglers: Literal["hedge", "wait"] = Field(
        default="hedge",
        description="What becomes of a request that takes far longer than others of its kind did: it is sent once more "
        "and the first reply counts ('hedge', ours), or it is waited for ('wait').",
        json_schema_extra=_on("generate", "score"),
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
        description="Retries of a request that failed in passing (429, 5xx, connection lost, too slow). Models "
        "that bring a retry setting of their own, as instances do, keep that instead.",
        json_schema_extra=_on("generate", "score"),
    )
    max_question_chars: int = Field(
        default=100_000,
        ge=1,
        description="Longest conversation accepted, in characters: every sample pays for all of it.",
        json_schema_extra=_on("initialize_pool"),
    )
    reward: Annotated[RewardName, _known("reward", RewardName)] = Field(
        default="judge",
        description="What scores answers: a chat model as 'judge', a 'panel' of them, a judge whose 'critique' is "
        "checked, a 'pairwise' tournament, a 'reward_model', 'agreement' of final answers, or a 'verifier' of yours.",
        json_schema_extra=_on("score"),
    )
    judge_at_once: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Answers that a judge is shown in one request, in random order.",
        json_schema_extra=_on("score"),
    )
    rubric: str | None = Field(
        default=None,
        min_length=1,
        max_length=20_000,
        description="What earns which score from 1 to 10, in the judge's prompt; null is the one that ships.",
        json_schema_extra=_on("score"),
    )
    panel: tuple[PanelMember, ...] = Field(
        default=(),
        max_length=32,
        description="The judges of the reward 'panel'; none are the judge's own model in three wordings. Set where "
        "the graph is built.",
        json_schema_extra=_on("score"),
    )
    reward_model: RewardModelSettings | None = Field(
        default=None,
        description="The model of the reward 'reward_model'. Set where the graph is built.",
        json_schema_extra=_on("score"),
    )
    verifier: str | None = Field(
        default=None,
        pattern=r"^[\w.]+:[\w.]+$",
        description="The function of the reward 'verifier', as 'package.module:function'. Set where the graph is "
        "built.",
        json_schema_extra=_on("score"),
    )
    confirm: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="Fresh judgements that the choice among the finalists may cost; 0 takes the answer of the highest "
        "single score, as the paper does; null is half of the budget. (Ours.)",
        json_schema_extra=_on("finalize"),
    )
    final_choice: Literal["support", "sum", "best"] = Field(
        default="support",
        description="How answers with the same final answer count together, where it is marked: the mean of their "
        "rewards and something for their number ('support', ours), the sum of their rewards ('sum'), or each by "
        "itself ('best', as in the paper).",
        json_schema_extra=_on("finalize"),
    )
    synthesize: bool = Field(
        default=False,
        description="Write one more answer out of the finalists, within the budget; it must win its place like any.",
        json_schema_extra=_on("finalize"),
    )
    stop_on_agreement: float | None = Field(
        default=None,
        gt=0.5,
        lt=1,
        description="Stop once the most frequent final answer is, with this probability, the one that further samples "
        "would also give most often. (Ours: Adaptive-Consistency's rule.)",
        json_schema_extra=_on("score"),
    )
    min_progress: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Stop once one more sample is expected to raise the best reward by less than this: a sample's "
        "price in reward. (Ours.)",
        json_schema_extra=_on("score"),
    )
    answer_kind: Kind = Field(
        default="auto",
        description="What final answers are, where they are compared (self-consistency, agreement, the final choice): "
        "'number', 'choice', 'text', or whichever is marked ('auto').",
        json_schema_extra=_on("tally", "score", "finalize"),
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

    @classmethod
    def from_environment(cls) -> Self:
        """The settings in the variable `METASCALE_SETTINGS`, a JSON object: the defaults of LangGraph's server.

        Raises:
            pydantic.ValidationError: they are not valid.
        """
        return cls.model_validate_json(os.environ.get(ENVIRONMENT_VARIABLE) or "{}")

    @classmethod
    def paper(cls, **changes: Any) -> Self:
        """The paper's way to search (Liu et al. 2026, section 3), as far as it is known.

        A pool of 8, UCB on the mean (`policy="softmax"` is its mini-batch rule), evolution by combining the arms of
        highest UCB, and the answer of the highest single score. What the paper does not say (budget, beta, intervals)
        stays as everywhere else.

        Args:
            changes: any other settings.

        Raises:
            pydantic.ValidationError: a setting is not valid.
        """
        preset: dict[str, Any] = {
            "pool_size": 8,
            "policy": "ucb",
            "evolution": "always",
            "operators": "combine",
            "confirm": 0,
            "final_choice": "best",
            "head_start": 0,
        }
        return cls.model_validate(preset | changes)

    def overlaid_by(self, other: Self) -> Self:
        """These settings with every field that `other` sets explicitly.

        Raises:
            pydantic.ValidationError: the combination is not valid.
        """
        if not other.model_fields_set:
            return self
        chosen = other.model_dump(include=other.model_fields_set)
        return type(self).model_validate(self.model_dump(exclude_unset=True) | chosen)
