"""The end: the highest-reward answer, and why the search stopped."""

from __future__ import annotations

from collections import Counter

from langchain_core.messages import AIMessage

from metascale.choice import ranking, rivals
from metascale.errors import NoAnswerError
from metascale.nodes.components import Components, Update
from metascale.state import Bill, Candidate, Result, State, StopReason
from metascale.usage import Usage


async def finalize(state: State, components: Components) -> Update:
    """Choose the answer and report how it was found.

    Raises:
        NoAnswerError: no sample succeeded; an error is never an answer.
    """
    result = conclude(state, components.stop_reason(state) or "step_limit")
    return {"messages": [AIMessage(result["answer"])], "result": result}


def conclude(state: State, reason: StopReason) -> Result:
    """The result of a run as it stands.

    Raises:
        NoAnswerError: no sample succeeded so far.
    """
    ranked = ranking(state["candidates"])
    if not ranked:
        raise NoAnswerError(_why_nothing(state))
    winner = ranked[0]
    notes = list(state["notes"])
    troubles = Counter((c["status"] == "failed", c["error"]) for c in state["candidates"] if _is_trouble(c))
    for (failed, error), count in troubles.most_common(3):
        notes.append(f"{count} samples failed: {error}" if failed else f"{count} answers are {error}")
    if winner["reward"] is None and winner["error"]:
        notes.append("nothing was scored; the answer is the first whole sample")
    if not state["usage"]["input_tokens"]:
        notes.append("the server reported no token usage")
    return {
        "answer": winner["text"],
        "reward": winner["reward"],
        "meta_thought": next(t for t in state["pool"] if t["id"] == winner["meta_thought"]),
        "candidate": winner["id"],
        "stop_reason": reason,
        "usage": bill(state["usage"]),
        "rivals": rivals(ranked),
        "finalists": [],
        "confidence": None,
        "notes": notes,
    }


def _is_trouble(candidate: Candidate) -> bool:
    """Whether a sample failed, or was a whole answer that nobody could score."""
    return candidate["status"] == "failed" or (candidate["status"] == "ok" and candidate["error"] is not None)


def bill(usage: Usage) -> Bill:
    """The bill without the bookkeeping of time."""
    return {
        "samples": usage["samples"],
        "calls": usage["calls"],
        "input_tokens": usage["input_tokens"],
        "output_tokens": usage["output_tokens"],
        "seconds": round(usage["seconds"], 3),
        "cost_usd": usage["cost_usd"],
    }


def _why_nothing(state: State) -> str:
    problems = Counter(c["error"] for c in state["candidates"])
    if not problems:
        return "no sample was drawn"
    error, _ = problems.most_common(1)[0]
    return f"none of {len(state['candidates'])} samples gave an answer: {error}"
