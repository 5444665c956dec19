"""The end: the best answer, how it was found, and why the search stopped."""

from __future__ import annotations

from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer

from metascale.events import Chosen
from metascale.nodes.fresh_run import samples_anew
from metascale.nodes.remember import remember
from metascale.nodes.run import Run, Update
from metascale.result import bill, conclude
from metascale.state import State
from metascale.usage import add_usage, of_node


async def finalize(state: State, run: Run) -> Update:
    """Choose the answer, report how it was found, and store what was learned in the strategy memory.

    A fork with a larger budget may arrive here with samples left. It returns to the search, as does a run that is
    resumed after all of its samples failed.

    Raises:
        NoAnswerError: no sample succeeded. An error is never an answer.
    """
    ledger = run.ledger(state)
    anew = samples_anew(state, run)
    if anew is not None:
        return anew
    if ledger.stop_reason is None and ledger.may_improve_the_choice:
        return {}
    result = conclude(state, ledger.stop_reason or "step_limit", run.settings, is_exact=run.scorer.is_exact)
    update: Update = {"messages": [AIMessage(result["answer"])], "result": result}
    run.start_work(state)
    notes, embedded = await remember(state, result, run)
    result["notes"] += notes
    if embedded["input_tokens"]:
        result["usage"] = bill(add_usage(state["usage"], of_node(embedded, finalize.__name__)))
        update["usage"] = embedded
    get_stream_writer()(Chosen(event="chosen", result=result))
    return update
