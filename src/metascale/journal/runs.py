"""One run of a method on one question; with a journal, it goes on where it stopped, whatever stopped it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.constants import START
from langgraph.types import Command, StateSnapshot

from metascale.budget.limits import failures_in_a_row
from metascale.errors import MetaScaleError
from metascale.interrupts import Grant, grant
from metascale.journal.database import Journal
from metascale.journal.replies import PaidReplies, lost_since
from metascale.models.kept import keeping
from metascale.settings import MetaScaleSettings
from metascale.state import AnyGraph, State, empty_state, fold, state_of
from metascale.usage import Usage, no_usage


async def run_once(graph: AnyGraph, messages: Sequence[AnyMessage]) -> tuple[State, str | None]:
    """Run a graph; returns its last state, and why it raised an error, if it did."""
    state = empty_state()
    try:
        async for updates in graph.astream({"messages": list(messages)}, stream_mode="updates"):
            state = fold(state, cast("dict[str, Any]", updates))
    except MetaScaleError as error:
        return state, str(error)
    return state, None


async def run_on(
    graph: AnyGraph,
    messages: Sequence[AnyMessage],
    journal: Journal,
    name: str,
    *,
    more: Grant | None = None,
    context: MetaScaleSettings | None = None,
) -> tuple[State, str | None]:
    """Run a graph that has the journal's checkpoints, or go on with its run of this name; returns as `run_once` does.

    A run that failed goes back to the last checkpoint before the failure. Replies that came in since are not asked for
    again. A run that asks a person something stops there.

    Args:
        graph: compiled with the journal's saver.
        messages: the question.
        journal: keeps the run.
        name: of the run.
        more: the answer to a run that asks for more; with None it stays paused. A finished run continues with what it
            grants; without samples and dollars it stays finished. Other runs ignore it.
        context: the settings of the run; None for the graph's.
    """
    config: RunnableConfig = {"configurable": {"thread_id": name}}
    snapshot = await graph.aget_state(config)
    ended, paused = has_ended(snapshot), is_paused(snapshot)
    if (ended or paused) and (more is None or (ended and more == Grant())):
        return state_of(snapshot), None
    before = await journal.replies_of(name)
    begun, bill = (config, None) if ended or is_underway(snapshot) else await last_sound(graph, config)
    replies = PaidReplies(journal, name, before, no_usage() if bill is None else lost_since(before, bill))
    given: Any = None if begun is not None else {"messages": list(messages)}
    if more is not None and paused:
        given = Command(resume=more.model_dump())
    elif more is not None and ended:
        given = grant(more.samples, usd=more.usd)
    if begun is None:  # what a kill left of its beginning must not add to it
        await asyncio.to_thread(journal.saver.delete_thread, name)
    problem = None
    with keeping(replies):
        try:
            async for _ in graph.astream(
                given, begun or config, context=context, stream_mode="updates", durability="sync"
            ):
                pass
        except MetaScaleError as error:
            problem = str(error)
    state = state_of(await graph.aget_state(config))
    if problem is None and why_failed(state) is None:
        await journal.finish(name)
    return state, problem


def is_paused(snapshot: StateSnapshot) -> bool:
    """Whether a run waits for an answer."""
    return bool(snapshot.interrupts)


def has_ended(snapshot: StateSnapshot) -> bool:
    """Whether a run has given its answer, and did not fail."""
    state = state_of(snapshot)
    return not snapshot.next and state["result"] is not None and why_failed(state) is None


async def last_sound(graph: AnyGraph, config: RunnableConfig) -> tuple[RunnableConfig | None, Usage]:
    """The last checkpoint of a run before it failed, and its bill; None where it must begin."""
    async for snapshot in graph.aget_state_history(config):
        if is_underway(snapshot):
            return snapshot.config, state_of(snapshot)["usage"] or no_usage()
    return None, no_usage()


def is_underway(snapshot: StateSnapshot) -> bool:
    """Whether a run can go on where it is, because it did not fail; nodes that have ended are not repeated."""
    return bool(snapshot.next) and snapshot.next[0] != START and why_failed(state_of(snapshot)) is None


def why_failed(state: State) -> str | None:
    """Why a run counts as failed; None if it does not, or not yet.

    It failed where no further request could succeed, where its last samples failed, or where no request for a score
    succeeded: its answer, if any, is not the method's.
    """
    if state["refusal"]:
        return state["refusal"]
    candidates, result = state["candidates"], state["result"]
    if result is None or result["stop_reason"] == "failures":
        last = failures_in_a_row(candidates)
        if last:
            return f"{last} sample{'s' * (last > 1)} failed: {candidates[-1]['error']}"
    unscored = [c["error"] for c in candidates if c["status"] == "ok" and c["reward"] is None and c["error"]]
    if unscored and all(c["reward"] is None for c in candidates):
        return f"nothing was scored: {Counter(unscored).most_common(1)[0][0]}"
    return None


def name_of(*parts: Any) -> str:
    """The name of a run, from all that decides its answer, as JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
