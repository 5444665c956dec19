"""A cheap loopback server of OpenAI's chat completions: canned replies, a latency, a rate limit.

There is no model: every answer is the same text, every judgement a random score.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass

ANSWER = "So we take the number that the question gives, and work on it step by step. " * 18 + "#### {}"
"""About 1,400 characters, 350 tokens."""


@dataclass
class Traffic:
    """What the server saw.

    Attributes:
        requests: that arrived.
        refused: of them, with status 429.
        in_flight: requests that it works on.
        most: in flight at once.
        connections: that were opened.
    """

    requests: int = 0
    refused: int = 0
    in_flight: int = 0
    most: int = 0
    connections: int = 0


class Bucket:
    """A token bucket: a limit of requests per second, with bursts of up to one second's requests."""

    def __init__(self, rate: float) -> None:
        """Full. `rate` is infinite where there is no limit."""
        self.rate = rate
        self.tokens = rate
        self.filled_at = time.monotonic()

    def wait(self) -> float:
        """0 where a request is taken, else the seconds until there is a token again."""
        if math.isinf(self.rate):
            return 0.0
        now = time.monotonic()
        self.tokens = min(self.rate, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < 1:
            return (1 - self.tokens) / self.rate
        self.tokens -= 1
        return 0.0


class Connection(asyncio.Protocol):
    """One client's connection; one request at a time."""

    def __init__(self, traffic: Traffic, bucket: Bucket, latency: float) -> None:
        """Reply after `latency` seconds."""
        self.traffic, self.bucket, self.latency = traffic, bucket, latency
        self.got = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to reply to."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.traffic.connections += 1

    def data_received(self, data: bytes) -> None:
        """Reply once a request is whole."""
        self.got += data
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
        if len(body) < length:
            return
        self.got = body[length:]
        if head.startswith(b"GET"):
            self._reply(200, json.dumps(asdict(self.traffic)).encode())
            return
        self.traffic.requests += 1
        wait = self.bucket.wait()
        if wait > 0:
            self.traffic.refused += 1
            self._reply(429, b'{"error": {"message": "slow down"}}', f"retry-after: {math.ceil(wait)}\r\n")
            return
        self.traffic.in_flight += 1
        self.traffic.most = max(self.traffic.most, self.traffic.in_flight)
        asyncio.get_running_loop().call_later(self.latency, self._complete, body)

    def _complete(self, asked: bytes) -> None:
        self.traffic.in_flight -= 1
        self._reply(200, completion(asked))

    def _reply(self, status: int, body: bytes, extra: str = "") -> None:
        assert self.transport is not None
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{extra}content-length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


def completion(asked: bytes) -> bytes:
    """The reply to a request: a verdict, meta-thoughts or an answer, depending on its schema."""
    if b'"critique"' in asked:
        text = json.dumps({"critique": "Fine, so far as it goes.", "score": random.randint(1, 10)})
    elif b'"meta_thoughts"' in asked:
        names = [f"{random.random()}" for _ in range(8)]
        text = json.dumps({"meta_thoughts": [{"mindset": f"You are {n}.", "strategy": f"Think {n}."} for n in names]})
    else:
        text = ANSWER.format(random.randint(1, 4))
    message = {"role": "assistant", "content": text}
    reply = {
        "id": "canned",
        "object": "chat.completion",
        "created": 0,
        "model": "canned",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 350, "total_tokens": 450},
    }
    return json.dumps(reply).encode()


@contextlib.contextmanager
def canned_server(latency: float = 0.0, rate: float = math.inf) -> Iterator[str]:
    """The URL of a server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.canned_server", "--latency", str(latency), "--rate", str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def traffic_of(url: str) -> Traffic:
    """What a server saw so far."""
    with urllib.request.urlopen(f"{url}/traffic") as reply:
        return Traffic(**json.load(reply))


async def _serve(latency: float, rate: float) -> None:
    traffic, bucket = Traffic(), Bucket(rate)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(traffic, bucket, latency), "127.0.0.1", 0, backlog=4_096
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds a request")
    parser.add_argument("--rate", type=float, default=math.inf, help="requests a second")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_serve(options.latency, options.rate))


if __name__ == "__main__":
    main()
