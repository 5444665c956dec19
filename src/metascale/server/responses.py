"""The part of OpenAI's Responses API that a search can answer: text, images, instructions and a format of the answer.

What needs stored responses, tools or a stream is refused, with what to use instead.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from metascale.server.errors import bad_request
from metascale.server.replies import search_report, usage
from metascale.server.request import ChatRequest, Ignored
from metascale.server.search import SearchOutcome

CHAT = "/v1/chat/completions"
ELSEWHERE = {
    "stream": f"responses are not streamed here; {CHAT} streams",
    "tools": f"responses call no tools here; {CHAT} does",
    "previous_response_id": "no response is stored here; send the whole conversation in 'input'",
    "conversation": "no conversation is stored here; send the whole conversation in 'input'",
    "background": "no response is stored here; wait for it",
    "prompt": "no prompt is stored here; send its text in 'instructions'",
}
"""Parameters that are refused where they ask for something, each with what to use instead."""
_PARTS = {"input_text": "text", "output_text": "text", "text": "text"}


class _Format(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: dict[str, Any] | None = None
    verbosity: str | None = None


class _Reasoning(BaseModel):
    model_config = ConfigDict(extra="forbid")

    effort: str | None = None
    summary: Any = Ignored
    generate_summary: Any = Ignored


class ResponsesRequest(BaseModel):
    """A request for a response. Unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1, max_length=1_000)
    input: str | list[dict[str, Any]] = Field(min_length=1)
    instructions: str | None = None
    metadata: dict[str, str] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    text: _Format | None = None
    reasoning: _Reasoning | None = None
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: Any = Ignored
    include: Any = Ignored
    service_tier: Any = Ignored
    store: Any = Ignored
    truncation: Any = Ignored
    user: Any = Ignored
    safety_identifier: Any = Ignored
    prompt_cache_key: Any = Ignored


def as_chat(body: bytes) -> ChatRequest:
    """The request for a chat completion that asks the same.

    Raises:
        ApiError: 400 for what only another route can do.
        pydantic.ValidationError: it is not JSON or not a valid request.
    """
    given = _object(body)
    for name, instead in ELSEWHERE.items():
        if given.pop(name, None):
            raise bad_request(instead, name)
    asked = ResponsesRequest.model_validate(given)
    said = [{"role": "user", "content": asked.input}] if isinstance(asked.input, str) else map(_message, asked.input)
    format_ = asked.text.format if asked.text else None
    chat = {
        "model": asked.model,
        "messages": [*([{"role": "system", "content": asked.instructions}] if asked.instructions else []), *said],
        "metadata": asked.metadata,
        "max_completion_tokens": asked.max_output_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "response_format": _response_format(format_) if format_ else None,
        "verbosity": asked.text.verbosity if asked.text else None,
        "reasoning_effort": asked.reasoning.effort if asked.reasoning else None,
    }
    return ChatRequest.model_validate(chat)


def response(head: dict[str, Any], asked: ChatRequest, found: SearchOutcome) -> dict[str, Any]:
    """The outcome of a search as a response."""
    told = usage(found)
    is_cut = found.status == "truncated"
    text = {"type": "output_text", "text": str(found.message.text), "annotations": [], "logprobs": []}
    status = "incomplete" if is_cut else "completed"
    message = {"type": "message", "id": f"msg_{uuid.uuid4().hex}", "status": status, "role": "assistant"}
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": head["created"],
        "model": head["model"],
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "output": [{**message, "content": [text]}],
        "usage": {
            "input_tokens": told["prompt_tokens"],
            "input_tokens_details": told["prompt_tokens_details"],
            "output_tokens": told["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": told["total_tokens"],
        },
        "instructions": None,
        "metadata": asked.metadata,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "parallel_tool_calls": False,
        "tool_choice": "none",
        "tools": [],
        "metascale": search_report(found),
    }


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request("the body is not JSON", code="invalid_json") from error
    if not isinstance(given, dict):
        raise bad_request("the body is not a JSON object")
    return given


def _message(item: dict[str, Any]) -> dict[str, Any]:
    kind = item.get("type", "message")
    if kind != "message":
        raise bad_request(f"an input of type {kind!r} is not answered here; {CHAT} takes tool calls", "input")
    content = item.get("content")
    parts = [_part(part) for part in content] if isinstance(content, list) else content
    return {"role": item.get("role"), "content": parts}


def _part(part: Any) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _PARTS:
        return {"type": "text", "text": part.get("text")}
    if kind == "input_image" and part.get("image_url"):
        shown = {"url": part["image_url"], **({"detail": part["detail"]} if part.get("detail") else {})}
        return {"type": "image_url", "image_url": shown}
    raise bad_request(f"an input part of type {kind!r} is not answered here; send text or images by URL", "input")


def _response_format(given: dict[str, Any]) -> dict[str, Any]:
    """The same format as chat completions name it."""
    if given.get("type") != "json_schema":
        return given
    return {"type": "json_schema", "json_schema": {key: value for key, value in given.items() if key != "type"}}
