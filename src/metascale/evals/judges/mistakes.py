"""Measures whether a chat model finds the first mistake in a chain of thought and explains it.

The method is that of MR-GSM8K (Zeng et al. 2023, arXiv 2312.17080).
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables.utils import gather_with_concurrency
from pydantic import BaseModel, ConfigDict, Field

from metascale import prompts
from metascale.data import Chain
from metascale.evals.judges.statistics import matthews
from metascale.evals.statistics import Interval, wilson
from metascale.models import MeteredModel
from metascale.rewards.judge import ask_twice
from metascale.settings import MetaScaleSettings
from metascale.usage import Usage, add_usage, no_usage

AT_ONCE = 16
"""Requests to a judge in flight: few enough for local servers."""
WEIGHTS = (0.2, 0.3, 0.5)
"""MR-GSM8K's weights of Matthews' correlation, right steps and right reasons in its combined score."""


MOST_STEPS = 1_000_000
"""The most steps of a chain: far more than any has, and safe to store."""


class MistakeFound(BaseModel):
    """A checker's reply about a chain of reasoning."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    analysis: str = Field(description="The steps checked in order, before anything is decided.")
    right: bool = Field(description="Whether the whole chain is right.")
    step: int | None = Field(
        ge=-1, le=MOST_STEPS, description="The number of the first wrong step, counted from 1; null if none is."
    )
    reason: str = Field(description="What is wrong with that step and what it should say; empty if none is.")


class ReasonGrade(BaseModel):
    """A grader's reply about an explanation of a mistake."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    analysis: str = Field(description="What is wrong with the step, and how the explanation compares.")
    right: bool = Field(description="Whether the explanation names the actual error and states nothing false.")


class MistakesTrial(BaseModel):
    """How well mistakes were found. An unreadable reply counts as a missed mistake; the correlation leaves it out."""

    model_config = ConfigDict(frozen=True)

    chains: int = Field(description="Judged chains.")
    wrong: int = Field(description="Judged chains with a mistake.")
    unread: int = Field(description="Replies that failed or could not be read.")
    mcc: float | None = Field(
        description="Matthews' correlation of right and wrong, in [-1, 1]; null if no reply was read."
    )
    step: float | None = Field(description="ACC_step: share of wrong chains with the right first wrong step.")
    step_interval: Interval | None = Field(description="Wilson's 95 % interval of `step`.")
    reason: float | None = Field(
        description="ACC_reason: share of wrong chains with the right step and a right reason; null if not graded."
    )
    ungraded: int = Field(description="Reasons without a readable grade; they count as wrong.")
    score: float | None = Field(description="0.2 max(0, MCC) + 0.3 ACC_step + 0.5 ACC_reason; null without ACC_reason.")


def numbered(chain: Chain) -> str:
    """The steps of a chain for a judge, one paragraph each, numbered from 1."""
    return "\n".join(f"{number}. {step}" for number, step in enumerate(chain.steps, 1))


async def find_mistakes(
    model: MeteredModel,
    chains: Sequence[Chain],
    settings: MetaScaleSettings,
    *,
    reason_judge: MeteredModel | None = None,
) -> tuple[MistakesTrial, Usage, list[str]]:
    """Ask a model for the first mistake of each chain.

    Args:
        model: the judge on trial.
        chains: at least one.
        settings: of which seed, retries and prices apply.
        reason_judge: grades the reasons; None for no grades and no combined score.

    Returns:
        The result, its usage, and the reasons of missing replies.
    """
    asked = await gather_with_concurrency(
        AT_ONCE, *(_find(model, chain, settings, index) for index, chain in enumerate(chains))
    )
    usage, problems = no_usage(), [problem for _, problem, _ in asked if problem]
    for _, _, bill in asked:
        usage = add_usage(usage, bill)
    replies = [reply for reply, _, _ in asked]
    read = [(reply, chain) for reply, chain in zip(replies, chains, strict=True) if reply is not None]
    located = [(reply, chain) for reply, chain in read if _is_located(reply, chain)]
    wrong = sum(chain.mistake_index is not None for chain in chains)
    explained, ungraded = None, 0
    if reason_judge is not None and read:
        graded = await gather_with_concurrency(
            AT_ONCE,
            *(_grade(reason_judge, reply, chain, settings, index) for index, (reply, chain) in enumerate(located)),
        )
        for _, problem, bill in graded:
            usage = add_usage(usage, bill)
            problems += [problem] if problem else []
        explained = sum(grade is not None and grade.right for grade, _, _ in graded)
        ungraded = sum(grade is None for grade, _, _ in graded)
    mcc = matthews([reply.right for reply, _ in read], [chain.mistake_index is None for _, chain in read])
    step = len(located) / wrong if wrong and read else None
    reason = explained / wrong if wrong and explained is not None else None
    found = MistakesTrial(
        chains=len(chains),
        wrong=wrong,
        unread=len(chains) - len(read),
        mcc=mcc if read else None,
        step=step,
        step_interval=wilson(len(located), wrong) if step is not None else None,
        reason=reason,
        ungraded=ungraded,
        score=None if step is None or reason is None else combined_score(mcc, step, reason),
    )
    return found, usage, problems


def combined_score(mcc: float, step: float, reason: float) -> float:
    """The MR-Score of MR-GSM8K, in [0, 1].

    Args:
        mcc: in [-1, 1].
        step: ACC_step, in [0, 1].
        reason: ACC_reason, in [0, 1].
    """
    return WEIGHTS[0] * max(0.0, mcc) + WEIGHTS[1] * step + WEIGHTS[2] * reason


def _is_located(reply: MistakeFound, chain: Chain) -> bool:
    return chain.mistake_index is not None and not reply.right and reply.step == chain.mistake_index + 1


async def _find(
    model: MeteredModel, chain: Chain, settings: MetaScaleSettings, index: int
) -> tuple[MistakeFound | None, str | None, Usage]:
    tag = prompts.new_tag()
    material = "\n\n".join([prompts.fence("task", chain.question, tag), prompts.fence("steps", numbered(chain), tag)])
    messages = [SystemMessage(prompts.render("find_mistake", tag=tag)), HumanMessage(material)]
    return await ask_twice(model, messages, MistakeFound, settings, ["mistake", index], untrusted=material)


async def _grade(
    model: MeteredModel, reply: MistakeFound, chain: Chain, settings: MetaScaleSettings, index: int
) -> tuple[ReasonGrade | None, str | None, Usage]:
    tag = prompts.new_tag()
    shown = {"task": chain.question, "steps": numbered(chain), "explanation": reply.reason}
    material = "\n\n".join(prompts.fence(label, text, tag) for label, text in shown.items())
    messages = [SystemMessage(prompts.render("grade_reason", step=reply.step, tag=tag)), HumanMessage(material)]
    return await ask_twice(model, messages, ReasonGrade, settings, ["reason", index], untrusted=material)
