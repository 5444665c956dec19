"""A judge whose critique is checked, claim by claim, before evolution uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import SystemMessage
from pydantic import BaseModel, ConfigDict, Field

from metascale import prompts
from metascale.models import MeteredModel
from metascale.question import shown
from metascale.rewards.base import Score
from metascale.rewards.judge import JudgeReward, ask_twice, together
from metascale.settings import MetaScaleSettings
from metascale.usage import add_usage

CLAIM_CHARS, MOST_CLAIMS = 500, 20
"""Bounds that a grammar keeps; more is read nevertheless. Ours: a critique of six sentences makes no more claims."""


class Claim(BaseModel):
    """One claim of a critique, checked."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    claim: str = Field(
        description="One statement of the critique that can be true or false by itself.",
        examples=["Step 3 adds the tax twice.", "The total is not stated."],
        json_schema_extra={"maxLength": CLAIM_CHARS},
    )
    verdict: Literal["supported", "refuted", "unclear"] = Field(description="What the check found.")


class CheckedCritique(BaseModel):
    """The claims of a critique, each checked against the question and the answer."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    claims: list[Claim] = Field(
        description="All claims of the critique, in its order.", json_schema_extra={"maxItems": MOST_CLAIMS}
    )


class CritiqueReward(JudgeReward):
    """Judges as `JudgeReward` does; then one more request for each answer checks the critique.

    After MetaCritique (Sun et al. 2024, arXiv 2401.04518), which splits a critique into atomic information units and
    measures its precision, the share of them that is factual. Here the supported claims, in their order, become the
    critique that evolution reads, and the others are dropped. If no claim is left, or the check fails, there is no
    critique; the score stays in any case. Second looks are not checked, because their critiques are not used.
    """

    checks_critiques = True

    def __init__(self, model: BaseChatModel | MeteredModel | str, *, rubric: str | None = None) -> None:
        """Judge and check with `model`; see `JudgeReward`."""
        super().__init__(model, rubric=rubric)

    def calls(self, new: int, earlier: int = 0) -> int:
        """As in `Reward`: the judge's requests, and one check for each answer."""
        return super().calls(new, earlier) + new

    async def score(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
    ) -> list[Score]:
        """Score the answers and check the critiques; see `Reward.score`."""
        scores = await super().score(question, answers, settings, place=place)
        return await together(
            self._checked(question, answer, score, settings, [*place, "check", index])
            for index, (answer, score) in enumerate(zip(answers, scores, strict=True))
        )

    async def _checked(
        self, question: str, answer: str, score: Score, settings: MetaScaleSettings, place: Sequence[int | str]
    ) -> Score:
        if score.critique is None:
            return score
        tag = prompts.tag_for(question, answer, score.critique)
        parts = {"question": question, "answer": answer, "critique": score.critique}
        material = "\n\n".join(prompts.fence(label, text, tag) for label, text in parts.items())
        messages = [SystemMessage(prompts.render("check_critique", tag=tag)), shown(material, question)]
        checked, _, usage = await ask_twice(self.model, messages, CheckedCritique, settings, place, untrusted=material)
        kept = [claim.claim for claim in checked.claims if claim.verdict == "supported"] if checked else []
        return replace(score, critique=" ".join(kept) or None, usage=add_usage(score.usage, usage))
