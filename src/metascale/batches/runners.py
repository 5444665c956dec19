"""Where the runs of a batch are: in this process, or on LangGraph servers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import message_to_dict
from langchain_core.runnables import RunnableConfig

from metascale.batches.questions import Asked
from metascale.graphs import METHODS
from metascale.interrupts import Grant
from metascale.journal.database import Journal
from metascale.journal.replies import lost_since
from metascale.journal.runs import has_ended, is_paused, is_underway, last_sound, run_on, why_failed
from metascale.models import MeteredModel
from metascale.models.embedders import metered
from metascale.nodes.run import check_prices
from metascale.rewards import models_of
from metascale.settings import MetaScaleSettings
from metascale.state import State, state_of
from metascale.usage import Usage, add_usage

AT_ONCE = 8
"""Questions at a time."""


@dataclass(frozen=True)
class Known:
    """A run that was begun.

    Attributes:
        state: its state.
        stage: whether it waits for a grant, has ended with an answer, or has more to do, as after a failure.
        sound: the bill from which it goes on, where that is not the last one.
    """

    state: State
    stage: Literal["waits", "ended", "goes on"]
    sound: Usage | None = None


class Runner(Protocol):
    """Runs questions, each under a name, and goes on with them."""

    journal: Journal
    """What was paid for."""
    identity: str
    """What answers: a part of the names of runs."""
    is_local: bool
    """Whether requests are sent from this process, so that they are counted as they are sent."""

    async def look(self, name: str) -> Known | None:
        """What is known of a run; None if it never began."""
        ...

    async def advance(
        self, asked: Asked, name: str, settings: MetaScaleSettings, grant: Grant | None
    ) -> tuple[State, str | None, list[str]]:
        """Begin a run or go on with it, until it ends or waits for a grant.

        Args:
            asked: the question.
            name: of the run.
            settings: of the run.
            grant: the answer to its question for more, or what a run that has ended continues with; None for neither.

        Returns:
            Its state, why it failed or None, and notes about its server.
        """
        ...


class LocalRunner:
    """Runs in this process, with the journal's checkpoints."""

    is_local = True

    def __init__(
        self,
        models: Sequence[BaseChatModel],
        settings: MetaScaleSettings,
        method: str,
        journal: Journal,
        parts: Mapping[str, Any],
        *,
        is_limited: bool,
    ) -> None:
        """Build the graph, with `parts` as for `create_metascale`.

        Raises:
            SettingError: money is limited, but a model has no price.
        """
        self.journal = journal
        given = {name: part for name, part in parts.items() if name != "reward" or METHODS[method].judged}
        self._graph = METHODS[method].create(models, settings=settings, checkpointer=journal.saver, **given)
        reward = given.get("reward")
        asked = [*map(MeteredModel, models), *(models_of(reward) if reward is not None else [])]
        self.identity = " ".join(one.label for one in asked)
        embedder = metered(given.get("embeddings"))
        if is_limited:
            check_prices(settings, [*asked, *([embedder] if embedder is not None else [])])

    async def look(self, name: str) -> Known | None:
        """As in `Runner`."""
        config: RunnableConfig = {"configurable": {"thread_id": name}}
        snapshot = await self._graph.aget_state(config)
        if not snapshot.values:
            return None
        if is_paused(snapshot) or has_ended(snapshot):
            return Known(state_of(snapshot), "waits" if is_paused(snapshot) else "ended")
        if is_underway(snapshot):
            return Known(state_of(snapshot), "goes on")
        _, bill = await last_sound(self._graph, config)
        lost = lost_since(await self.journal.replies_of(name), bill)
        return Known(state_of(snapshot), "goes on", add_usage(bill, lost))

    async def advance(
        self, asked: Asked, name: str, settings: MetaScaleSettings, grant: Grant | None
    ) -> tuple[State, str | None, list[str]]:
        """As in `Runner`."""
        messages = list(asked.messages)
        state, problem = await run_on(self._graph, messages, self.journal, name, more=grant, context=settings)
        return state, problem, []


class RemoteRunner:
    """Runs on LangGraph servers; the journal holds which server has which run."""

    is_local = False

    def __init__(self, urls: Sequence[str], method: str, journal: Journal, at_once: int) -> None:
        """Use these servers, with at most `at_once` questions in flight on each."""
        from metascale.evals.harness.fleet import Fleet  # noqa: PLC0415  the extra `serve`

        self._fleet = Fleet(urls, at_once)
        self._method, self.journal = method, journal
        self.identity = "langgraph/servers"

    async def check(self, settings: MetaScaleSettings) -> None:
        """Check that the servers have the graph and accept the settings.

        Raises:
            FleetError: none answers, or one refuses.
        """
        from metascale.evals.harness.fleet import context_of  # noqa: PLC0415  the extra `serve`

        await self._fleet.check([self._method], [context_of(settings)])

    async def look(self, name: str) -> Known | None:
        """As in `Runner`; a run that is at work on its server is waited for in `advance`."""
        place = await self._place(name)
        found = await self._fleet.look(*place) if place is not None else None
        if found is None:
            return None
        state, is_paused, is_idle = found
        has_answer = is_idle and state["result"] is not None and why_failed(state) is None
        return Known(state, "waits" if is_paused else "ended" if has_answer else "goes on")

    async def advance(
        self, asked: Asked, name: str, settings: MetaScaleSettings, grant: Grant | None
    ) -> tuple[State, str | None, list[str]]:
        """As in `Runner`."""
        from metascale.evals.harness.fleet import context_of  # noqa: PLC0415  the extra `serve`

        async def begun(url: str, thread: str) -> None:
            await self.journal.put(json.dumps([url, thread]), "remote", name)

        reply = await self._fleet.ask(
            self._method,
            [_sent(message) for message in asked.messages],
            context_of(settings),
            place=await self._place(name),
            more=grant,
            begun=begun,
        )
        return reply.state, reply.problem, list(reply.notes)

    async def _place(self, name: str) -> tuple[str, str] | None:
        kept = await self.journal.get("remote", name)
        return tuple(json.loads(kept)) if kept is not None else None


def _sent(message: Any) -> dict[str, Any]:
    """A message as LangGraph's servers take it."""
    data = message_to_dict(message)
    return {"role": data["type"], "content": data["data"]["content"]}
