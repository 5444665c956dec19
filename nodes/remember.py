"""Strategy memory: read before a run, written after it."""

from __future__ import annotations

from metascale.errors import describe
from metascale.memory.store import key_of_run, records_of, worth_keeping
from metascale.nodes.run import Run
from metascale.pool.admission import arm_statistics
from metascale.pool.beliefs import Beliefs, Kept, key_of
from metascale.pool.parts import ArmKey
from metascale.question import question_text
from metascale.records import Origin, Result
from metascale.state import State
from metascale.usage import Usage, no_usage


async def recall(task: str, run: Run) -> tuple[Beliefs, list[tuple[Kept, Origin]], list[str], Usage]:
    """Read the strategy memory.

    If that fails, the run continues without it.

    Returns:
        The priors from earlier runs, the meta-thoughts that did well in them, notes on what went wrong, and
        the bill of the embedder.

    Raises:
        SettingError: the setting `memory` names a memory, but the graph has no store.
    """
    memory, settings, usage = run.memory, run.settings, no_usage()
    if memory is None:
        return Beliefs(), [], [], usage
    try:
        usage = run.paid_embedding(task)
        found = await memory.recall(
            task, budget=settings.budget, at_most=settings.memory_seeds, models=run.parts.labels
        )
    except Exception as error:  # noqa: BLE001  stores and embeddings are the user's code: the run continues without
        return Beliefs(), [], [f"could not read the strategy memory: {describe(error)}"], usage
    return found.beliefs, [(kept, "remembered") for kept in found.kept], [], usage


async def remember(state: State, result: Result, run: Run) -> tuple[list[str], Usage]:
    """Store what this run learned; returns notes on what went wrong, and the bill of the embedder."""
    memory, usage = run.memory, no_usage()
    if memory is None:
        return [], usage
    members = arm_statistics(state["pool"], state["candidates"])
    records, names = records_of(state["pool"], members, state["candidates"])
    winner = _winner(result)
    names.setdefault(winner, result["meta_thought"]["id"])
    kept = worth_keeping(state["pool"], members, state["candidates"])
    question = question_text(state["messages"])
    try:
        usage = run.paid_embedding(question)
        await memory.remember(question, records, names=names, winner=winner, kept=kept)
    except Exception as error:  # noqa: BLE001  the run has its answer, whatever the user's store does
        return [f"could not write to the strategy memory: {describe(error)}"], usage
    return [], usage


async def unremember(state: State, result: Result, run: Run) -> list[str]:
    """Remove what a finished run stored, because it continues; returns notes on what went wrong."""
    memory = run.memory
    if memory is None:
        return []
    try:
        await memory.forget(remembered_as(state, result))
    except Exception as error:  # noqa: BLE001  as above
        return [f"this run counts twice in the strategy memory, which could not be changed: {describe(error)}"]
    return []


def remembered_as(state: State, result: Result) -> str:
    """The key under which a strategy memory holds a finished run; `StrategyMemory.feedback` takes it.

    Args:
        state: the run, whose messages end with the question.
        result: what it returned.
    """
    records, _ = records_of(state["pool"], arm_statistics(state["pool"], state["candidates"]), state["candidates"])
    return key_of_run(question_text(state["messages"]), records, _winner(result))


def _winner(result: Result) -> str:
    thought = result["meta_thought"]
    return str(ArmKey(key_of(thought["mindset"], thought["strategy"]), result.get("model", "")))
