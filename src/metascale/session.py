"""One question on one thread: run, watch, interrupt and resume a graph."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Overwrite, StateSnapshot

from metascale.choice import ranking
from metascale.errors import MetaScaleError, NoAnswerError
from metascale.nodes.finalize import conclude
from metascale.settings import MetaScaleSettings
from metascale.state import Result, State, add_notes, merge_by_id
from metascale.usage import add_usage, no_usage

AnyGraph = CompiledStateGraph[Any, Any, Any, Any]
Watcher = Callable[[State], None]

_FINGERPRINT = "metascale"


class ThreadError(MetaScaleError, ValueError):
    """A thread holds an unfinished run that is not the one asked for."""


@dataclass(frozen=True)
class Ended:
    """How a run ended: its result and the state in which it did.

    Attributes:
        state: pool, candidates and bill as they stand.
        result: the answer and what is known about it.
        stored: the thread had answered this question before, and nothing was spent now.
    """

    state: State
    result: Result
    stored: bool = False


def empty_state() -> State:
    """The state of a run that has not begun."""
    return {
        "messages": [],
        "foresight": None,
        "pool": [],
        "candidates": [],
        "plan": [],
        "round": 0,
        "evolved_at": 0,
        "usage": no_usage(),
        "notes": [],
        "result": None,
        "remaining_steps": 0,
    }


def fold(state: State, updates: dict[str, Any]) -> State:
    """The state after what a node returned, by the graph's own reducers."""
    merged = cast("dict[str, Any]", dict(state))
    for node, update in updates.items():
        if node.startswith("__"):
            continue
        for key, value in (update or {}).items():
            if isinstance(value, Overwrite):
                merged[key] = value.value
            elif key in {"pool", "candidates"}:
                merged[key] = merge_by_id(merged[key], [value])
            elif key == "usage":
                merged[key] = add_usage(merged[key], value)
            elif key == "notes":
                merged[key] = add_notes(merged[key], value)
            elif key != "messages":
                merged[key] = value
    return cast("State", merged)


class Session:
    """A graph, a thread of it, and what runs on the thread must have in common to be continued.

    Attributes:
        graph: compiled with a checkpointer, on disk if the thread is to outlive the process.
        thread: the thread's name.
        fingerprint: what the run is made of: model, judge and settings.
    """

    def __init__(self, graph: AnyGraph, settings: MetaScaleSettings, thread: str, **parts: str | None) -> None:
        """Open the thread; `parts` are the names of models and the like."""
        self.graph = graph
        self.thread = thread
        self._settings = settings
        self.fingerprint = {**parts, **settings.model_dump(mode="json")}
        self._config: RunnableConfig = {
            "configurable": {"thread_id": thread},
            "metadata": {_FINGERPRINT: json.dumps(self.fingerprint)},
        }

    async def solve(self, question: str, watch: Watcher) -> Ended:
        """Answer the question, or continue to answer it where an interrupted run stopped.

        The first Ctrl-C ends the run with the best answer so far.

        Args:
            question: what is asked.
            watch: called with the state after every change.

        Raises:
            ThreadError: the thread's unfinished run asks something else, or was started with other settings.
            NoAnswerError: no sample succeeded.
        """
        state = empty_state()
        begin: HumanMessage | None = HumanMessage(question)
        snapshot = await self.graph.aget_state(self._config)
        if snapshot.values:
            values = state_of(snapshot)
            asked = next((message for message in reversed(values["messages"]) if message.type == "human"), None)
            same_question = asked is not None and asked.text == question
            if not snapshot.tasks:
                if same_question and values["result"] is not None and not self._changes(snapshot):
                    return Ended(values, values["result"], stored=True)
            else:
                self._check(snapshot, same_question=same_question)
                if snapshot.tasks[0].name == "finalize" and not ranking(values["candidates"]):
                    begin = HumanMessage(question, id=asked.id if asked else None)
                else:
                    state, begin = state_of(await self.graph.aget_state(snapshot.config)), None
        work = asyncio.ensure_future(self._run(state, begin, watch))
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt, work)
        try:
            return await work
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def _interrupt(self, work: asyncio.Future[Ended]) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        work.cancel()

    async def _run(self, state: State, begin: HumanMessage | None, watch: Watcher) -> Ended:
        given = None if begin is None else {"messages": [begin]}
        try:
            async for updates in self.graph.astream(given, self._config, stream_mode="updates", durability="sync"):
                state = fold(state, cast("dict[str, Any]", updates))
                watch(state)
        except asyncio.CancelledError:
            state = state_of(await self.graph.aget_state(self._config))
            try:
                return Ended(state, conclude(state, "interrupted", self._settings))
            except NoAnswerError as error:
                raise NoAnswerError("interrupted before the first answer") from error
        final = state_of(await self.graph.aget_state(self._config))
        if final["result"] is None:
            raise NoAnswerError("the run ended without a result")
        return Ended(final, final["result"])

    def _changes(self, snapshot: StateSnapshot) -> list[str]:
        """In what the thread's run differs from the one asked for."""
        known = fingerprint_of(snapshot)
        before = MetaScaleSettings().model_dump(mode="json") | known if known else known
        return [
            f"{name} was {before.get(name)!r} and is now {self.fingerprint.get(name)!r}"
            for name in dict.fromkeys([*before, *self.fingerprint])
            if before.get(name) != self.fingerprint.get(name)
        ]

    def _check(self, snapshot: StateSnapshot, *, same_question: bool) -> None:
        """Make sure that the thread's unfinished run is the one asked for."""
        if not same_question:
            raise ThreadError(
                f"thread {self.thread!r} has not finished another question; ask that one again, or use another --thread"
            )
        changes = self._changes(snapshot)
        if changes:
            raise ThreadError(
                f"thread {self.thread!r} has not finished, and its settings changed: {'; '.join(changes)}. "
                "Repeat them to continue, or use another --thread"
            )


def fingerprint_of(snapshot: StateSnapshot) -> dict[str, Any]:
    """What a thread's run was made of: its method, models and settings; empty where no session began it."""
    return cast("dict[str, Any]", json.loads(str((snapshot.metadata or {}).get(_FINGERPRINT, "{}"))))


def state_of(snapshot: StateSnapshot) -> State:
    """The state that a checkpoint holds."""
    return cast("State", empty_state() | snapshot.values)
