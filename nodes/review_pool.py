"""Between the phases 1 and 2, where it is wanted: somebody looks at the pool before the budget is spent."""

from __future__ import annotations

from langgraph.types import Overwrite, interrupt

from metascale.interrupts import AnswerError, PoolQuestion, edited_pool
from metascale.nodes.fresh_run import tell_pool
from metascale.nodes.run import Run, Update
from metascale.question import question_text
from metascale.state import State
from metascale.usage import no_usage


async def review_pool(state: State, run: Run) -> Update:
    """Ask for the pool to be reviewed, until the answer makes sense.

    LangGraph runs this from the top for every answer, so nothing here costs anything: the pool was made, paid for and
    saved before.
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
