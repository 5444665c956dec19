"""Which prompts and completions are exported: MASA's gates and cut-off, and plain limits."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median, pstdev
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from metascale.errors import SettingError
from metascale.training.rollouts import Answer, Measured, Rollout

Form = Literal["grpo", "sft", "dpo"]
What = Literal["answers", "predictions"]
Gate = Literal["zero_variance", "predictive"]


class Selection(BaseModel):
    """What to export, and the filters on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Form
    """The trainer that reads the rows."""
    what: What = "answers"
    """The completions: answers to questions, or predictions of a model about its own answers."""
    gates: frozenset[Gate] = frozenset()
    """Which prompts to drop: `zero_variance`, those whose answers all earned the same; `predictive`, those that the
    model confidently predicted to be easy or hopeless."""
    sigma: float = Field(0.1, ge=0, le=1)
    """Predictive gate: predicted pass rates with a smaller standard deviation are confident. The paper does not publish
    its value."""
    near: float = Field(0.1, ge=0, le=0.5)
    """Predictive gate: how close to 0 or 1 the mean prediction must be. The paper does not publish its value."""
    good_reward: float | None = Field(None, ge=0, le=1)
    """If gold is unknown: the lowest reward of a good answer. None: no answer counts as good."""
    min_reward: float | None = Field(None, ge=0, le=1)
    """SFT: the lowest reward of an answer, and the lowest notion score of a prediction (0.2 in MASA's code)."""
    max_length: int | None = Field(None, ge=1)
    """The longest answer, in tokens."""
    cutoff: float | None = Field(None, gt=0)
    """MASA's cut-off: the longest answer, as a multiple of the median predicted length. Without predictions it has no
    effect."""
    margin: float = Field(0.2, gt=0, le=1)
    """DPO: how much better the chosen completion must be than the rejected one."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min_reward is not None and self.format != "sft":
            raise SettingError("--min-reward needs the format 'sft'")
        if self.what == "predictions" and (self.max_length is not None or self.cutoff is not None):
            raise SettingError("--max-length and --cutoff limit answers, not predictions")
        return self

    def gate(self, run: Rollout, found: Measured | None) -> Gate | None:
        """The gate that stops a prompt, or None."""
        if "zero_variance" in self.gates and is_settled(run.answers, found):
            return "zero_variance"
        if "predictive" in self.gates and is_foreseen([p["pass_rate"] for p in run.predictions], self.sigma, self.near):
            return "predictive"
        return None

    def flaw(self, answer: Answer, run: Rollout) -> str | None:
        """Why an answer is not exported, or None."""
        if answer.status != "ok":
            return "not_whole"
        length = answer.length or 0
        if self.max_length is not None and length > self.max_length:
            return "max_length"
        predicted = [prediction["length"] for prediction in run.predictions]
        if self.cutoff is not None and predicted and length > self.cutoff * median(predicted):
            return "cutoff"
        return None


def is_settled(answers: Sequence[Answer], found: Measured | None) -> bool:
    """Whether all answers earned the same, so that GRPO's advantage is 0 for each.

    Answers earn good or bad if that is known, else their rewards, compared within each run.
    """
    if found is not None:
        return not found.good or not found.bad
    rewards: dict[int, set[float]] = {}
    for answer in answers:
        if answer.reward is not None:
            rewards.setdefault(answer.run, set()).add(answer.reward)
    return all(len(earned) == 1 for earned in rewards.values())


def is_foreseen(pass_rates: Sequence[float], sigma: float, near: float) -> bool:
    """MASA's predictive gate: whether the predictions agree that all answers are right, or that none is.

    Args:
        pass_rates: predictions in [0, 1]; fewer than two never agree.
        sigma: their population standard deviation must be below it.
        near: their mean must be at most this far from 0 or 1.
    """
    if len(pass_rates) < 2:
        return False
    mean = fmean(pass_rates)
    return pstdev(pass_rates) < sigma and min(mean, 1 - mean) <= near
