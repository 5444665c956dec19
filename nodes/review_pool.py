"""Between phases 1 and 2: a person may review the pool before any sample is drawn."""

from __future__ import annotations

from langgraph.types import Overwrite, interrupt

from metascale.interrupts import AnswerError, PoolQuestion, edited_pool
from metascale.nodes.fresh_run import tell_pool
from metascale.nodes.run import Run, Update
from metascale.question import question_text
from metascale.state import State
from metascale.usage import no_usage


async def review_pool(state: State, run: Run) -> Update:
    """Ask a person to review the pool, until the answer is valid.

    LangGraph runs this node from its start for every answer, so it must not call a model. The pool is already
    checkpointed.
    """
    asked: PoolQuestion = {
        "asks": "review_pool",
        "question": question_text(state["messages"]),
        "pool": [
            {key: thought[key] for key in ("id", "mindset", "strategy", "origin")}  # type: ignore[misc]
            for thought in state["pool"]
        ],
        "problem": None,
    }
    while True:
        answer = interrupt(asked)
        try:
            pool = edited_pool(state["pool"], answer, run.settings)
        except AnswerError as error:
            asked = {**asked, "problem": str(error)}
        else:
            break
    tell_pool(pool, no_usage())
    return {"pool": Overwrite(pool)}
