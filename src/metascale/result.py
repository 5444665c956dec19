"""What a run returns: the answer, how it was found, and why the search stopped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from metascale.budget.ledger import looks_made
from metascale.budget.progress import progress, regret
from metascale.choice.automatic import settled
from metascale.choice.ranking import choose, rivals
from metascale.errors import NoAnswerError
from metascale.foresight.alignment import consistency
from metascale.pool.admission import arm_statistics
from metascale.question import question_text
from metascale.records import Bill, Candidate, ForesightReport, Result, Status, StopReason
from metascale.settings import MetaScaleSettings
from metascale.state import State
from metascale.usage import Usage, cached_tokens

_MAY_PASS = re.compile(r"\b(?:429|5\d\d): |Connection error\. \(")
"""What the errors of servers hold that may work again later."""
_BASIS = "the confidence rests on "
"""How the note that says it begins."""


def conclude(state: State, reason: StopReason, settings: MetaScaleSettings, *, is_exact: bool = False) -> Result:
    """The result of a run in its current state.

    Args:
        state: the run so far.
        reason: why the search stops.
        settings: the settings of this run.
        is_exact: whether the rewards are free of noise, so that an answer is right if its reward is 1.

    Raises:
        NoAnswerError: no sample succeeded so far.
    """
    settings = settled(settings, state["candidates"], granted=state["granted"])
    choice = choose(state["candidates"], settings)
    if not choice.ranked:
        is_upstreams = any(candidate["status"] == "failed" for candidate in state["candidates"])
        raise NoAnswerError(_why_nothing(state), is_upstreams=is_upstreams)
    winner = choice.ranked[0]
    is_known = is_exact and winner["reward"] is not None
    saved = settings.budget + state["granted"] - len(state["candidates"]) if reason == "agreement" else 0
    return {
        "answer": winner["text"],
        "reward": winner["reward"],
        "meta_thought": next(t for t in state["pool"] if t["id"] == winner["meta_thought"]),
        "model": winner.get("model", ""),
        "candidate": winner["id"],
        "stop_reason": reason,
        "usage": bill(state["usage"]),
        "rivals": rivals(choice.ranked),
        "finalists": choice.finalists,
        "confidence": float(winner["reward"] == 1) if is_known else choice.confidence,
        "saved": saved,
        "regret": round(regret(arm_statistics(state["pool"], state["candidates"])), 6),
        "progress": progress(state["candidates"]),
        "foresight": _what_was_foreseen(state, winner),
        "notes": [
            *state["notes"],
            *_hopeless(reason),
            *_refused(state),
            *_troubles(state, winner),
            f"{_BASIS}{'an exact reward' if is_known else choice.basis}",
        ],
    }


def basis(result: Result) -> str:
    """What the confidence rests on, in words; empty in results of earlier versions."""
    return next((note.removeprefix(_BASIS) for note in result["notes"] if note.startswith(_BASIS)), "")


def troubles(notes: Sequence[str]) -> list[str]:
    """What went wrong or was replaced in a run: its notes, except the one on the confidence."""
    return [note for note in notes if not note.startswith(_BASIS)]


def _what_was_foreseen(state: State, winner: Candidate) -> ForesightReport | None:
    foresight = state.get("foresight")
    if foresight is None:
        return None
    fit = consistency(foresight, question_text(state["messages"]), state["candidates"], winner)
    return {"foresight": foresight, "alignment": fit}


def _hopeless(reason: StopReason) -> list[str]:
    if reason != "hopeless":
        return []
    return [
        "the model expects to fail at this task and its first answers do not refute that, so the search ended early"
    ]


def _refused(state: State) -> list[str]:
    refusal = state.get("refusal")
    return [f"the run ended early, as no further request can succeed: {refusal}"] if refusal else []


_TROUBLES: dict[Status, tuple[str, str]] = {
    "failed": ("sample failed:", "samples failed:"),
    "ok": ("answer is", "answers are"),
}
_FLAWED = ("answer has a flaw:", "answers have a flaw:")


def _troubles(state: State, winner: Candidate) -> list[str]:
    """Notes on samples, scores and token counts that went wrong."""
    notes = []
    told = state.get("left_out", {})
    troubles = Counter(
        (_TROUBLES.get(c["status"], _FLAWED), c["error"])
        for c in state["candidates"]
        if c["error"] and not (c["status"] == "failed" and c.get("model") in told)
    )
    notes += [f"{count} {words[count > 1]} {error}" for (words, error), count in troubles.most_common(3)]
    if winner["reward"] is None and winner["error"]:
        which = "first complete" if winner["extracted"] is None else "most frequent"
        notes.append(f"nothing was scored, so the {which} answer was chosen")
    looks = looks_made(state["candidates"])
    if None in looks:
        notes.append(f"{looks.count(None)} of {len(looks)} second looks failed")
    if not state["usage"]["input_tokens"]:
        notes.append("the server reported no token usage")
    return notes


def bill(usage: Usage) -> Bill:
    """The bill as results report it: without `until`, and with seconds rounded to milliseconds."""
    return {
        "samples": usage["samples"],
        "calls": usage["calls"],
        "input_tokens": usage["input_tokens"],
        "cached_input_tokens": cached_tokens(usage),
        "output_tokens": usage["output_tokens"],
        "seconds": round(usage["seconds"], 3),
        "cost_usd": usage["cost_usd"],
        "by_node": usage.get("by_node", {}),
        "by_model": usage.get("by_model", {}),
    }


def _why_nothing(state: State) -> str:
    refusal = state.get("refusal")
    if refusal:
        calls = state["usage"]["calls"]
        return f"no answer after {calls} request{'s' * (calls != 1)}, and no further one can succeed: {refusal}"
    problems = Counter(c["error"] for c in state["candidates"])
    if not problems:
        return "no sample was drawn before the run ended"
    error, _ = problems.most_common(1)[0]
    later = "; try again later" if _MAY_PASS.search(error or "") else ""
    return f"none of {len(state['candidates'])} attempts at a sample gave an answer: {error}{later}"
