"""What `metascale serve` says: its address once it answers, and then one line for each request."""

from __future__ import annotations

import logging
import sys
import threading
import time
import urllib.error
import urllib.request

from starlette.types import ASGIApp, Message, Receive, Scope, Send

UNLOGGED = {"/ok"}
"""Paths that health checks ask for again and again."""
CLOSED = 499
"""The status that is logged where a client left before its answer."""
POLL = 0.1
"""Seconds between two attempts to reach a server that starts."""

logger = logging.getLogger("metascale.requests")


class RequestLog:
    """Logs method, path, status and seconds of each request; without query, headers and bodies, which may hold keys."""

    def __init__(self, app: ASGIApp) -> None:
        """Log the requests to `app`, on standard error and without colours."""
        self._app = app
        if not logger.handlers:
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            logger.propagate = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log how it ended."""
        if scope["type"] != "http" or scope["path"] in UNLOGGED or scope.get("root_path"):
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), CLOSED

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            path = scope["path"].encode("unicode_escape").decode("ascii")
            logger.info("%s %s %s %.1f s", scope["method"], path, status, time.monotonic() - began)


def announce(url: str, said: str) -> threading.Thread:
    """Say something on standard error as soon as a server answers at a URL; gives the thread that waits for it."""
    waiting = threading.Thread(target=_announce, args=(url, said), daemon=True)
    waiting.start()
    return waiting


def _announce(url: str, said: str) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with direct.open(f"{url}/ok", timeout=5):
                break
        except (urllib.error.URLError, OSError):
            time.sleep(POLL)
    sys.stderr.write(f"{said}\n")
    sys.stderr.flush()
