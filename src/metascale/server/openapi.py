"""OpenAPI 3.1 descriptions of the routes below `/v1`, which LangGraph's server adds to its own document."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from metascale.server.request import NEUTRAL, ChatRequest

JSON = "application/json"
TEXT = {"type": "string"}
TEXT_OR_NULL = {"type": ["string", "null"]}
NUMBER_OR_NULL = {"type": ["number", "null"]}
COUNT = {"type": "integer", "minimum": 0}
TOKEN = (401, 403)
"""Status codes of the guard before every route."""


def _object(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


_ERROR = _object({"error": _object({"message": TEXT, "type": TEXT, "param": TEXT_OR_NULL, "code": TEXT_OR_NULL})})
_MODEL = _object({"id": TEXT, "object": {"const": "model"}, "created": COUNT, "owned_by": TEXT})
_CALL = _object(
    {"id": TEXT, "type": {"const": "function"}, "function": _object({"name": TEXT, "arguments": TEXT})},
)
_MESSAGE = _object(
    {
        "role": {"const": "assistant"},
        "content": TEXT_OR_NULL,
        "refusal": TEXT_OR_NULL,
        "tool_calls": {"type": "array", "items": _CALL},
    },
    "tool_calls",
)
_CHOICE = _object(
    {
        "index": COUNT,
        "message": _MESSAGE,
        "logprobs": {"type": "null"},
        "finish_reason": {"enum": ["stop", "length", "content_filter", "tool_calls"]},
    }
)
_SEARCH = _object(
    {
        "samples": COUNT,
        "calls": COUNT,
        "seconds": {"type": "number", "minimum": 0},
        "cost_usd": NUMBER_OR_NULL,
        "stop_reason": TEXT,
        "reward": NUMBER_OR_NULL,
        "confidence": NUMBER_OR_NULL,
        "meta_thought": _object({"id": TEXT, "mindset": TEXT, "strategy": TEXT, "origin": TEXT}),
        "notes": {"type": "array", "items": TEXT},
    }
)
ANSWERED = _object({"answer": TEXT, **_SEARCH["properties"]})
"""What the tool at `/mcp` returns beside its text."""
_COMPLETION = _object(
    {
        "id": TEXT,
        "object": {"const": "chat.completion"},
        "created": COUNT,
        "model": TEXT,
        "choices": {"type": "array", "items": _CHOICE, "minItems": 1, "maxItems": 1},
        "usage": _object(
            {
                "prompt_tokens": COUNT,
                "completion_tokens": COUNT,
                "total_tokens": COUNT,
                "prompt_tokens_details": _object({"cached_tokens": COUNT}),
            }
        ),
        "metascale": _SEARCH,
    }
)


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema with every reference replaced by its definition; no definition is recursive."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(part, definitions) for key, part in schema.items() if key not in {"$defs", "discriminator"}}


def _request() -> dict[str, Any]:
    """The request body; optional fields may also be null or a default."""
    schema = ChatRequest.model_json_schema()
    whole: dict[str, Any] = _inlined(schema, schema["$defs"])
    fields, required = whole["properties"], whole["required"]
    for name in {*fields, *NEUTRAL} - {*required}:
        nothing = [{"type": "null"}, *([{"const": NEUTRAL[name]}] if name in NEUTRAL else [])]
        fields[name] = {"anyOf": [*([fields[name]] if name in fields else []), *nothing]}
    return whole


def _operation(summary: str, answer: dict[str, Any], *refusals: int, **more: Any) -> str:
    """An operation as a docstring for the schema generators of Starlette and LangGraph."""
    responses: dict[str, Any] = {"200": {"description": "OK", "content": answer}}
    for status in sorted({*TOKEN, *refusals, 500}):
        told = {"description": HTTPStatus(status).phrase, "content": {JSON: {"schema": _ERROR}}}
        responses[str(status)] = told
    return f"{summary}\n---\n{json.dumps({'tags': ['OpenAI'], 'summary': summary, 'responses': responses, **more})}"


CREATE = _operation(
    "Answer by a search, at once or as a stream.",
    {JSON: {"schema": _COMPLETION}, "text/event-stream": {"schema": TEXT}},
    *(400, 404, 413, 415, 429, 502, 504),
    requestBody={"required": True, "content": {JSON: {"schema": _request()}}},
)
RESPOND = _operation(
    "Answer by a search, in the format of the Responses API.",
    {JSON: {"schema": {"type": "object"}}},
    *(400, 404, 413, 415, 429, 502, 504),
    requestBody={"required": True, "content": {JSON: {"schema": {"type": "object"}}}},
)
_MODELS = _object({"object": {"const": "list"}, "data": {"type": "array", "items": _MODEL}})
LIST = _operation("List the models.", {JSON: {"schema": _MODELS}})
SHOW = _operation(
    "Show one of the models.",
    {JSON: {"schema": _MODEL}},
    *(400, 404),
    parameters=[{"name": "name", "in": "path", "required": True, "schema": {**TEXT, "minLength": 1}}],
)
