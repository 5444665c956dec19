"""Answers many questions on one budget: all get first samples, then the neediest get more, then all are closed."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from metascale.batches.limits import GRANT, SharedLimits, opening_budget
from metascale.batches.questions import Asked, as_questions
from metascale.batches.records import Answer, Progress, row_of
from metascale.batches.runners import AT_ONCE, LocalRunner, RemoteRunner, Runner
from metascale.budget.shared import gain_of_run
from metascale.choice.automatic import asks_for_search
from metascale.errors import SettingError
from metascale.graphs import METHODS
from metascale.interrupts import Grant
from metascale.journal.database import journal_in
from metascale.journal.runs import name_of, why_failed
from metascale.models import Models, resolve_models
from metascale.models.purse import Purse, sharing
from metascale.nodes.run import check_parts
from metascale.rewards import Reward
from metascale.runtime.bridge import run_sync
from metascale.runtime.databases import open_store
from metascale.settings import KEEPS_ANSWERS, MetaScaleSettings
from metascale.state import State
from metascale.usage import Usage, charged, no_usage

SHARERS = 4
"""Questions that must wait for every grant at work, so that few grants go to any but the neediest. Not tuned."""
RESERVE = 0.1
"""Share of the money, the requests and the time that is kept for closing the questions: for their second looks.
Not tuned."""
MEMORY = "batch"
"""The name of the strategy memory of a batch."""
UNFINISHED = "its search was cut off by a limit of the batch"
MEMORY_FILE = "memory.sqlite"
TOLD_EVERY = 0.2
"""Seconds between two reports of progress."""


@dataclass(frozen=True)
class _Where:
    """The method; the folder of the journal, if it is kept; the servers, if there are any; the questions at a time."""

    method: str
    folder: Path | str | None
    remotes: Sequence[str]
    at_once: int


@dataclass
class _Entry:
    """A question and where its run stands; no whole state is kept, so that memory is small.

    Attributes:
        place: of the question in the batch, from 0.
        asked: the question.
        name: of its run.
        samples: drawn so far.
        calls: requests so far.
        usd: US dollars so far.
        seconds: at work so far.
        gain: what one more sample is expected to gain; None unless the run waits for a grant.
        sound: the bill from which a run that failed goes on: replies that came in since are given to it again, and were
            counted before; None for other runs.
        before: its row of an earlier command, while the run may get more samples; then it waits like one that asks.
        row: its row, once it is answered or has failed.
    """

    place: int
    asked: Asked
    name: str
    samples: int = 0
    calls: int = 0
    usd: float = 0.0
    seconds: float = 0.0
    gain: float | None = None
    sound: Usage | None = None
    before: Answer | None = None
    row: Answer | None = None


async def abatch(
    questions: Iterable[Any],
    model: Models = None,
    *,
    settings: MetaScaleSettings | None = None,
    method: str = "metascale",
    reward: Reward | None = None,
    budget_total: int | None = None,
    max_cost_usd: float | None = None,
    max_calls: int | None = None,
    max_seconds: float | None = None,
    journal: Path | str | None = None,
    remotes: Sequence[str] = (),
    at_once: int = AT_ONCE,
    memory: bool = True,
    embeddings: Embeddings | None = None,
    on_row: Callable[[int, Answer], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Answer]:
    """Answer many questions; repeat the same call with the same journal to go on after a stop.

    Without a limit of the whole batch every question gets the budget of the settings. With one, every question first
    gets its opening budget. Then samples go, a few at a time, to the question that gains most by them
    (`metascale.budget.shared`), until the limit is reached. Then all answers are chosen. The same call with more
    samples, dollars or requests goes on from there and pays only for what is new.

    Args:
        questions: texts, or mappings with `question` or `messages` and maybe `id`.
        model: as for `create_metascale`; not with `remotes`, whose servers have a model.
        settings: of every run. With a limit of the whole batch, `budget` is the opening budget of a question if it is
            set, and 4 otherwise.
        method: the method's name; only `metascale` shares a budget.
        reward: scores answers; by default the reward that the settings name, with the first model as its judge.
        budget_total: samples of all questions together, at least one for each.
        max_cost_usd: US dollars of all questions together; no request is sent at or above it.
        max_calls: model requests of all questions together; likewise.
        max_seconds: seconds of this call; runs in flight are cut off there.
        journal: a folder for what was paid for; None keeps nothing.
        remotes: URLs of LangGraph servers that run the questions.
        at_once: questions at a time; on each server, where there are servers.
        memory: whether what one question taught serves the next, as `settings.memory` does between runs. Several models
            under the default reward go without it, because it would make them ask a judge.
        embeddings: compare questions for that memory; by default hashed words, without a network.
        on_row: called with the place and the row of each question once its row is final.
        on_progress: called a few times a second.

    Returns:
        One row for each question, in their order. A question that failed has a row with an `error`.

    Raises:
        QuestionsError: a question cannot be read.
        SettingError: a limit cannot be kept, such as dollars for a model without a price.
        MetaScaleError: the model cannot be set up, the journal cannot be written, or no server answers.
    """
    check_parts(settings, reward=reward)
    limits = SharedLimits(budget_total, max_cost_usd, max_calls, max_seconds)
    asked = as_questions(questions)
    limits.check(len(asked), method)
    chats = [] if remotes else resolve_models(model)
    chosen = settings or MetaScaleSettings()
    votes = len(chats) > 1 and reward is None and chosen.reward == "auto" and not asks_for_search(chosen)
    chosen = _settings(chosen, limits, len(asked), method, memory=memory and not remotes and not votes)
    purse = Purse(limits.max_cost_usd, limits.max_calls)
    place = _Where(method, journal, remotes, at_once)
    async with _runner(chats, chosen, {"reward": reward, "embeddings": embeddings}, limits, place) as runner:
        if limits.is_shared:
            chosen = await _opened(chosen, runner, method)
        entries = _entries(asked, runner.identity, chosen, method, is_shared=limits.is_shared)
        raisable = _raisable(limits, chosen) if method == "metascale" else ()
        work = _Batch(entries, runner, chosen, limits, purse, at_once * max(1, len(remotes)), on_row, raisable)
        told = asyncio.create_task(_tell(work, on_progress)) if on_progress else None
        try:
            with sharing(purse):
                await work.run()
        finally:
            if told is not None:
                told.cancel()
            if on_progress is not None:
                on_progress(work.progress)
        return [entry.row or row_of(entry.asked, None, work.refusal or "it was not asked", []) for entry in entries]


def batch(questions: Iterable[Any], model: Models = None, **options: Any) -> list[Answer]:
    """As `abatch`, without an event loop."""
    return run_sync(lambda: abatch(questions, model, **options))


def _settings(
    settings: MetaScaleSettings, limits: SharedLimits, questions: int, method: str, *, memory: bool
) -> MetaScaleSettings:
    changes: dict[str, Any] = {}
    if METHODS[method].one_pass:
        changes["budget"] = 1
    if limits.is_shared:
        changes |= {"budget": opening_budget(settings, limits, questions), "ask_for_budget": True}
    elif settings.ask_for_budget:
        raise SettingError("a batch asks nobody, so it takes no 'ask_for_budget'")
    if settings.review_pool:
        raise SettingError("a batch asks nobody, so it takes no 'review_pool'")
    if memory and method == "metascale" and settings.memory is None:
        changes["memory"] = MEMORY
    return settings.overlaid_by(MetaScaleSettings.model_validate(changes)) if changes else settings


@asynccontextmanager
async def _runner(
    chats: Sequence[BaseChatModel],
    settings: MetaScaleSettings,
    given: Mapping[str, Any],
    limits: SharedLimits,
    where: _Where,
) -> AsyncIterator[Runner]:
    async with contextlib.AsyncExitStack() as stack:
        place = Path(where.folder or stack.enter_context(tempfile.TemporaryDirectory()))
        journal = stack.enter_context(journal_in(place))
        if where.remotes:
            remote = RemoteRunner(where.remotes, where.method, journal, where.at_once)
            await remote.check(settings)
            yield remote
            return
        parts = {name: part for name, part in given.items() if part is not None}
        if settings.memory is None:
            parts.pop("embeddings", None)
        else:
            parts["store"] = await stack.enter_async_context(open_store(str(place / MEMORY_FILE)))
        is_limited = limits.max_cost_usd is not None or settings.max_cost_usd is not None
        yield LocalRunner(chats, settings, where.method, journal, parts, is_limited=is_limited)


async def _opened(settings: MetaScaleSettings, runner: Runner, method: str) -> MetaScaleSettings:
    """The settings with the opening budget that the runs of this journal began with, unless it is too high now."""
    key = ("opening", name_of(runner.identity, method, _deciding(settings, is_shared=True)))

    async def budget() -> str:
        return str(settings.budget)

    first = int(await runner.journal.once(budget, *key))
    return settings.overlaid_by(MetaScaleSettings(budget=min(first, settings.budget)))


def _raisable(limits: SharedLimits, settings: MetaScaleSettings) -> Collection[str]:
    """The reasons to stop that a higher limit undoes; none if only seconds are limited, which each call has anew."""
    if limits.samples is None and limits.max_cost_usd is None and limits.max_calls is None:
        return ()
    names = ("max_cost_usd", "max_calls", "max_seconds")
    return {"budget", *(n for n in names if getattr(limits, n) is not None and getattr(settings, n) is None)}


def _deciding(settings: MetaScaleSettings, *, is_shared: bool) -> dict[str, Any]:
    """The settings that decide an answer. Opening budgets do not: grants raise them."""
    others = {"max_seconds", "budget"} if is_shared else {"max_seconds"}
    return settings.model_dump(mode="json", exclude={*KEEPS_ANSWERS, *others})


def _entries(
    asked: Sequence[Asked], identity: str, settings: MetaScaleSettings, method: str, *, is_shared: bool
) -> list[_Entry]:
    """An entry for each question; its run is named by all that decides the answer."""
    deciding = _deciding(settings, is_shared=is_shared)
    seen: Counter[str] = Counter()
    entries = []
    for place, one in enumerate(asked):
        said = [message.model_dump(mode="json", exclude={"id"}) for message in one.messages]
        name = name_of(identity, method, deciding, said)
        entries.append(_Entry(place, one, name_of(name, seen[name])))
        seen[name] += 1
    return entries


@dataclass
class _Batch:
    """A batch at work."""

    entries: Sequence[_Entry]
    runner: Runner
    settings: MetaScaleSettings
    limits: SharedLimits
    purse: Purse
    at_once: int
    on_row: Callable[[int, Answer], None] | None
    raisable: Collection[str]
    """The reasons to stop that a higher limit of the batch undoes."""
    refusal: str = ""
    granted: int = 0
    """Samples that are granted to runs at work."""
    _samples: int = 0
    _waiting: list[tuple[float, int]] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    @property
    def progress(self) -> Progress:
        rows = [entry.row for entry in self.entries if entry.row is not None]
        failed = sum(row["error"] is not None for row in rows)
        return Progress(
            questions=len(self.entries),
            answered=len(rows) - failed,
            failed=failed,
            samples=self._samples,
            calls=self.purse.calls,
            cost_usd=self.purse.usd,
            seconds=time.monotonic() - self._started,
        )

    async def run(self) -> None:
        """Look what is known, open every question, share the rest of the budget, and close every question."""
        await self._each(self.entries, self._look)
        await self._each([e for e in self.entries if e.row is None and e.gain is None], self._advance)
        if self.limits.is_shared:
            await _all(self._share() for _ in range(max(1, min(self.at_once, len(self._waiting) // SHARERS))))
            await self._each([e for e in self.entries if e.gain is not None and e.row is None], self._close)
        await self._each([e for e in self.entries if e.row is None], self._leave)

    async def _each(self, entries: Sequence[_Entry], work: Callable[[_Entry], Awaitable[None]]) -> None:
        """Work on all entries, `at_once` at a time."""
        waiting = iter(entries)

        async def one_after_another() -> None:
            for entry in waiting:
                await work(entry)

        await _all(one_after_another() for _ in range(self.at_once))

    async def _look(self, entry: _Entry) -> None:
        found = await self.runner.look(entry.name)
        if found is None:
            return
        self._count(entry, found.state["usage"], is_new=True)
        if found.stage == "waits":
            self._wait(entry, found.state)
        elif found.stage == "ended":
            self._answered(entry, found.state, row_of(entry.asked, found.state, None, []))
        else:
            entry.sound = found.sound

    async def _advance(self, entry: _Entry, grant: Grant | None = None) -> None:
        """Begin a run, go on with it, or answer its question for more; it ends or waits for a grant."""
        if self.refusal or (grant is None and self._is_over()):
            return
        again = entry.calls - entry.sound["calls"] if entry.sound is not None else 0
        settings = self.settings.model_copy(update=self._own_limits(entry))
        entry.gain = entry.before = entry.sound = None
        with sharing(Purse(inside=self.purse, counted=again)):
            state, problem, notes = await self.runner.advance(entry.asked, entry.name, settings, grant)
        self._count(entry, state["usage"])
        problem = self._problem(state, problem)
        if problem is None and state["result"] is None:
            self._wait(entry, state)
            return
        row = row_of(entry.asked, state, problem, notes)
        if grant is None and problem is None:
            self._answered(entry, state, row)
        else:
            self._end(entry, row)
        if state["refusal"] and not self.purse.is_spent_but():
            self.refusal = state["refusal"]

    async def _close(self, entry: _Entry) -> None:
        if entry.before is not None:
            self._end(entry, entry.before)
        else:
            await self._advance(entry, Grant())

    async def _leave(self, entry: _Entry) -> None:
        """End an entry as it stands, because no request may be sent for it any more; its row shows what it cost."""
        found = await self.runner.look(entry.name)
        if found is not None and (found.state["usage"] or no_usage())["calls"]:
            unfinished = None if found.state["result"] is not None else self.refusal or UNFINISHED
            self._end(entry, row_of(entry.asked, found.state, self._problem(found.state, unfinished), []))

    def _problem(self, state: State, problem: str | None) -> str | None:
        """Why a run failed; None if it did not.

        An answer stands where the last requests were refused only because the money is spent.
        """
        problem = problem or why_failed(state)
        return None if state["result"] is not None and self.purse.is_spent_but() else problem

    async def _share(self) -> None:
        """Give samples to the neediest question, again and again, until a limit is reached or all are at work."""
        while self._waiting and not self.refusal and not self._is_over(RESERVE):
            samples = min(GRANT, self._samples_left())
            if samples == 0:
                return
            _, place = heapq.heappop(self._waiting)
            self.granted += samples
            try:
                await self._advance(self.entries[place], Grant(samples=samples))
            finally:
                self.granted -= samples

    def _count(self, entry: _Entry, bill: Usage, *, is_new: bool = False) -> None:
        """Keep what a run has spent.

        Args:
            entry: the run's.
            bill: of the run.
            is_new: whether it is of earlier commands. Requests of this process were counted when they were sent.
        """
        usage = bill or no_usage()  # it is empty before the first node
        if is_new or not self.runner.is_local:
            self.purse.count(charged(usage) - entry.usd, usage["calls"] - entry.calls)
        self._samples += usage["samples"] - entry.samples
        entry.samples, entry.calls, entry.usd = usage["samples"], usage["calls"], charged(usage)
        entry.seconds = usage["seconds"]

    def _answered(self, entry: _Entry, state: State, row: Answer) -> None:
        """End an entry, unless a limit that may have been raised since is all that ended its run."""
        if row["stop_reason"] in self.raisable:
            entry.before = row
            self._wait(entry, state)
        else:
            self._end(entry, row)

    def _wait(self, entry: _Entry, state: State) -> None:
        entry.gain = gain_of_run(state["pool"], state["candidates"])
        heapq.heappush(self._waiting, (-entry.gain, entry.place))

    def _end(self, entry: _Entry, row: Answer) -> None:
        entry.row = row
        if self.on_row is not None:
            self.on_row(entry.place, row)

    def _own_limits(self, entry: _Entry) -> dict[str, Any]:
        """The limits of one run that the batch's limits leave it; servers know of no others."""
        own: dict[str, Any] = {}
        left = self._seconds_left()
        if left is not None:
            own["max_seconds"] = entry.seconds + max(1e-3, left)
        if not self.runner.is_local:
            if self.limits.max_calls is not None:
                own["max_calls"] = max(1, entry.calls + self.limits.max_calls - self.purse.calls)
            if self.limits.max_cost_usd is not None:
                own["max_cost_usd"] = max(1e-9, entry.usd + self.limits.max_cost_usd - self.purse.usd)
        return {name: limit for name, limit in own.items() if limit < (getattr(self.settings, name) or math.inf)}

    def _seconds_left(self) -> float | None:
        if self.limits.max_seconds is None:
            return None
        return self.limits.max_seconds - (time.monotonic() - self._started)

    def _is_over(self, reserve: float = 0.0) -> bool:
        """Whether time or money is spent, but for this share of it."""
        left = self._seconds_left()
        is_late = left is not None and left <= reserve * (self.limits.max_seconds or 0)
        return is_late or self.purse.is_spent_but(reserve)

    def _samples_left(self) -> int:
        if self.limits.samples is None:
            return GRANT
        return max(0, self.limits.samples - self.granted - self._samples)


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all coroutines; the first error cancels the others, and they have ended before it is raised."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _tell(work: _Batch, on_progress: Callable[[Progress], None]) -> None:
    while True:
        on_progress(work.progress)
        await asyncio.sleep(TOLD_EVERY)
