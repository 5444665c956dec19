"""A loopback server that speaks OpenAI's chat completions and counts what it serves. The offline model answers."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from metascale.models import SimulatedChatModel
from metascale.models.simulated import kind_of_request

Forms = frozenset[str]
EVERY_FORM: Forms = frozenset({"json_schema", "tools"})
MESSAGES = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


@dataclass
class Served:
    """One request that was answered with a completion."""

    kind: str
    text: str
    body: dict[str, Any]
    started: float
    finished: float
    input_tokens: int
    output_tokens: int


@dataclass
class Fault:
    """An answer other than a completion, or a completion with something changed."""

    status: int = 200
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    text: str | None = None
    finish_reason: str = "stop"
    refusal: str | None = None
    tool_arguments: str | None = None


Script = Callable[[str, int, dict[str, Any]], Fault | None]


class OpenAIServer:
    """The server; `script(kind, number, body)` may put a fault in place of an answer."""

    def __init__(
        self,
        *,
        latency: float = 0.0,
        forms: Forms = EVERY_FORM,
        script: Script | None = None,
        several: bool = True,
        overconfidence: float = 0.0,
    ) -> None:
        self.latency = latency
        self.several = several
        self.overconfidence = overconfidence
        self.forms = forms
        self.script = script
        self.served: list[Served] = []
        self.requests: Counter[str] = Counter()
        self.url = ""

    def count(self, kind: str) -> int:
        return sum(served.kind == kind for served in self.served)

    @property
    def input_tokens(self) -> int:
        return sum(served.input_tokens for served in self.served)

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
                status, extra, reply = await self.respond(method, path, body)
                lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(reply)}"]
                lines += [f"{name}: {value}" for name, value in extra.items()]
                writer.write("\r\n".join([*lines, "", ""]).encode() + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def respond(self, method: str, path: str, raw: bytes) -> tuple[int, dict[str, str], bytes]:
        if method == "GET" and path == "/stats":
            return 200, {}, json.dumps([vars(served) for served in self.served]).encode()
        body = json.loads(raw)
        started = time.time()
        messages = [MESSAGES[m["role"]](m["content"]) for m in body["messages"]]
        kind = kind_of_request(messages[0].text if body["messages"][0]["role"] == "system" else "")
        number = self.requests[kind]
        self.requests[kind] += 1
        await asyncio.sleep(self.latency)
        fault = (self.script(kind, number, body) if self.script else None) or Fault()
        if "response_format" in body and "json_schema" not in self.forms:
            fault = Fault(400, json.dumps({"error": {"message": "response_format is not supported"}}))
        if "tools" in body and "tools" not in self.forms:
            fault = Fault(400, json.dumps({"error": {"message": "tools are not supported"}}))
        if fault.status != 200 or fault.body is not None:
            return fault.status, fault.headers, (fault.body or "").encode()
        wanted = body.get("n") if self.several else None
        model = SimulatedChatModel(seed=body.get("seed"), n=wanted, overconfidence=self.overconfidence)
        simulated = [reply.message for reply in model.generate([messages]).generations[0]]  # type: ignore[union-attr]
        texts = [reply.text if fault.text is None else fault.text for reply in simulated]
        assert isinstance(simulated[0], AIMessage)
        tokens = simulated[0].usage_metadata
        assert tokens is not None
        counts = (tokens["input_tokens"], tokens["output_tokens"])
        self.served.append(Served(kind, texts[0], body, started, time.time(), *counts))
        return 200, {}, json.dumps(_completion(body, texts, fault, counts)).encode()


def _said(body: dict[str, Any], text: str, fault: Fault) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": fault.refusal}
    if "tools" in body:
        function = {"name": body["tools"][0]["function"]["name"], "arguments": fault.tool_arguments or text}
        message |= {"content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    return message


def _completion(body: dict[str, Any], texts: list[str], fault: Fault, tokens: tuple[int, int]) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [
            {"index": index, "message": _said(body, text, fault), "finish_reason": fault.finish_reason}
            for index, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
    }


@contextlib.contextmanager
def serving(server: OpenAIServer) -> Iterator[OpenAIServer]:
    """Run the server in a thread of this process; its URL is `server.url`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = asyncio.start_server(server.handle, "127.0.0.1", 0, limit=2**24)
    listener = asyncio.run_coroutine_threadsafe(starting, loop).result(10)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
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

        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
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
