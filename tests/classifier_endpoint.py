"""A loopback server that speaks for reward models as vLLM and Text Embeddings Inference do, and keeps its requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.waiting import CEILING


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Reply:
    """What is sent instead of a sensible reply; a `delay` in seconds, and `status` 0 for a connection cut off."""

    body: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


Script = Callable[[int, Request], Reply | None]
Logit = Callable[[str], Any]


class ClassifierEndpoint:
    """`logit(text)` scores the text of a request, or the last message of a chat; `script(number, request)` may lie."""

    def __init__(self, logit: Logit, script: Script | None = None) -> None:
        self.logit = logit
        self.script = script
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self.url = ""
        self._lock = threading.Lock()

    def reply_to(self, request: Request) -> Reply:
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
        return (self.script and self.script(number, request)) or Reply(json.dumps(self.sensible(request)))

    def sensible(self, request: Request) -> Any:
        body = request.body
        if request.path == "/predict":
            assert all(isinstance(text, str) for [text] in body["inputs"])
            return [[{"label": "LABEL_0", "score": self.logit(text)}] for [text] in body["inputs"]]
        texts = [body["messages"][-1]["content"]] if "messages" in body else body["input"]
        logits = [self.logit(text) for text in texts]
        data = {
            "/classify": [
                {"index": i, "label": "LABEL_0", "probs": [x], "num_classes": 1} for i, x in enumerate(logits)
            ],
            "/pooling": [{"index": i, "object": "pooling", "data": [x]} for i, x in enumerate(logits)],
        }[request.path]
        tokens = sum(len(text.split()) for text in texts)
        return {"object": "list", "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


@contextmanager
def serving(endpoint: ClassifierEndpoint) -> Iterator[ClassifierEndpoint]:
    """Run the endpoint in threads of this process; its URL is `endpoint.url`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            reply = endpoint.reply_to(Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            endpoint.closing.wait(reply.delay)
            self.close_connection = reply.status == 0 or bool(reply.delay)
            if self.close_connection:
                return
            content = reply.body.encode()
            self.send_response(reply.status)
            for name, value in {"content-length": str(len(content)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        endpoint.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield endpoint
        finally:
            endpoint.closing.set()
            server.shutdown()
            thread.join(CEILING)
