"""LangGraph's development server on this repository's graphs, in a process and a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.waiting import CEILING, wait_until

TOP = Path(__file__).parents[1]


def wait_for_server(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server replies at a URL; its log is shown where it ends before."""

    def replies() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(url, timeout=CEILING).status_code == 200
        return False

    wait_until(replies)


@contextlib.contextmanager
def serving_langgraph(
    folder: Path, *, auth: str | None = None, **environment: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start the server; give its URL and its process.

    Args:
        folder: where its state and its log lie.
        auth: Python text that defines `auth`, the server's `langgraph_sdk.Auth`.
        environment: further variables.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = json.loads((TOP / "langgraph.json").read_text().replace('"./', f'"{TOP}/')) | {"env": {}}
    if auth is not None:
        (folder / "auth.py").write_text(auth)
        config["auth"] = {"path": "./auth.py:auth"}
    (folder / "langgraph.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload", "--port", str(port)]
    variables = {**os.environ, "LANGGRAPH_CLI_NO_ANALYTICS": "1", "LANGSMITH_TRACING": "false", **environment}
    log = folder / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=variables, cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for_server(f"{url}/ok", process, log)
        yield url, process
    finally:
        process.terminate()
        process.wait(CEILING)
