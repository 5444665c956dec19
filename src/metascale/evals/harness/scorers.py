"""Scorers: the final answer against the gold one, and Arena-Hard's pairwise judge."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from inspect_ai.model import ChatMessageSystem, ChatMessageUser, Model, get_model
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, mean, scorer, stderr
from inspect_ai.solver import TaskState

from metascale import prompts
from metascale.answers import Kind
from metascale.evals.harness.finals import FinalAnswers, final_answers
from metascale.evals.harness.models import generate_quietly
from metascale.evals.harness.solvers import RECORD
from metascale.evals.report.records import BattleVerdict
from metascale.evals.report.style import style_difference, style_of, verdict_outcome
from metascale.foresight.alignment import alignment
from metascale.records import Alignment, ForesightReport

_VERDICT = re.compile(r"\[\[(A>>B|A>B|A=B|B>A|B>>A)\]\]")
_SWAPPED: dict[str, BattleVerdict] = {"A>>B": "B>>A", "A>B": "B>A", "A=B": "A=B", "B>A": "A>B", "B>>A": "A>>B"}


@scorer(metrics=[accuracy(), stderr()])
def final_answer(kind: Kind = "auto") -> Scorer:
    """Correct if the final answer of the reply is a gold one; a reply without a final answer is incorrect.

    Raises:
        GoldError: while scoring, a gold answer cannot be read.
    """

    async def score(state: TaskState, target: Target) -> Score:
        form = final_answers(kind, state.choices, state.metadata)
        golds = form.golds(target, state.sample_id)
        known = {"foresight": accuracy_of_foresight(state.store.get(RECORD, {}), form, golds)}
        return Score(
            value=CORRECT if form.is_right(state.output.completion, golds) else INCORRECT,
            answer=form.of(state.output.completion),
            explanation=f"gold: {', '.join(sorted(golds))}",
            metadata=known if known["foresight"] else None,
        )

    return score


def accuracy_of_foresight(record: Mapping[str, Any], form: FinalAnswers, golds: frozenset[str]) -> Alignment | None:
    """How well a run's predictions match the gold answers; None without predictions or answers."""
    report: ForesightReport | None = record.get("foresight")
    answers = [
        ("; ".join(c["notions"]), c["output_tokens"], form.is_right(c["text"], golds))
        for c in record.get("candidates", [])
        if c["status"] != "failed"
    ]
    return alignment(report["foresight"], "", answers, "accuracy") if report and answers else None


@scorer(metrics=[accuracy(), stderr()])
def recorded_answer(right: Mapping[str, bool]) -> Scorer:
    """Correct if the record says so for this text; keys join question and answer with a separator line."""

    async def score(state: TaskState, target: Target) -> Score:  # noqa: ARG001
        known = right.get(record_key(state.input_text, state.output.completion))
        return Score(value=CORRECT if known else INCORRECT, answer=state.output.completion[-200:])

    return score


def record_key(question: str, answer: str) -> str:
    """The key of a recorded answer."""
    return f"{question.strip()}\n----\n{answer.strip()}"


@scorer(metrics=[mean(), stderr()])
def arena(
    baseline: Mapping[str, str] | None = None, baseline_model: str | None = None, judge_model: str | None = None
) -> Scorer:
    """The share of two battles won against a baseline's answer, one in each order (Arena-Hard, Li et al. 2024).

    Args:
        baseline: answers by question id; `baseline_model` answers the other questions.
        baseline_model: an Inspect model's name; None for the evaluated model.
        judge_model: an Inspect model's name; None for the model in the role `grader`, or else the evaluated one.
    """
    plain: dict[str, asyncio.Task[str]] = {}

    async def opponent(state: TaskState) -> str:
        name = str(state.sample_id)
        if baseline is not None and name in baseline:
            return baseline[name]
        if name not in plain:
            plain[name] = asyncio.ensure_future(_plain_answer(get_model(baseline_model), state.input_text))
        return await plain[name]

    async def score(state: TaskState, target: Target) -> Score:  # noqa: ARG001
        other = await opponent(state)
        ours = state.output.completion
        judge = get_model(judge_model) if judge_model else get_model(role="grader")
        first, second = await asyncio.gather(
            _verdict(judge, state.input_text, ours, other), _verdict(judge, state.input_text, other, ours)
        )
        verdicts = [first, _SWAPPED[second] if second else None]
        style = style_difference(style_of(ours), style_of(other))
        battles = [
            {"verdict": verdict, "swapped": swapped, "style": list(style)}
            for verdict, swapped in zip(verdicts, (False, True), strict=True)
        ]
        won = [verdict_outcome(verdict)[0] for verdict in verdicts if verdict is not None]
        value = sum(won) / len(won) if won else 0.0
        return Score(value=value, answer=ours[:200], metadata={"battles": battles, "unreadable": 2 - len(won)})

    return score


async def _plain_answer(model: Model, question: str) -> str:
    return (await generate_quietly(model, question)).completion


async def _verdict(judge: Model, question: str, first: str, second: str) -> BattleVerdict | None:
    """The judge's verdict on the first answer, A, against the second, B; None if it gives none or several."""
    tag = prompts.new_tag()
    material = "\n\n".join(
        [
            prompts.fence("request", question, tag),
            prompts.fence("answer_a", first, tag),
            prompts.fence("answer_b", second, tag),
        ]
    )
    system = ChatMessageSystem(content=prompts.render("arena_judge", tag=tag))
    reply = await generate_quietly(judge, [system, ChatMessageUser(content=material)])
    return read_verdict(reply.completion)


def read_verdict(text: str) -> BattleVerdict | None:
    """The verdict in a judgement; None unless there is exactly one."""
    found: set[BattleVerdict] = set(_VERDICT.findall(text))
    return found.pop() if len(found) == 1 else None
