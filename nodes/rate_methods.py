"""Meta-Reasoning Prompting: the model rates reasoning methods for the task, and the best one is applied."""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.messages import SystemMessage

from metascale import prompts
from metascale.errors import ModelCallError
from metascale.nodes.fresh_run import fresh_run, tell_pool
from metascale.nodes.run import PREPARATION, Run, Update
from metascale.pool.arms import fixed_arm, method_arm
from metascale.pool.methods import ReasoningMethod
from metascale.pool.ratings import Ratings, usable_ratings
from metascale.question import check_question, shown, task_of
from metascale.records import Rating
from metascale.state import State
from metascale.usage import Usage, add_usage, no_usage, working_since


class MetaReasoningState(State):
    """The state of a run that rates reasoning methods."""

    ratings: list[Rating]
    """Ratings of all methods, best first; empty if they could not be read."""


async def rate_methods(state: State, run: Run) -> Update:
    """Start a fresh run, and rate all methods for the task in one request.

    Raises:
        QuestionError: the conversation does not end with a question, or is too long.
    """
    started = run.start_work(None, share=PREPARATION)
    check_question(state["messages"], run.settings.max_question_chars)
    ratings, notes, usage = await ask_ratings(task_of(state["messages"]), run.rated_methods, run)
    if not ratings:
        notes.append("no method could be chosen, so the run uses plain chain of thought")
    update = fresh_run([], add_usage(usage, working_since(started)), notes)
    return {**update, "ratings": ratings}


async def apply_method(state: MetaReasoningState, run: Run) -> Update:
    """Make the best-rated method the only arm of this run; without ratings, plain chain of thought."""
    best = state["ratings"][0]["method"] if state["ratings"] else None
    arm = method_arm(run.rated_methods[best]) if best else fixed_arm("chain_of_thought")
    tell_pool([arm], no_usage())
    return {"pool": [arm]}


async def ask_ratings(
    task: str, methods: Mapping[str, ReasoningMethod], run: Run
) -> tuple[list[Rating], list[str], Usage]:
    """Ask the model to rate reasoning methods for a task.

    Returns:
        The ratings, best first (empty if the request failed), notes on what went wrong, and the bill.
    """
    tag = prompts.new_tag()
    listed = "\n".join(method.listed for method in methods.values())
    material = prompts.fence("task", task, tag)
    messages = [SystemMessage(prompts.render("rate_methods", methods=listed, tag=tag)), shown(material, task)]
    try:
        reading = await run.think(messages, Ratings, place=["rate_methods"], untrusted=material)
    except ModelCallError as error:
        return [], [f"no reasoning method was rated: {error}"], error.usage
    if reading.value is None:
        return [], [f"no reasoning method was rated: {reading.problem}"], reading.usage
    ratings = usable_ratings(reading.value, methods)
    missing = len(methods) - len(ratings)
    notes = [f"{missing} of {len(methods)} methods were not rated"] if missing else []
    return ratings, notes, reading.usage
