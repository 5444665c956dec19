"""What a run is doing and why it stopped, in a person's words."""

from __future__ import annotations

from collections.abc import Mapping

from metascale.cli.options import counted
from metascale.records import Bill, Result
from metascale.result import basis
from metascale.state import State

PHASES = {
    "foresee": "predicting how answers will turn out",
    "initialize_pool": "preparing meta-thoughts",
    "compose": "writing meta-thoughts",
    "review_pool": "waiting for your review",
    "select_arm": "choosing what to try next",
    "evolve": "breeding new meta-thoughts",
    "grant_budget": "waiting for your answer",
    "synthesize": "writing one answer from the best",
    "confirm": "judging the leaders again",
    "finalize": "choosing the answer",
    "tally": "reading the final answers",
    "vote": "counting the votes",
    "rate_methods": "rating reasoning methods",
    "select_modules": "choosing reasoning modules",
    "adapt_modules": "adapting reasoning modules",
    "compose_plan": "composing a plan",
}
"""What each node does; a node that is not listed is shown by its name."""
STOPPED = {
    "budget": "the budget is spent",
    "target_reward": "an answer reached the target reward",
    "agreement": "the final answers agree",
    "no_progress": "more samples were not expected to help",
    "foreseen": "the question was foreseen to be easy",
    "hopeless": "the question was foreseen to be hopeless",
    "failures": "too many requests failed",
    "step_limit": "the step limit was reached",
    "interrupted": "stopped by Ctrl-C; this is the best answer so far",
}
"""Why a run stopped; a reason that is not listed is a limit of that name."""


def phase(running: Mapping[str, int], state: State) -> str:
    """What a run is doing.

    Args:
        running: the nodes at work, each with how many of it; empty between nodes.
        state: the run so far.
    """
    names = [name for name, count in running.items() if count]
    if not names:
        return "working"
    if "generate" in names:
        planned, missing = len(state["plan"]), running["generate"]
        if planned > missing:
            return f"sampling: {planned - missing} of {counted(planned, 'answer')} came"
        return f"sampling {counted(missing, 'answer')}"
    if "score" in names:
        unscored = sum(c["status"] != "failed" and c["reward"] is None for c in state["candidates"])
        return f"scoring {counted(unscored, 'answer')}"
    return PHASES.get(names[-1], names[-1].replace("_", " "))


def why_stopped(result: Result) -> str:
    """Why a run stopped."""
    reason = result["stop_reason"]
    return STOPPED.get(reason, f"the limit {reason} was reached")


def how_sure(result: Result) -> str:
    """How sure the choice of the answer is."""
    if result["confidence"] is not None:
        rests_on = basis(result)
        return f"{result['confidence']:.0%}{rests_on and f', which rests on {rests_on}'}"
    if result["reward"] is None:
        return "unknown: nothing scored the answer"
    return f"reward {result['reward']:.2f}; nothing was judged twice"


def cost(bill: Bill) -> str:
    """What a run cost."""
    money = [] if not bill["cost_usd"] else [f"${bill['cost_usd']:.4f}"]
    tokens = f"{bill['input_tokens']:,} tokens in and {bill['output_tokens']:,} out"
    counts = [counted(bill["samples"], "sample"), counted(bill["calls"], "call")]
    return ", ".join([*money, *counts, tokens, clock(bill["seconds"])])


def clock(seconds: float) -> str:
    """Seconds as a person reads them: `0.4 s`, `12 s`, `3:05`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 60 else f"{int(seconds) // 60}:{int(seconds) % 60:02}"
