"""The app that LangGraph's server mounts: OpenAI's routes below `/v1`, a tool at `/mcp`, and a guard before all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from metascale.server import openapi, responses
from metascale.server.auth import Guard
from metascale.server.errors import ApiError, as_api_error
from metascale.server.mcp import ToolEndpoint
from metascale.server.names import DEFAULT_METHOD
from metascale.server.options import TOKEN_VARIABLE, ServerOptions
from metascale.server.replies import chunks, completion, first_chunk, new_head
from metascale.server.request import ChatRequest, User, read_body
from metascale.server.search import PreparedSearch, Searches, SearchOutcome
from metascale.settings import MetaScaleSettings

RETRY_AFTER = 1
"""Seconds until a rejected client may retry."""
STILL_THERE = 10.0
"""Seconds between keep-alive comments in a stream that waits for its search, so that proxies keep it open."""

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


class Completions:
    """OpenAI's chat completions, and the list of models."""

    def __init__(self, options: ServerOptions, settings: MetaScaleSettings) -> None:
        """Serve within the options; the settings apply where a request sets none."""
        self._options = options
        self._searches = Searches(options, settings)
        self._running = 0
        self._since = int(time.time())

    def routes(self) -> list[Route]:
        """The routes, below `/v1`."""
        return [
            Route("/chat/completions", _answering(self.create, openapi.CREATE), methods=["POST"]),
            Route("/responses", _answering(self.respond, openapi.RESPOND), methods=["POST"]),
            Route("/models", _answering(self.list_models, openapi.LIST), methods=["GET"]),
            Route("/models/{name:path}", _answering(self.show_model, openapi.SHOW), methods=["GET"]),
        ]

    async def list_models(self, _: Request) -> Response:
        """List the models."""
        return JSONResponse({"object": "list", "data": [self._model(name) for name in self._searches.names]})

    async def show_model(self, request: Request) -> Response:
        """Show one of the models."""
        return JSONResponse(self._model(self._searches.names.find(request.path_params["name"]).name))

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._since, "owned_by": "metascale"}

    async def create(self, request: Request) -> Response:
        """Answer by a search, at once or as a stream."""
        asked = ChatRequest.model_validate_json(await read_body(request, self._options.max_body))
        search = self._searches.prepare(asked)
        head = new_head(search.target.name)
        with contextlib.ExitStack() as place:
            place.enter_context(self._one_more())
            if asked.stream:
                return _Stream(self._events(head, asked, search), place.pop_all())
            found = await _unless_gone(request, search)
        return JSONResponse(completion(head, found)) if found else Response(status_code=499)

    async def respond(self, request: Request) -> Response:
        """Answer by a search, in the format of OpenAI's Responses API."""
        asked = responses.as_chat(await read_body(request, self._options.max_body))
        search = self._searches.prepare(asked)
        with self._one_more():
            found = await _unless_gone(request, search)
        head = new_head(search.target.name)
        return JSONResponse(responses.response(head, asked, found)) if found else Response(status_code=499)

    async def think(self, request: Request, question: str) -> SearchOutcome | None:
        """Answer a question by METASCALE on the first model; None if the client disconnects first."""
        asked = ChatRequest(model=DEFAULT_METHOD, messages=[User(role="user", content=question)])
        search = self._searches.prepare(asked)
        with self._one_more():
            return await _unless_gone(request, search)

    @contextlib.contextmanager
    def _one_more(self) -> Iterator[None]:
        if self._running >= self._options.max_concurrent:
            raise ApiError(
                429,
                f"{self._running} searches are running, which is the limit",
                kind="rate_limit_error",
                code="rate_limit_exceeded",
                headers={"retry-after": str(RETRY_AFTER)},
            )
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def _events(self, head: dict[str, Any], asked: ChatRequest, search: PreparedSearch) -> AsyncGenerator[bytes]:
        with_usage = asked.stream_options.include_usage
        async with _begun(search) as task:
            yield _event(first_chunk(head, with_usage=with_usage))
            while not (await asyncio.wait({task}, timeout=STILL_THERE))[0]:
                yield b": searching\n\n"
            try:
                found = task.result()
            except Exception as error:  # noqa: BLE001  after the headers, a stream has no other way to say it
                yield _event(as_api_error(error).body)
                return
        for chunk in chunks(head, found, with_usage=with_usage):
            yield _event(chunk)
        yield b"data: [DONE]\n\n"


class _Stream(StreamingResponse):
    """Server-sent events that always close their source: when a client disconnects, its search stops."""

    def __init__(self, events: AsyncGenerator[bytes], place: contextlib.ExitStack) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        self._events = events
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            async with contextlib.aclosing(self._events):
                await super().__call__(scope, receive, send)


@contextlib.asynccontextmanager
async def _begun(search: PreparedSearch) -> AsyncIterator[asyncio.Task[SearchOutcome]]:
    """The search as a task that is cancelled at the end of the block."""

    async def run() -> SearchOutcome:
        return await search.run()

    task = asyncio.create_task(run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _unless_gone(request: Request, search: PreparedSearch) -> SearchOutcome | None:
    """The search's outcome; None if the client disconnects first, which ends the search."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    async with _begun(search) as task:
        leaving = asyncio.create_task(gone())
        try:
            await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        return task.result() if task.done() else None


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def _answering(endpoint: Endpoint, operation: str) -> Endpoint:
    """The endpoint; its errors are responses in OpenAI's format, and the operation describes it in OpenAPI."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Exception as error:  # noqa: BLE001  a client gets an answer, whatever went wrong
            return as_api_error(error).response()

    answer.__doc__ = operation
    return answer


async def _not_there(_: Request, error: Exception) -> Response:
    return as_api_error(error).response()


def create_app(options: ServerOptions, settings: MetaScaleSettings, token: str | None) -> Starlette:
    """The app.

    Args:
        options: the models, and the limits of requests.
        settings: settings of searches where a request sets none.
        token: the bearer token of clients; None for none.

    Raises:
        ValueError: two models have the same name.
    """
    completions = Completions(options, settings)
    v1 = Starlette(routes=completions.routes(), exception_handlers={HTTPException: _not_there})
    guard = Middleware(Guard, token=token, local_names_only=options.local_names_only)
    mount = Mount("/v1", app=v1)
    mount.path_regex = re.compile(
        mount.path_regex.pattern, re.DOTALL
    )  # Starlette's own pattern rejects names with a line feed
    tool = ToolEndpoint(completions.think, options.max_body)
    return Starlette(routes=[mount, *tool.routes()], middleware=[guard])


app = create_app(
    ServerOptions.from_environment(), MetaScaleSettings.from_environment(), os.environ.get(TOKEN_VARIABLE) or None
)
