"""What a batch gives: a row for every question, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from typing_extensions import TypedDict

from metascale.batches.questions import Asked
from metascale.records import Bill, Result
from metascale.result import bill
from metascale.state import State


class Arm(TypedDict):
    """The meta-thought that an answer was sampled under, and the model that wrote it."""

    id: str
    mindset: str
    strategy: str
    model: str


class Answer(TypedDict):
    """The row of one question."""

    id: str | int
    """Its id in the file; its number from 1 where the file has none."""
    question: str
    answer: str | None
    """Null where the question failed or was not asked."""
    confidence: float | None
    """As in `Result`."""
    reward: float | None
    """As in `Result`."""
    arm: Arm | None
    """The meta-thought and the model of the answer."""
    cost_usd: float | None
    """US dollars; null if any price is unknown."""
    calls: int
    """Model requests of every kind."""
    samples: int
    """Answers generated."""
    usage: Bill | None
    """The whole bill; null where the question was not asked."""
    stop_reason: str | None
    """Why its search stopped."""
    notes: list[str]
    """What went wrong on the way."""
    error: str | None
    """Why there is no answer; null with one. The question is asked again when the batch is repeated."""


@dataclass(frozen=True)
class Progress:
    """How far a batch is.

    Attributes:
        questions: all of them.
        answered: with an answer.
        failed: without one, because requests failed.
        samples: drawn for all questions, those of earlier commands included.
        calls: requests, likewise.
        cost_usd: US dollars that count towards the limit, likewise.
        seconds: since the batch began to work, in this process.
    """

    questions: int
    answered: int
    failed: int
    samples: int
    calls: int
    cost_usd: float
    seconds: float


def row_of(asked: Asked, state: State | None, problem: str | None, notes: list[str]) -> Answer:
    """The row of a question.

    Args:
        asked: the question.
        state: how its run ended; None if it was not asked.
        problem: why there is no answer; None with one.
        notes: about the servers that it ran on.
    """
    result = state["result"] if state is not None and problem is None else None
    usage = bill(state["usage"]) if state is not None and state["usage"] else None
    arm = _arm_of(result) if result else None
    said: list[Any] = [*(result["notes"] if result else state["notes"] if state else []), *notes]
    return {
        "id": asked.id,
        "question": asked.text,
        "answer": result["answer"] if result else None,
        "confidence": result["confidence"] if result else None,
        "reward": result["reward"] if result else None,
        "arm": arm,
        "cost_usd": usage["cost_usd"] if usage else None,
        "calls": usage["calls"] if usage else 0,
        "samples": usage["samples"] if usage else 0,
        "usage": usage,
        "stop_reason": result["stop_reason"] if result else None,
        "notes": said,
        "error": problem,
    }


def _arm_of(result: Result) -> Arm:
    thought = result["meta_thought"]
    return {
        "id": thought["id"],
        "mindset": thought["mindset"],
        "strategy": thought["strategy"],
        "model": result.get("model", ""),
    }
