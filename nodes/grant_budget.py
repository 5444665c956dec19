"""After the budget: a person may grant more samples or dollars, and a finished run may continue with more."""

from __future__ import annotations

from typing import Literal

from langchain_core.messages import RemoveMessage
from langgraph.config import get_stream_writer
from langgraph.types import Overwrite, interrupt

from metascale.choice.ranking import ranking
from metascale.errors import ThreadError
from metascale.events import Granted
from metascale.interrupts import AnswerError, BudgetQuestion, Grant, granted_by
from metascale.nodes.remember import unremember
from metascale.nodes.run import Run, Update
from metascale.pool.arms import SYNTHESIS
from metascale.question import question_text
from metascale.result import bill
from metascale.state import State


async def grant_budget(state: State, run: Run) -> Update:
    """Ask a person how many more samples to draw or dollars to spend, or continue a finished run that was granted some.

    Raises:
        ThreadError: samples were granted to a thread without a finished run.
    """
    if not state.get("pool"):
        raise ThreadError("samples were granted, but this thread has no run to continue; ask it a question first")
    if state["result"] is not None:
        return await _reopened(state, run)
    spent = run.ledger(state).grant_wanted
    more = _asked(state, run, spent) if spent is not None else Grant()
    samples, usd = state["granted"] + more.samples, state.get("granted_usd", 0.0) + more.usd
    get_stream_writer()(Granted(event="granted", samples=samples, usd=usd))
    return {"granted": more.samples, "granted_usd": more.usd}


def _asked(state: State, run: Run, spent: Literal["budget", "max_cost_usd"]) -> Grant:
    limits = run.ledger(state).limits
    money = limits.max_cost_usd
    best = next(iter(ranking(state["candidates"])), None)
    asked: BudgetQuestion = {
        "asks": "grant_budget",
        "question": question_text(state["messages"]),
        "answer": best and best["text"],
        "reward": best and best["reward"],
        "meta_thought": best and best["meta_thought"],
        "stop_reason": spent,
        "budget": limits.budget,
        "max_cost_usd": None if money is None else money + state.get("granted_usd", 0.0),
        "usage": bill(state["usage"]),
        "problem": None,
    }
    while True:
        answer = interrupt(asked)
        try:
            return granted_by(answer, spent)
        except AnswerError as error:
            asked = {**asked, "problem": str(error)}


async def _reopened(state: State, run: Run) -> Update:
    """Withdraw the run's answer, so that the search continues and chooses again at its end.

    Raises:
        ThreadError: the conversation continued after the run's answer.
    """
    last, result = state["messages"][-1], state["result"]
    if result is None or last.type != "ai" or last.text != result["answer"]:
        raise ThreadError(
            "samples were granted, but the conversation does not end with the answer of a run; more samples can only "
            "continue the latest run"
        )
    messages = state["messages"][:-1]
    reopened: State = {
        **state,
        "messages": messages,
        "refusal": "",
        "left_out": {},
        "result": None,
        "reopened_at": len(state["candidates"]),
    }
    notes = await unremember(reopened, result, run)
    reason = run.ledger(reopened).stop_reason
    if reason is not None:
        notes.append(f"more samples were granted, but {reason!r} still ends the search")
    usd = state.get("granted_usd", 0.0)
    get_stream_writer()(Granted(event="granted", samples=state["granted"], usd=usd))
    return {
        "messages": [RemoveMessage(id=str(last.id))],
        "refusal": Overwrite(""),
        "left_out": Overwrite({}),
        "result": None,
        "reopened_at": len(state["candidates"]),
        "pool": [{"id": t["id"], "retired": True} for t in state["pool"] if t["id"] == SYNTHESIS],
        "notes": notes,
    }
