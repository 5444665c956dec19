"""One question on one thread: run, watch, interrupt and resume a graph."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.constants import START
from langgraph.types import Command, StateSnapshot

from metascale.choice.automatic import decided_beforehand
from metascale.choice.ranking import ranking
from metascale.cli.threads import COMMAND, command_metadata
from metascale.errors import MetaScaleError, NoAnswerError, ThreadError
from metascale.events import Event, follow
from metascale.interrupts import BudgetQuestion, Grant, PoolQuestion, grant
from metascale.records import Result
from metascale.result import conclude
from metascale.rewards import Reward
from metascale.rewards.scorer import Scorer
from metascale.settings import ASKING_PEOPLE, MetaScaleSettings
from metascale.state import FINGERPRINT, AnyGraph, State, empty_state, fingerprint_of, state_of

Watcher = Callable[[State], None]
WorkWatcher = Callable[[Mapping[str, int]], None]
"""Called with the nodes at work, each with how many of it."""
Question = PoolQuestion | BudgetQuestion
Answerer = Callable[[Question], Any]
"""Answers a run's question with JSON; raises `WaitingError` where nobody can be asked."""


class WaitingError(MetaScaleError):
    """The run waits for an answer; its thread stores it until then.

    Attributes:
        question: what it asks.
    """

    def __init__(self, message: str, question: Question) -> None:
        """Keep the question beside the message."""
        super().__init__(message)
        self.question = question


def nobody(question: Question) -> Any:
    """Answers no question."""
    raise WaitingError("the run waits for an answer", question)


@dataclass(frozen=True)
class Ended:
    """The result and the final state of a run.

    Attributes:
        state: pool, candidates and bill at the end.
        result: the answer and its details.
        stored: the thread had already answered this question, and nothing was spent.
    """

    state: State
    result: Result
    stored: bool = False


@dataclass(frozen=True)
class _Stop:
    """Where a stretch of a run stopped: at its end, at a question, or because somebody interrupted it."""

    state: State
    question: Question | None = None
    interrupted: bool = False


@contextlib.contextmanager
def _on_interrupt(act: Callable[[], object]) -> Iterator[None]:
    """Call `act` at the first Ctrl-C; the second one has its usual effect.

    Event loops on Windows take no signal handlers, and other threads than the main one may set none. There
    Python's own handler is replaced, or left as it is.
    """
    loop = asyncio.get_running_loop()

    def once() -> None:
        restore()
        act()

    try:
        loop.add_signal_handler(signal.SIGINT, once)
        restore: Callable[[], object] = partial(loop.remove_signal_handler, signal.SIGINT)
    except (NotImplementedError, ValueError, RuntimeError):
        restore = _replace_handler(lambda: loop.call_soon_threadsafe(once))
    try:
        yield
    finally:
        restore()


def _replace_handler(act: Callable[[], object]) -> Callable[[], object]:
    """Replace Python's handler of Ctrl-C, where this thread may; returns what puts it back."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    return partial(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, lambda *_: act()))


class Session:
    """One thread of a graph. A run continues only with the model, judge and settings it started with.

    Attributes:
        graph: compiled with a checkpointer; on disk if the thread must outlive the process.
        thread: the thread's name.
        fingerprint: model, judge and settings of the run.
    """

    def __init__(
        self,
        graph: AnyGraph,
        settings: MetaScaleSettings,
        thread: str,
        *,
        reward: Reward | None = None,
        command: Mapping[str, str | None] | None = None,
        **parts: str | None,
    ) -> None:
        """Open the thread.

        Args:
            graph: compiled with a checkpointer.
            settings: the settings of its runs.
            thread: the thread's name.
            reward: the graph's.
            command: what the thread remembers of the command, see `metascale.cli.threads`.
            parts: the names of the method and its models, with which alone a run continues.
        """
        self.graph = graph
        self.thread = thread
        may_vote = reward is None and parts.get("method", "metascale") == "metascale"
        chosen = decided_beforehand(settings, may_vote=may_vote)
        self._settings = Scorer(reward).settings_for(chosen) if reward is not None else chosen
        self.fingerprint = {**parts, **(chosen if may_vote else settings).model_dump(mode="json")}
        self._config: RunnableConfig = {
            "configurable": {"thread_id": thread},
            "metadata": {FINGERPRINT: json.dumps(self.fingerprint), COMMAND: command_metadata(command or {})},
        }

    async def solve(
        self,
        question: str,
        watch: Watcher,
        answer: Answerer = nobody,
        *,
        more: Grant | None = None,
        at_work: WorkWatcher = lambda _: None,
    ) -> Ended:
        """Answer the question, or continue the thread's run where it stopped.

        The first Ctrl-C ends the run with the best answer so far, also while a question is open.

        Args:
            question: the question.
            watch: called with the state after every change.
            answer: answers questions that the run asks people.
            more: samples and dollars to add to the thread's run, which has finished or asks for them. An unfinished run
                that got some before gets no more, so that repeating the command continues it.
            at_work: called with the nodes at work whenever one begins or ends.

        Raises:
            ThreadError: the thread's unfinished run has another question or other settings, or there is no run to add
            samples to. WaitingError: the run asked something, and nobody answered. NoAnswerError: no sample succeeded.
        """
        state = empty_state()
        given: Any = {"messages": [HumanMessage(question)]}
        snapshot = await self.graph.aget_state(self._config)
        values = state_of(snapshot)
        asked = next((message for message in reversed(values["messages"]) if message.type == "human"), None)
        same_question = asked is not None and asked.text == question
        if snapshot.tasks and snapshot.tasks[0].name == START:
            self._check_not_begun(more)
        elif snapshot.tasks:
            self._check(snapshot, same_question=same_question)
            is_asked_for = any(pending.value["asks"] == "grant_budget" for pending in snapshot.interrupts)
            if more is not None and not is_asked_for and not (values["granted"] or values["granted_usd"]):
                raise ThreadError(f"thread {self.thread!r} has not finished; continue it before it is granted more")
            if snapshot.tasks[0].name == "finalize" and not ranking(values["candidates"]):
                given = {"messages": [HumanMessage(question, id=asked.id if asked else None)]}
            else:
                state, given = state_of(await self.graph.aget_state(snapshot.config)), None
            if more is not None and is_asked_for:
                given = Command(resume=more.model_dump())
        elif more is not None:
            self._check_finished(snapshot, same_question=same_question)
            state, given = values, grant(more.samples, usd=more.usd)
        elif same_question and values["result"] is not None and not self._changes(snapshot):
            return Ended(values, values["result"], stored=True)
        while True:
            stop = await self._until_it_stops(state, given, watch, at_work)
            state = stop.state
            if stop.question is None:
                return self._ended(state, interrupted=stop.interrupted)
            try:
                given = Command(resume=answer(stop.question))
            except KeyboardInterrupt:
                return self._ended(state, interrupted=True)

    async def _until_it_stops(self, state: State, given: Any, watch: Watcher, at_work: WorkWatcher) -> _Stop:
        work = asyncio.ensure_future(self._run(state, given, watch, at_work))
        with _on_interrupt(work.cancel):
            return await work

    async def _run(self, state: State, given: Any, watch: Watcher, at_work: WorkWatcher) -> _Stop:
        running: Counter[str] = Counter()
        modes: Any = {"stream_mode": ["custom", "tasks"], "durability": "sync"}
        try:
            watch(state)
            async for mode, told in self.graph.astream(given, self._config, **modes):
                if mode == "tasks":
                    running[told["name"]] += 1 if "triggers" in told else -1
                    at_work(running)
                else:
                    state = follow(state, cast("Event", told))
                    watch(state)
        except asyncio.CancelledError:
            return _Stop(state_of(await self.graph.aget_state(self._config)), interrupted=True)
        snapshot = await self.graph.aget_state(self._config)
        return _Stop(state_of(snapshot), snapshot.interrupts[0].value if snapshot.interrupts else None)

    def _ended(self, state: State, *, interrupted: bool) -> Ended:
        if not interrupted:
            if state["result"] is None:
                raise NoAnswerError("the run ended without a result")
            return Ended(state, state["result"])
        try:
            return Ended(state, conclude(state, "interrupted", self._settings))
        except NoAnswerError as error:
            raise NoAnswerError("interrupted before the first answer") from error

    def _changes(self, snapshot: StateSnapshot, *, beside: Collection[str] = ()) -> list[str]:
        """How the thread's run differs from the requested one, beside the given settings."""
        known = fingerprint_of(snapshot)
        before = MetaScaleSettings().model_dump(mode="json") | known if known else known
        return [
            f"{name} was {before.get(name)!r} and is now {self.fingerprint.get(name)!r}"
            for name in dict.fromkeys([*before, *self.fingerprint])
            if name not in beside and before.get(name) != self.fingerprint.get(name)
        ]

    def _check_not_begun(self, more: Grant | None) -> None:
        """Refuse to add samples to a run that was cut off before its first step.

        Such a thread holds no question yet, so the run starts with the current one.
        """
        if more is not None:
            raise ThreadError(f"thread {self.thread!r} has not finished; continue it before it is granted more")

    def _check_finished(self, snapshot: StateSnapshot, *, same_question: bool) -> None:
        """Check that the thread holds a finished run of the same question."""
        if state_of(snapshot)["result"] is None:
            raise ThreadError(f"thread {self.thread!r} holds no finished run that could be granted more samples")
        if not same_question:
            raise ThreadError(
                f"thread {self.thread!r} answered another question; leave the question out to grant that one more"
            )
        self._check_changes(snapshot, "answered with other settings")

    def _check_changes(self, snapshot: StateSnapshot, what: str) -> None:
        """Check that the run continues as it began; whether it asks people may change."""
        changes = self._changes(snapshot, beside=ASKING_PEOPLE)
        if changes:
            raise ThreadError(
                f"thread {self.thread!r} {what}: {'; '.join(changes)}. "
                "Leave them out to continue, or use another --thread"
            )

    def _check(self, snapshot: StateSnapshot, *, same_question: bool) -> None:
        """Check that the thread's unfinished run is the requested one."""
        if not same_question:
            raise ThreadError(
                f"thread {self.thread!r} has not finished another question; leave the question out to continue that "
                "one, or use another --thread"
            )
        self._check_changes(snapshot, "has not finished, and its settings changed")
