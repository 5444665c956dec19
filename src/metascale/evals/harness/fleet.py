"""Sends questions to a fleet of LangGraph servers as background runs, and retries on another server if one dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
from jsonschema import Draft202012Validator
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError, NotFoundError
from langgraph_sdk.schema import Assistant

from metascale.errors import MetaScaleError
from metascale.graphs import METHODS
from metascale.server.options import TOKEN_VARIABLE
from metascale.state import State, empty_state

AT_ONCE = 8
"""Questions in flight on each server. A server queues more than it can run, but then no other server can take them."""
POLLED_EVERY = 0.25
"""Seconds between polls of a run."""
PATIENCE = 10.0
"""Seconds until a silent server counts as dead; polling a run takes far less."""
AWAY = 30.0
"""Seconds before a dead server is tried again: about the time of a restart."""

Message = Mapping[str, str]


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

    async def ask(self, method: str, messages: Sequence[Message], context: Mapping[str, Any]) -> FleetReply:
        """Answer a question on a server.

        Raises:
            FleetError: no server answers any more, or one refuses the question.
        """
        notes: list[str] = []
        while True:
            server = await self._free()
            server.asked += 1
            try:
                async with _connected(server.url) as client:
                    state, problem = await _run(client, graph_of(method), messages, context)
                return FleetReply(server.url, state, problem, tuple(notes))
            except _LostError as error:
                server.why, server.away_until = str(error), time.monotonic() + AWAY
                notes.append(
                    f"asked again, for {server.url} was lost ({error}); what it spent on this question is not counted"
                )
            finally:
                server.asked -= 1

    async def _free(self) -> _Server:
        """The server with the fewest questions; waits until one has room."""
        while True:
            here = [server for server in self._servers if server.away_until <= time.monotonic()]
            if not here:
                raise self._none_answers()
            server = min(here, key=lambda server: server.asked)
            if server.asked < self._at_once:
                return server
            await asyncio.sleep(0.05)

    async def _check(self, server: _Server, methods: Sequence[str], contexts: Sequence[Mapping[str, Any]]) -> None:
        try:
            async with _connected(server.url) as client:
                for graph in dict.fromkeys(graph_of(method) for method in methods):
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


def graph_of(method: str) -> str:
    """The name of a method's graph in `langgraph.json`."""
    return METHODS[method].create.__name__.removeprefix("create_")


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


async def _run(
    client: LangGraphClient, graph: str, messages: Sequence[Message], context: Mapping[str, Any]
) -> tuple[State, str | None]:
    """Wait for a background run; returns its state and the reason of a failure."""
    thread = (await client.threads.create())["thread_id"]
    asked: Any = {"messages": [dict(message) for message in messages]}
    run = await client.runs.create(thread, graph, input=asked, context=dict(context))
    try:
        while run["status"] in {"pending", "running"}:
            await asyncio.sleep(POLLED_EVERY)
            run = await client.runs.get(thread, run["run_id"])
    except asyncio.CancelledError:
        with contextlib.suppress(httpx.HTTPError):
            await asyncio.shield(client.runs.cancel(thread, run["run_id"]))
        raise
    found = await client.threads.get_state(thread)
    values = cast("dict[str, Any]", found["values"] or {})
    state = cast("State", empty_state() | {key: value for key, value in values.items() if value})
    if state["result"] is not None:
        return state, None
    ended: Any = await client.runs.join(thread, run["run_id"])
    why = (ended or {}).get("__error__") or {}
    message = " ".join(why.get("message", "without an answer").split())
    return state, f"the server's run ended as {run['status']!r}: {message}"
