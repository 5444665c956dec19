"""A lean server of OpenAI's chat completions with canned replies, so that measurements show the clients' work only.

Answers differ and scores are random from 1 to 10, so that no client may skip a judgement. `GET /start` sets the latency
and resets the counters; `GET /stats` returns them. A SIMULATION of a model's latency, and of nothing else.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import sys
from dataclasses import asdict, dataclass
from urllib.parse import parse_qsl, urlsplit

ANSWER = "So we take the number that the question gives, and work on it step by step. " * 8
CRITIQUE = "The steps follow from one another, and the last one gives what was asked. " * 3
STEPS = [f"{verb} {noun}" for verb in ("doubt", "draw", "count", "split") for noun in ("parts", "cases", "signs")]


@dataclass(frozen=True)
class Latency:
    """How long a reply takes: log-normal about a median, and now and then very long.

    Attributes:
        median: seconds.
        sigma: standard deviation of the logarithm; 0 for a fixed time.
        stragglers: share of the calls that take `straggler` seconds instead.
        straggler: seconds.
    """

    median: float = 0.0
    sigma: float = 0.0
    stragglers: float = 0.0
    straggler: float = 20.0

    def draw(self, rng: random.Random) -> float:
        """The seconds of one call."""
        if rng.random() < self.stragglers:
            return self.straggler
        return rng.lognormvariate(math.log(self.median), self.sigma) if self.median else 0.0


class Canned:
    """What the server does and counts."""

    def __init__(self) -> None:
        """Begin without latency."""
        self.start(Latency(), seed=0)

    def start(self, latency: Latency, seed: int) -> None:
        """Count from 0, with replies that take so long; equal seeds draw equal times."""
        self.latency = latency
        self.rng = random.Random(seed)
        self.calls = self.in_flight = self.most = 0

    def control(self, target: str) -> bytes:
        """What `/start` and `/stats` answer."""
        url = urlsplit(target)
        if url.path == "/start":
            given = {name: float(value) for name, value in parse_qsl(url.query)}
            seed = int(given.pop("seed", 0))
            self.start(Latency(**given), seed)
        return json.dumps({"calls": self.calls, "most": self.most}).encode()

    def reply(self, body: bytes, choices: int) -> bytes:
        """A completion that suits the request."""
        said = [
            {"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": self._content(body)}}
            for index in range(choices)
        ]
        usage = {"prompt_tokens": 300, "completion_tokens": 150, "total_tokens": 450}
        about = {"id": "canned", "object": "chat.completion", "created": 0, "model": "canned"}
        return json.dumps({**about, "choices": said, "usage": usage}).encode()

    def _content(self, body: bytes) -> str:
        score = self.rng.randint(1, 10)
        answer = f"{ANSWER}The answer is {self.rng.randrange(10**9)}."
        if b'"response_format"' in body:
            return json.dumps({"critique": CRITIQUE, "reasoning": CRITIQUE, "score": score, **self._thoughts(body)})
        if b"[[ ## " in body:
            return f"[[ ## answer ## ]]\n{answer}\n\n[[ ## score ## ]]\n{score}\n\n[[ ## completed ## ]]"
        return str(score) if b"Rate the above response" in body else answer

    def _thoughts(self, body: bytes) -> dict[str, object]:
        if b"meta_thoughts" not in body:
            return {}
        return {
            "meta_thoughts": [
                {"mindset": " ".join(self.rng.sample(STEPS, 4)), "strategy": " ".join(self.rng.sample(STEPS, 8))}
                for _ in range(8)
            ]
        }


class Connection(asyncio.Protocol):
    """One connection, kept alive."""

    def __init__(self, server: Canned) -> None:
        """Serve for `server`."""
        self.server = server
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once a request is whole."""
        self.received += data
        head, found, rest = self.received.partition(b"\r\n\r\n")
        length = _length(head)
        if not found or len(rest) < length:
            return
        self.received = rest[length:]
        method, target, _ = head.split(b" ", 2)
        if method == b"GET":
            self._write(self.server.control(target.decode()))
        else:
            self._begin(rest[:length])

    def _begin(self, body: bytes) -> None:
        server = self.server
        server.calls += 1
        server.in_flight += 1
        server.most = max(server.most, server.in_flight)
        choices = json.loads(body).get("n") or 1 if b'"n"' in body else 1
        seconds = server.latency.draw(server.rng)
        asyncio.get_running_loop().call_later(seconds, self._finish, server.reply(body, choices))

    def _finish(self, reply: bytes) -> None:
        self.server.in_flight -= 1
        self._write(reply)

    def _write(self, reply: bytes) -> None:
        if not self.transport.is_closing():
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(reply)}\r\n\r\n"
            self.transport.write(head.encode() + reply)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve() -> None:
    """Serve on a free port, whose URL is the first line on standard output, until the process is ended."""
    canned = Canned()
    listener = await asyncio.get_running_loop().create_server(lambda: Connection(canned), "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await listener.serve_forever()


def to_query(latency: Latency) -> str:
    """The query of `/start`, which a seed may follow."""
    return "&".join(f"{name}={value:g}" for name, value in asdict(latency).items())


if __name__ == "__main__":
    asyncio.run(serve())
