"""A loopback server that speaks OpenAI's chat completions and counts what it serves.

The offline model answers. Where a question comes with tools, simple rules decide: a tool is called if it must be or if
the user mentions it, once for every quoted text in the question, with arguments that fit its schema; a tool's result is
answered in words.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import socket
import struct
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from metascale import prompts
from metascale.models import SimulatedChatModel
from metascale.models.simulated import kind_of_request
from tests.waiting import CEILING

Forms = frozenset[str]
Probabilities = int | Literal["refused", "ignored"]
"""The most alternatives that are reported for a token, if token probabilities are reported at all."""
FOR_EVER = 3600.0
"""Seconds."""
POLL = 0.002
"""Seconds after which a request that is held is looked at again."""
EVERY_FORM: Forms = frozenset({"json_schema", "tools"})


@dataclass
class Served:
    """One request that was answered with a completion."""

    kind: str
    text: str
    body: dict[str, Any]
    started: float
    finished: float
    input_tokens: int
    cached_tokens: int
    output_tokens: int


_STARTED = count()
"""Tells servers apart that had the same port: `ChatOpenAI` keeps the connections of an address."""
BLOCK = 64
"""Characters of a block of the prefix cache: 16 tokens, as in vLLM."""


class PrefixCache:
    """What a server has read before: prompts whose reply has ended, block by block from their beginning."""

    def __init__(self) -> None:
        self._known: set[int] = set()

    def cached_tokens(self, prompt: str) -> int:
        """Tokens at the beginning of a prompt that an earlier prompt began with too."""
        return sum(1 for _ in takewhile(self._known.__contains__, self._blocks(prompt))) * BLOCK // 4

    def keep(self, prompt: str) -> None:
        self._known.update(self._blocks(prompt))

    @staticmethod
    def _blocks(prompt: str) -> Iterator[int]:
        known = 0
        for start in range(0, len(prompt) - BLOCK + 1, BLOCK):
            known = hash((known, prompt[start : start + BLOCK]))
            yield known


@dataclass
class Fault:
    """An answer other than a completion, a completion with something changed, or a connection that breaks.

    A connection that breaks resets instead of an answer, closes after half of the answer, or hangs without any.
    """

    status: int = 200
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    breaks: Literal["reset", "half", "hang"] | None = None
    text: str | Callable[[str], str] | None = None
    finish_reason: str = "stop"
    refusal: str | None = None
    tool_arguments: str | None = None
    logprobs: Any = None
    pauses_after: int | None = None
    """Pieces of a stream after which nothing comes until the client has gone."""


class _ResetError(Exception):
    """The server resets the connection."""


Script = Callable[[str, int, dict[str, Any]], Fault | None]
Latency = Callable[[str, int], float]
"""Seconds that the request of this kind and number takes."""
Ready = Callable[[str, int], bool]
"""Whether the request of this kind and number may be answered by now."""


class OpenAIServer:
    """The server; `script(kind, number, body)` may put a fault in place of an answer.

    A request is held until it is `ready` or its client has gone, and then takes its `latency`.
    """

    def __init__(
        self,
        *,
        latency: float | Latency = 0.0,
        ready: Ready | None = None,
        forms: Forms = EVERY_FORM,
        script: Script | None = None,
        several: bool = True,
        overconfidence: float = 0.0,
        system_role: bool = True,
        probabilities: Probabilities = 20,
        is_llama_cpp: bool = False,
    ) -> None:
        self.latency = latency
        self.ready = ready
        self.several = several
        self.overconfidence = overconfidence
        self.system_role = system_role
        self.probabilities = probabilities
        self.is_llama_cpp = is_llama_cpp
        self.forms = forms
        self.script = script
        self.served: list[Served] = []
        self.requests: Counter[str] = Counter()
        self.cache = PrefixCache()
        self.working = 0
        """Requests that have come and are not answered."""
        self.url = ""

    def count(self, kind: str) -> int:
        return sum(served.kind == kind for served in self.served)

    @property
    def input_tokens(self) -> int:
        return sum(served.input_tokens for served in self.served)

    @property
    def cached_tokens(self) -> int:
        return sum(served.cached_tokens for served in self.served)

    @property
    def output_tokens(self) -> int:
        return sum(served.output_tokens for served in self.served)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, path, _ = head.split(" ", 2)
                headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                status, extra, reply = await self.respond(method, path, body, reader.at_eof)
                if isinstance(reply, Stream):
                    writer.write(
                        b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                    )
                    if not await reply.write(writer, reader.at_eof):
                        break
                    continue
                extra = {"content-type": "application/json", "content-length": str(len(reply)), **extra}
                lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in extra.items())]
                writer.write("\r\n".join([*lines, "", ""]).encode() + reply)
                await writer.drain()
                if int(extra["content-length"]) > len(reply):
                    break
        except _ResetError:
            linger = struct.pack("ii", 1, 0)  # so that closing sends RST instead of FIN
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def respond(
        self, method: str, path: str, raw: bytes, is_gone: Callable[[], bool]
    ) -> tuple[int, dict[str, str], bytes | Stream]:
        if method == "GET" and path == "/stats":
            return 200, {}, json.dumps([vars(served) for served in self.served]).encode()
        self.working += 1
        try:
            return await self._answer(json.loads(raw), is_gone)
        finally:
            self.working -= 1

    async def _answer(
        self, body: dict[str, Any], is_gone: Callable[[], bool]
    ) -> tuple[int, dict[str, str], bytes | Stream]:
        started = time.time()
        messages = [_read(message) for message in body["messages"]]
        has_system = body["messages"][0]["role"] in {"system", "developer"}
        if not self.system_role and not has_system:
            messages = _with_system_message(messages)
        kind = kind_of_request(messages[0].text if messages[0].type == "system" else "", messages[-1].text)
        prompt = "\n".join(f"{message.type}: {message.text}" for message in messages)
        cached = self.cache.cached_tokens(prompt)
        number = self.requests[kind]
        self.requests[kind] += 1
        while self.ready is not None and not self.ready(kind, number):
            if is_gone():
                raise ConnectionError
            await asyncio.sleep(POLL)
        await asyncio.sleep(self.latency(kind, number) if callable(self.latency) else self.latency)
        fault = self._fault(kind, number, body)
        if fault.status != 200 or fault.body is not None:
            return fault.status, fault.headers, (fault.body or "").encode()
        if fault.breaks == "reset":
            raise _ResetError
        if fault.breaks == "hang":
            await asyncio.sleep(FOR_EVER)  # an event that nobody sets would be collected with its task
        wanted = body.get("n") if self.several else None
        model = SimulatedChatModel(seed=body.get("seed"), n=wanted, overconfidence=self.overconfidence)
        asked = self._asked(body)
        replies = model.generate([messages], **asked).generations[0]
        simulated = [reply.message for reply in replies]  # type: ignore[union-attr]
        texts = [_changed(reply.text, fault) for reply in simulated]
        assert isinstance(simulated[0], AIMessage)
        tokens = simulated[0].usage_metadata
        assert tokens is not None
        counts = (tokens["input_tokens"], min(cached, tokens["input_tokens"]), tokens["output_tokens"])
        self.cache.keep(f"{prompt}\nai: {texts[0]}")
        completion = _completion(body, kind, texts, fault, counts)
        if self.is_llama_cpp:
            completion["system_fingerprint"] = "b6123-5a4cd6f3"
            completion["usage"]["completion_tokens"] = counts[2] // len(texts)  # those of one reply
        if asked:
            for choice, message in zip(completion["choices"], simulated, strict=True):
                changed = choice["message"]["content"] != message.text
                choice["logprobs"] = fault.logprobs or (None if changed else message.response_metadata["logprobs"])
        if fault.breaks == "half":
            whole = json.dumps(completion).encode()
            return 200, {"content-length": str(len(whole))}, whole[: len(whole) // 2]
        self.served.append(Served(kind, texts[0], body, started, time.time(), *counts))
        if body.get("stream"):
            return 200, {}, Stream(_events(body, completion), fault.pauses_after, self.served[-1])
        return 200, {}, json.dumps(completion).encode()

    def _fault(self, kind: str, number: int, body: dict[str, Any]) -> Fault:
        """What is wrong with the answer to a request: what this server refuses, or what the script says."""
        refused = {
            "response_format is not supported": "response_format" in body and "json_schema" not in self.forms,
            "tools are not supported": "tools" in body and "tools" not in self.forms,
            "logprobs is not supported": "logprobs" in body and self.probabilities == "refused",
            "System role not supported": body["messages"][0]["role"] == "system" and not self.system_role,
        }
        scripted = self.script(kind, number, body) if self.script else None
        message = next((message for message, is_refused in refused.items() if is_refused), None)
        return Fault(400, json.dumps({"error": {"message": message}})) if message else scripted or Fault()

    def _asked(self, body: dict[str, Any]) -> dict[str, Any]:
        """The token probabilities in the reply to a request, as the offline model gives them."""
        if not body.get("logprobs") or isinstance(self.probabilities, str):
            return {}
        return {"logprobs": True, "top_logprobs": min(body.get("top_logprobs") or 0, self.probabilities)}


def _with_system_message(messages: list[BaseMessage]) -> list[BaseMessage]:
    """The messages with the instructions in the user's first turn as a system message again."""
    said = messages[0].text
    rest = said if kind_of_request(said) != "solve" else said.rpartition("\n\n")[2]
    return (
        messages
        if rest == said and kind_of_request(said) == "solve"
        else [SystemMessage(said), HumanMessage(rest), *messages[1:]]
    )


def _changed(text: str, fault: Fault) -> str:
    if fault.text is None:
        return text
    return fault.text if isinstance(fault.text, str) else fault.text(text)


def _read(message: dict[str, Any]) -> BaseMessage:
    content = message.get("content") or ""
    if message["role"] == "tool":
        return ToolMessage(content, tool_call_id=message["tool_call_id"])
    kinds: dict[str, Callable[[Any], BaseMessage]] = {
        "system": SystemMessage,
        "developer": SystemMessage,
        "user": HumanMessage,
        "assistant": AIMessage,
    }
    return kinds[message["role"]](content)


def _asked(body: dict[str, Any]) -> BaseMessage:
    """The last message, without a meta-thought."""
    last = _read(body["messages"][-1])
    return HumanMessage(prompts.apart(last.text)[0]) if last.type == "human" else last


def _said(body: dict[str, Any], kind: str, text: str, fault: Fault) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": fault.refusal}
    functions = _functions(body, kind, text, fault)
    if functions:
        calls = [{"id": f"call_{uuid.uuid4().hex}", "type": "function", "function": f} for f in functions]
        message |= {"content": None, "tool_calls": calls}
    elif kind == "solve" and "response_format" in body and fault.text is None:
        schema = body["response_format"]["json_schema"]["schema"]
        message["content"] = json.dumps(_arguments(schema, _asked(body).text))
    return message


def _completion(
    body: dict[str, Any], kind: str, texts: list[str], fault: Fault, tokens: tuple[int, int, int]
) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [
            {"index": index, "message": _said(body, kind, text, fault), "finish_reason": fault.finish_reason}
            for index, text in enumerate(texts)
        ],
        "usage": {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[2],
            "total_tokens": tokens[0] + tokens[2],
            "prompt_tokens_details": {"cached_tokens": tokens[1]},
        },
    }


def _functions(body: dict[str, Any], kind: str, text: str, fault: Fault) -> list[dict[str, str]]:
    """The function calls of a reply: none, or with arguments that fit."""
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools", [])}
    if not tools or (fault.text is not None and fault.tool_arguments is None and kind == "solve"):
        return []
    if kind != "solve":
        return [{"name": next(iter(tools)), "arguments": fault.tool_arguments or text}]
    asked = _asked(body)
    choice = body.get("tool_choice", "auto")
    named = [name for name in tools if asked.type == "human" and _is_mentioned(name, asked.text)]
    if isinstance(choice, dict):
        named = [choice["function"]["name"]]
    elif choice == "required":
        named = named or list(tools)
    elif choice == "none":
        named = []
    if not named:
        return []
    if fault.tool_arguments is not None:
        return [{"name": named[0], "arguments": fault.tool_arguments}]
    said = re.findall(r"'([^']+)'", asked.text) or [asked.text]
    return [{"name": named[0], "arguments": json.dumps(_arguments(tools[named[0]]["parameters"], s))} for s in said]


def _is_mentioned(name: str, text: str) -> bool:
    """Whether a text has a word of a tool's name."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    return any(word in words for word in name.lower().split("_") if len(word) > 3)


def _arguments(schema: dict[str, Any], text: str) -> dict[str, Any]:
    """An object that fits a JSON Schema, made of what a text says."""
    numbers = iter(re.findall(r"\d+", text))

    def value(kind: str | None) -> Any:
        if kind in {"integer", "number"}:
            return int(next(numbers, 3))
        return {"boolean": True, "array": [], "object": {}}.get(kind or "", text)

    return {name: value(one.get("type")) for name, one in schema.get("properties", {}).items()}


def _events(body: dict[str, Any], completion: dict[str, Any]) -> list[bytes]:
    """A completion as server-sent events, word by word; usage only where it is asked for, as OpenAI has it."""
    choice = completion["choices"][0]
    message = choice["message"]
    calls = [{"index": index, **call} for index, call in enumerate(message.get("tool_calls", []))]
    tokens = (choice.get("logprobs") or {}).get("content")
    words = [item["token"] for item in tokens] if tokens else re.findall(r"\s*\S+", message["content"] or "")
    pieces: list[dict[str, Any]] = [{"delta": {"role": "assistant", "content": ""}}]
    pieces += [{"delta": {"content": word}} for word in words]
    for piece, item in zip(pieces[1:], tokens or [], strict=False):
        piece["logprobs"] = {"content": [item]}
    pieces += [{"delta": {"tool_calls": calls}}] if calls else []
    about = {**{key: completion[key] for key in ("id", "created", "model")}, "object": "chat.completion.chunk"}
    events = [{**about, "choices": [{"index": 0, "finish_reason": None, **piece}]} for piece in pieces]
    events.append({**about, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append({**about, "choices": [], "usage": completion["usage"]})
    return [f"data: {line}\n\n".encode() for line in [*map(json.dumps, events), "[DONE]"]]


@dataclass
class Stream:
    """A completion on its way to the client, event by event."""

    events: list[bytes]
    pauses_after: int | None
    served: Served

    async def write(self, writer: asyncio.StreamWriter, is_gone: Callable[[], bool]) -> bool:
        """Write the events; returns whether the client has read them all. What it went without was not written."""
        for number, event in enumerate(self.events):
            while is_gone() or number == self.pauses_after:
                if is_gone():
                    self.served.output_tokens = number - 1  # the first event holds no token
                    return False
                await asyncio.sleep(POLL)
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


@contextlib.contextmanager
def serving(server: OpenAIServer) -> Iterator[OpenAIServer]:
    """Run the server in a thread of this process; its URL is `server.url`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = asyncio.start_server(server.handle, "127.0.0.1", 0, limit=2**24)
    listener = asyncio.run_coroutine_threadsafe(starting, loop).result(CEILING)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/{next(_STARTED)}/v1"
    try:
        yield server
    finally:

        async def stop() -> None:
            listener.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(stop(), loop).result(CEILING)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CEILING)
        loop.close()


async def _serve_forever(latency: float) -> None:
    server = OpenAIServer(latency=latency)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0, limit=2**24)
    print(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201
    await listener.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    asyncio.run(_serve_forever(parser.parse_args().latency))
