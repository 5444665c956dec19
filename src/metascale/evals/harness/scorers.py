"""Scorers of final answers: against the gold one, and by a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState

from metascale.answers import Kind
from metascale.evals.harness.finals import FinalAnswers, final_answers
from metascale.evals.harness.solvers import RECORD
from metascale.foresight.alignment import alignment
from metascale.records import Alignment, ForesightReport


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
    """Correct if the record says so for this text; keys join question and answer with a separator line.

    A new text is correct if its final answer is the record's gold answer.

    Raises:
        GoldError: while scoring, the text is new, and the record has no gold answer that can be read.
    """

    async def score(state: TaskState, target: Target) -> Score:
        text = state.output.completion
        known = right.get(record_key(state.input_text, text))
        if known is None and text:
            form = final_answers("auto", None, {})
            known = form.is_right(text, form.golds([gold for gold in target if gold], state.sample_id))
        return Score(value=CORRECT if known else INCORRECT, answer=text[-200:])

    return score


def record_key(question: str, answer: str) -> str:
    """The key of a recorded answer."""
    return f"{question.strip()}\n----\n{answer.strip()}"
