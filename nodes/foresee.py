"""Before the search: the model predicts how its answers will turn out (MASA, arXiv 2510.03259, untrained)."""

from __future__ import annotations

from langchain_core.messages import SystemMessage
from langgraph.config import get_stream_writer

from metascale import prompts
from metascale.budget.allowance import predictions_allowed
from metascale.events import Foreseen
from metascale.foresight.prediction import Predicted, foresight_of, prediction_of
from metascale.models import ask_several
from metascale.nodes.fresh_run import fresh_run
from metascale.nodes.run import PREPARATION, Run, Update
from metascale.question import check_question, shown, task_of
from metascale.state import State
from metascale.usage import add_usage, no_usage, working_since


async def foresee(state: State, run: Run) -> Update:
    """Start a fresh run with predictions of the pass rate, the answer length and the notions that are needed.

    Failed predictions are left out, and a note says so. If all fail, the run continues without foresight.

    Raises:
        QuestionError: the conversation does not end with a question, or is too long.
    """
    started = run.start_work(None, share=PREPARATION)
    settings = run.settings
    run.check_resumable()
    check_question(state["messages"], settings.max_question_chars)
    wanted = predictions_allowed(settings.predictions, settings.max_calls)
    if wanted == 0:
        return fresh_run([], no_usage(), ["nothing was foreseen: max_calls is too low to pay for predictions"])
    task = task_of(state["messages"])
    tag = prompts.new_tag()
    material = prompts.fence("task", task, tag)
    messages = [SystemMessage(prompts.render("foresee", tag=tag)), shown(material, task)]
    found = await ask_several(
        run.foreseer, messages, Predicted, settings, wanted, place=["foresee"], untrusted=material
    )
    predictions = [prediction_of(said, task) for said in found.values]
    notes = []
    if found.problems:
        what = f"{len(found.problems)} of {wanted} predictions failed" if predictions else "nothing was foreseen"
        notes.append(f"{what}: {found.problems[0]}")
    foresight = foresight_of(predictions) if predictions else None
    update = fresh_run([], add_usage(found.usage, working_since(started)), notes, foresight)
    get_stream_writer()(Foreseen(event="foreseen", foresight=foresight))
    return update
