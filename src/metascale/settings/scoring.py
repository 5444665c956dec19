"""Settings of how answers are scored and how the final one is chosen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from metascale.answers import Kind
from metascale.settings.fields import Frozen, Url, known, on
from metascale.stats.reliability import Reliability

RewardName = Literal[
    "auto", "judge", "panel", "critique", "pairwise", "reward_model", "agreement", "p_true", "certainty", "verifier"
]


class PanelMember(Frozen):
    """One judge of a panel."""

    model: str | None = Field(default=None, description="The model's name; null is the model of the reward 'judge'.")
    base_url: Url | None = Field(default=None, description="The OpenAI-compatible server of an 'openai:NAME' model.")
    rubric: str | None = Field(default=None, description="The member's own rubric.")
    reliability: Reliability | None = Field(
        default=None,
        description="How the judge did on labelled answers, as `metascale bench judge --json` reports it; its weight "
        "follows from that. Null gives it the weight of a perfect judge.",
    )


class RewardModelSettings(Frozen):
    """Where a sequence-classification reward model is, and how to ask it."""

    model_config = ConfigDict(protected_namespaces=())

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


class ScoringSettings(Frozen):
    """What an answer is worth, and which one is given."""

    reward: Annotated[RewardName, known("reward", RewardName)] = Field(
        default="auto",
        description="What scores answers. 'auto' draws plain chain of thought and lets votes decide where final "
        "answers can be compared. Elsewhere, or if a setting of the pool, the policy, evolution or verdicts differs "
        "from its default, it searches with a 'judge'. Others: a chat model as 'judge', a 'panel' of them, a judge "
        "whose 'critique' is checked, a 'pairwise' tournament, a 'reward_model', 'agreement' of final answers, "
        "the model's own probability that the answer is correct ('p_true'), the probabilities of its tokens "
        "('certainty'), or your own 'verifier'.",
        json_schema_extra=on("score"),
    )
    judge_at_once: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Answers that a judge is shown in one request, in random order.",
        json_schema_extra=on("score"),
    )
    expected_score: bool = Field(
        default=False,
        description="Value an answer by the score that a judge is expected to give, over the probabilities of the "
        "score's token, where its server tells them. Where nothing reads critiques, because evolution, refinement and "
        "synthesis are off, the judge then writes none.",
        json_schema_extra=on("score"),
    )
    rubric: str | None = Field(
        default=None,
        min_length=1,
        max_length=20_000,
        description="What earns which score from 1 to 10, in the judge's prompt; null is the built-in rubric.",
        json_schema_extra=on("score"),
    )
    panel: tuple[PanelMember, ...] = Field(
        default=(),
        max_length=32,
        description="The judges of the reward 'panel'; an empty list is the judge's own model in three wordings. Set "
        "where the graph is built.",
        json_schema_extra=on("score"),
    )
    reward_model: RewardModelSettings | None = Field(
        default=None,
        description="The model of the reward 'reward_model'. Set where the graph is built.",
        json_schema_extra=on("score"),
    )
    verifier: str | None = Field(
        default=None,
        pattern=r"^[\w.]+:[\w.]+$",
        description="The function of the reward 'verifier', as 'package.module:function'. Set where the graph is "
        "built.",
        json_schema_extra=on("score"),
    )
    answer_kind: Kind = Field(
        default="auto",
        description="What final answers are, where they are compared (self-consistency, agreement, the final choice): "
        "'number', 'choice', 'text', or whichever is marked ('auto').",
        json_schema_extra=on("tally", "score", "finalize"),
    )
    confirm: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="Fresh judgements that the choice among the finalists may cost; 0 takes the answer of the highest "
        "single score, as the paper does; null is half of the budget.",
        json_schema_extra=on("confirm", "finalize"),
    )
    synthesize: bool = Field(
        default=False,
        description="Write one more answer out of the finalists, within the budget; it has to win like any other.",
        json_schema_extra=on("synthesize"),
    )
    final_choice: Literal["support", "sum", "best"] = Field(
        default="support",
        description="How answers with the same marked final answer count together: by the probability that it is "
        "right, from votes and rewards ('support'), by the sum of their rewards ('sum'), or each alone ('best', as the "
        "paper).",
        json_schema_extra=on("confirm", "synthesize", "finalize"),
    )
    weigh_votes: bool = Field(
        default=False,
        description="Ask for token probabilities, and weigh each answer's support by how sure the model was of it. It "
        "costs no request. Servers that give no probabilities leave all votes equal.",
        json_schema_extra=on("generate", "vote", "confirm", "synthesize", "finalize"),
    )
