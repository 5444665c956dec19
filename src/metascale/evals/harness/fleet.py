"""Sends questions to a fleet of LangGraph servers as background runs, and retries on another server if one dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
from jsonschema import Draft202012Validator
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError, NotFoundError
from langgraph_sdk.schema import Assistant, Command, ThreadState

from metascale.errors import MetaScaleError
from metascale.interrupts import Grant
from metascale.server.options import TOKEN_VARIABLE
from metascale.settings import MetaScaleSettings
from metascale.state import State, empty_state

AT_ONCE = 8
"""Questions in flight on each server. A server queues more than it can run, but then no other server can take them."""
POLLED_EVERY = 0.25
"""Seconds between polls of a run."""
PATIENCE = 10.0
"""Seconds until a silent server counts as dead; polling a run takes far less."""
AWAY = 30.0
"""Seconds before a dead server is tried again: about the time of a restart."""

Message = Mapping[str, Any]
Begun = Callable[[str, str], Awaitable[None]]


class FleetError(MetaScaleError):
    """No server answers, or one refuses the token, the graph or the settings."""


@dataclass(frozen=True)
class FleetReply:
    """How a question was answered.

    Attributes:
        server: the URL of the server.
        state: the state of its run.
        problem: why the run failed, or None.
        notes: servers that died while running the question.
    """

    server: str
    state: State
    problem: str | None
    notes: tuple[str, ...]


@dataclass
class _Server:
    url: str
    asked: int = 0
    away_until: float = 0.0
    why: str = ""


class _LostError(Exception):
    """A server does not answer or has lost the run."""


class Fleet:
    """Servers of the same graphs on the same model, which the servers choose.

    A question goes to the server with the fewest questions. If that server stops answering, or loses the run in a
    restart, the question goes to another; the cost of the lost run is unknown, and a note says so. All servers share
    one bearer token, in the environment variable `METASCALE_SERVER_TOKEN`, or need none.
    """

    def __init__(self, urls: Sequence[str], at_once: int = AT_ONCE) -> None:
        """Use these servers, with at most `at_once` questions in flight on each."""
        self._servers = [_Server(url.rstrip("/")) for url in dict.fromkeys(urls)]
        self._at_once = at_once

    @property
    def capacity(self) -> int:
        """Questions in flight on all servers together."""
        return self._at_once * len(self._servers)

    async def check(self, methods: Sequence[str], contexts: Sequence[Mapping[str, Any]]) -> list[str]:
        """Check that the servers have the graphs and accept the settings.

        Returns:
            One line about each server that does not answer; it is tried again later.

        Raises:
            FleetError: none answers, or one refuses.
        """
        await asyncio.gather(*(self._check(server, methods, contexts) for server in self._servers))
        if all(server.why for server in self._servers):
            raise self._none_answers()
        return [f"{server.url} does not answer and is left out: {server.why}" for server in self._servers if server.why]

    async def ask(
        self,
        method: str,
        messages: Sequence[Message],
        context: Mapping[str, Any],
        *,
        place: tuple[str, str] | None = None,
        more: Grant | None = None,
        begun: Begun | None = None,
    ) -> FleetReply:
        """Answer a question on a server, or go on with a run that waits there for an answer or is at work.

        Args:
            method: the method's name.
            messages: the question.
            context: the settings of the run.
            place: the server and the thread of a run that was begun; a run that is lost begins anew elsewhere.
            more: the answer to a run that asks for more, or what a run that has ended continues with.
            begun: called with the server and the thread of a new run, before it starts; such a run goes on when nobody
                waits for it.

        Raises:
            FleetError: no server answers any more, or one refuses the question.
        """
        notes: list[str] = []
        while True:
            server = await self._free(place[0] if place is not None else None)
            server.asked += 1
            try:
                async with _connected(server.url) as client:
                    thread = place[1] if place is not None and place[0] == server.url else None
                    if thread is None:
                        thread, more = (await client.threads.create())["thread_id"], None
                        if begun is not None:
                            await begun(server.url, thread)
                    given: dict[str, Any] = {"input": {"messages": [dict(message) for message in messages]}}
                    if more is not None:
                        given = {"command": await _continuing(client, thread, more)}
                    state, problem = await _run(client, method, thread, given, context, is_kept=begun is not None)
                return FleetReply(server.url, state, problem, tuple(notes))
            except _LostError as error:
                place = None
                server.why, server.away_until = str(error), time.monotonic() + AWAY
                notes.append(
                    f"asked again, for {server.url} was lost ({error}); what it spent on this question is not counted"
                )
            finally:
                server.asked -= 1

    async def look(self, url: str, thread: str) -> tuple[State, bool, bool] | None:
        """The state of a run, whether it waits for an answer, and whether it has nothing left to do.

        None if its server does not answer or lost it.
        """
        try:
            async with _connected(url) as client:
                found = await client.threads.get_state(thread)
                is_busy = (await client.threads.get(thread))["status"] == "busy"
        except _LostError:
            return None
        return _state_in(found), _is_paused(found) and not is_busy, not found["next"] and not is_busy

    async def _free(self, url: str | None = None) -> _Server:
        """The server at a URL, or else that with the fewest questions; waits until it has room."""
        while True:
            here = [server for server in self._servers if server.away_until <= time.monotonic()]
            if not here:
                raise self._none_answers()
            server = min(here, key=lambda server: (server.url != url, server.asked))
            if server.asked < self._at_once:
                return server
            await asyncio.sleep(0.05)

    async def _check(self, server: _Server, methods: Sequence[str], contexts: Sequence[Mapping[str, Any]]) -> None:
        try:
            async with _connected(server.url) as client:
                for graph in dict.fromkeys(methods):
                    assistants = await _assistants(client, graph)
                    if not assistants:
                        raise FleetError(f"{server.url} has no graph {graph!r}")
                    schemas = await client.assistants.get_schemas(assistants[0]["assistant_id"])
                    for context in contexts:
                        _check_context(server.url, schemas.get("context_schema"), context)
        except _LostError as error:
            server.why, server.away_until = str(error), time.monotonic() + AWAY

    def _none_answers(self) -> FleetError:
        return FleetError(f"no server answers: {'; '.join(f'{one.url}: {one.why}' for one in self._servers)}")


async def _assistants(client: LangGraphClient, graph: str) -> list[Assistant]:
    try:
        return await client.assistants.search(graph_id=graph, limit=1)
    except NotFoundError:
        return []


def _check_context(url: str, schema: Any, context: Mapping[str, Any]) -> None:
    problem = next(iter(Draft202012Validator(schema or {}).iter_errors(dict(context))), None)
    if problem is not None:
        where = ".".join(str(part) for part in problem.absolute_path)
        raise FleetError(f"{url} refuses the settings: {f'{where}: ' if where else ''}{problem.message}")


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[LangGraphClient]:
    """A client that raises `_LostError` if another server may help, and `FleetError` if none can."""
    token = os.environ.get(TOKEN_VARIABLE)
    headers = {"Authorization": f"Bearer {token}"} if token else None
    try:
        transport = httpx.AsyncHTTPTransport(retries=1)
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE, transport=transport) as client:
            yield LangGraphClient(client)
    except APIStatusError as error:
        if error.status_code in {401, 403}:
            raise FleetError(f"{url} refuses the token: set {TOKEN_VARIABLE} (HTTP {error.status_code})") from error
        if error.status_code in {400, 422}:
            raise FleetError(f"{url} refuses the question: {error.message}") from error
        raise _LostError(f"HTTP {error.status_code}") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise FleetError(f"{url!r} is not the URL of a server: {error}") from error
    except json.JSONDecodeError as error:
        raise FleetError(f"{url} is not a LangGraph server: {error}") from error
    except httpx.HTTPError as error:
        raise _LostError(str(error) or type(error).__name__) from error


async def _continuing(client: LangGraphClient, thread: str, more: Grant) -> Command:
    """The command that continues a run with more, whether it asks for it or has ended."""
    if _is_paused(await client.threads.get_state(thread)):
        return {"resume": more.model_dump()}
    return {"update": {"granted": more.samples, "granted_usd": more.usd}, "goto": "grant_budget"}


async def _run(
    client: LangGraphClient,
    graph: str,
    thread: str,
    given: Mapping[str, Any],
    context: Mapping[str, Any],
    *,
    is_kept: bool,
) -> tuple[State, str | None]:
    """Wait for a background run on a thread, which begins or goes on with what is `given`, or is at work already.

    If the waiting is cancelled, so is the run, unless it is kept: then somebody knows where it is and will ask again.

    Returns:
        Its state, and why it failed. A run that waits for an answer has neither a result nor a failure.
    """
    at_work = [run for run in await client.runs.list(thread) if run["status"] in {"pending", "running"}]
    if at_work:
        run = at_work[0]
    else:
        run = await client.runs.create(thread, graph, context=dict(context), **given)
    try:
        while run["status"] in {"pending", "running"}:
            await asyncio.sleep(POLLED_EVERY)
            run = await client.runs.get(thread, run["run_id"])
    except asyncio.CancelledError:
        if not is_kept:
            with contextlib.suppress(httpx.HTTPError):
                await asyncio.shield(client.runs.cancel(thread, run["run_id"]))
        raise
    found = await client.threads.get_state(thread)
    state = _state_in(found)
    if state["result"] is not None or _is_paused(found):
        return state, None
    ended: Any = await client.runs.join(thread, run["run_id"])
    why = (ended or {}).get("__error__") or {}
    message = " ".join(why.get("message", "without an answer").split())
    return state, f"the server's run ended as {run['status']!r}: {message}"


def _state_in(found: ThreadState) -> State:
    values = cast("dict[str, Any]", found["values"] or {})
    return cast("State", empty_state() | {key: value for key, value in values.items() if value})


def _is_paused(found: ThreadState) -> bool:
    return any(task.get("interrupts") for task in found.get("tasks") or ())


def context_of(settings: MetaScaleSettings) -> dict[str, Any]:
    """Settings for a server: those that are set. No seed is no setting; another null may switch something off."""
    given = settings.model_dump(mode="json", exclude_unset=True)
    return {name: value for name, value in given.items() if name != "seed" or value is not None}
