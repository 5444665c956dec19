"""Outcomes of searches as OpenAI chat completions."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessageChunk

from metascale.integrations.whole_messages import in_chunks
from metascale.records import Status
from metascale.server.search import SearchOutcome

_FINISHED: dict[Status, str] = {"truncated": "length", "refused": "content_filter"}


def new_head(model: str) -> dict[str, Any]:
    """The fields that a completion shares with all chunks of its stream."""
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}


def completion(head: dict[str, Any], found: SearchOutcome) -> dict[str, Any]:
    """A completion in one piece."""
    calls = [
        {"id": call["id"], "type": "function", "function": _function(call["name"], json.dumps(call["args"]))}
        for call in found.message.tool_calls
    ]
    message = {"role": "assistant", "content": str(found.message.text) or None, "refusal": None}
    choice = {
        "index": 0,
        "message": {**message, "tool_calls": calls} if calls else message,
        "logprobs": None,
        "finish_reason": _finish_reason(found),
    }
    about = {"usage": usage(found), "metascale": search_report(found)}
    return {**head, "object": "chat.completion", "choices": [choice], **about}


def first_chunk(head: dict[str, Any], *, with_usage: bool) -> dict[str, Any]:
    """The first chunk, which holds the role."""
    return _chunk(head, {"role": "assistant", "content": ""}, None, with_usage=with_usage)


def chunks(head: dict[str, Any], found: SearchOutcome, *, with_usage: bool) -> Iterator[dict[str, Any]]:
    """The chunks of the outcome: the answer word by word, the finish reason, and on request the usage."""
    for chunk in in_chunks(found.message):
        delta = _delta(chunk)
        if delta:
            yield _chunk(head, delta, None, with_usage=with_usage)
    last = _chunk(head, {}, _finish_reason(found), with_usage=with_usage)
    yield {**last, "metascale": search_report(found)}
    if with_usage:
        yield {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage(found)}


def usage(found: SearchOutcome) -> dict[str, Any]:
    """The tokens of every request of the search."""
    bill = found.result["usage"]
    read, written = bill["input_tokens"], bill["output_tokens"]
    told = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return {**told, "prompt_tokens_details": {"cached_tokens": bill["cached_input_tokens"]}}


def search_report(found: SearchOutcome) -> dict[str, Any]:
    """Further details of the search. Notes are cut at a colon: the rest may quote the model's server."""
    result = found.result
    bill = {key: result["usage"][key] for key in ("samples", "calls", "seconds", "cost_usd")}
    thought = {key: result["meta_thought"][key] for key in ("id", "mindset", "strategy", "origin")}
    known = {key: result[key] for key in ("stop_reason", "reward", "confidence")}
    return {**bill, **known, "meta_thought": thought, "notes": [note.partition(":")[0] for note in result["notes"]]}


def _function(name: str | None, arguments: str | None) -> dict[str, str | None]:
    return {"name": name, "arguments": arguments}


def _finish_reason(found: SearchOutcome) -> str:
    return "tool_calls" if found.message.tool_calls else _FINISHED.get(found.status, "stop")


def _delta(chunk: AIMessageChunk) -> dict[str, Any]:
    calls = [
        {
            "index": call["index"],
            "id": call["id"],
            "type": "function",
            "function": _function(call["name"], call["args"]),
        }
        for call in chunk.tool_call_chunks
    ]
    text = str(chunk.text)
    return ({"content": text} if text else {}) | ({"tool_calls": calls} if calls else {})


def _chunk(head: dict[str, Any], delta: dict[str, Any], finished: str | None, *, with_usage: bool) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished}
    chunk = {**head, "object": "chat.completion.chunk", "choices": [choice]}
    return {**chunk, "usage": None} if with_usage else chunk
