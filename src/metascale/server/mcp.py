"""One tool, `think_hard`, for clients of the Model Context Protocol: the transport *Streamable HTTP*, without sessions.

See https://modelcontextprotocol.io/specification/2025-06-18. LangGraph's own endpoint gives the text of a Python dict
as the result of a tool; this one gives the answer as text, and its confidence, cost and notes as structured content.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import metascale
from metascale import prompts
from metascale.server.errors import ApiError, as_api_error
from metascale.server.openapi import ANSWERED
from metascale.server.replies import search_report
from metascale.server.request import read_body
from metascale.server.search import SearchOutcome

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Versions of the protocol that are served, the newest first."""
NOT_JSON, NOT_A_MESSAGE, NO_METHOD, BAD_PARAMS = -32700, -32600, -32601, -32602
"""Error codes of JSON-RPC 2.0."""

Think = Callable[[Request, str], Awaitable[SearchOutcome | None]]
"""Answers a question for a client; None if the client has left."""


class Arguments(BaseModel):
    """The arguments of the tool."""

    model_config = ConfigDict(extra="forbid", title="think_hard")

    question: str = Field(description=prompts.load("tool_question"))


TOOL = {
    "name": "think_hard",
    "title": "Think hard",
    "description": prompts.load("tool_description"),
    "inputSchema": Arguments.model_json_schema(),
    "outputSchema": ANSWERED,
    "annotations": {"readOnlyHint": True, "openWorldHint": True},
}


class Message(BaseModel):
    """A request, or a notification if it has no id."""

    jsonrpc: Literal["2.0"]
    id: int | str | None = None
    method: str
    params: dict[str, Any] = {}


class _RefusalError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ToolEndpoint:
    """`/mcp`."""

    def __init__(self, think: Think, max_body: int) -> None:
        """Answer by `think`; bodies have at most `max_body` bytes."""
        self._think = think
        self._max_body = max_body

    def routes(self) -> list[Route]:
        """Its routes. Clients ask for streams and sessions, which do not exist here, by GET and DELETE."""
        return [
            Route("/mcp", self.answer, methods=["POST"], include_in_schema=False),
            Route("/mcp", _not_allowed, methods=["GET", "DELETE"], include_in_schema=False),
        ]

    async def answer(self, request: Request) -> Response:
        """Answer a message."""
        try:
            body = await read_body(request, self._max_body)
        except ApiError as error:
            return _failed(None, NOT_A_MESSAGE, _said(error), error.status)
        try:
            message = Message.model_validate_json(body)
        except ValidationError as error:
            code = NOT_JSON if error.errors()[0]["type"] == "json_invalid" else NOT_A_MESSAGE
            return _failed(None, code, _said(error), 400)
        if message.id is None:
            return Response(status_code=202)
        try:
            result = await self._result(request, message)
        except _RefusalError as refusal:
            return _failed(message.id, refusal.code, str(refusal))
        if result is None:
            return Response(status_code=499)
        return JSONResponse({"jsonrpc": "2.0", "id": message.id, "result": result})

    async def _result(self, request: Request, message: Message) -> dict[str, Any] | None:
        match message.method:
            case "initialize":
                return _greeting(message.params.get("protocolVersion"))
            case "ping":
                return {}
            case "tools/list":
                return {"tools": [TOOL]}
            case "tools/call":
                return await self._call(request, message.params)
        raise _RefusalError(NO_METHOD, f"the method {message.method!r} is not served; this server has tools only")

    async def _call(self, request: Request, params: dict[str, Any]) -> dict[str, Any] | None:
        if params.get("name") != TOOL["name"]:
            raise _RefusalError(BAD_PARAMS, f"there is no tool {params.get('name')!r}; there is {TOOL['name']!r}")
        try:
            question = Arguments.model_validate(params.get("arguments") or {}).question
            found = await self._think(request, question)
        except Exception as error:  # noqa: BLE001  the model that called the tool reads what went wrong
            return {"content": [_text(_said(error))], "isError": True}
        if found is None:
            return None
        answer = str(found.message.text)
        told = {"answer": answer, **search_report(found)}
        return {"content": [_text(answer)], "structuredContent": told, "isError": False}


async def _not_allowed(_: Request) -> Response:
    return Response(status_code=405, headers={"allow": "POST"})


def _greeting(version: object) -> dict[str, Any]:
    return {
        "protocolVersion": version if version in VERSIONS else VERSIONS[0],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "metascale", "version": metascale.__version__},
    }


def _failed(id_: int | str | None, code: int, said: str, status: int = 200) -> Response:
    return JSONResponse({"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": said}}, status)


def _text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def _said(error: Exception) -> str:
    return str(as_api_error(error))
