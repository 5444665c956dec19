"""Fuzzes `metascale serve` with Schemathesis, against the server's own OpenAPI document.

It runs twice: with arbitrary models, which are hardly ever served, and with served models only, so that searches run on
the offline model. The server must answer as its document promises, refuse what the document forbids, never fail (5xx),
require the token, and still run at the end.

Schemathesis has its own venv (`make serverfuzz` makes it), because it needs a newer jsonschema-rs than LangGraph.
"""

from __future__ import annotations

import argparse
import json
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
)
"""Not `positive_data_acceptance`: a text that must be JSON, or a question that must not be blank, no schema tells.
Nor `ignored_auth`, which needs a security scheme in the document: `main` asks without the token itself."""


@contextmanager
def metascale_serve(folder: Path, token: str) -> Iterator[str]:
    """The URL of a server on the offline model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    (folder / "token").write_text(token)
    command = [sys.executable, "-m", "metascale.cli", "serve", "--model", "simulated", "--budget", "1"]
    command += ["--max-budget", "4", "--max-body", "100000", "--port", port, "--token-file", "token"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder) as started,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            while started.poll() is None:
                try:
                    httpx.get(f"{url}/ok").raise_for_status()
                    break
                except httpx.TransportError:
                    time.sleep(0.2)
            else:
                sys.exit((folder / "log").read_text())
            yield url
        finally:
            started.terminate()


def document(url: str, headers: dict[str, str]) -> dict[str, Any]:
    """Our part of the server's document."""
    whole: dict[str, Any] = httpx.get(f"{url}/openapi.json", headers=headers).raise_for_status().json()
    ours = {path: item for path, item in whole["paths"].items() if path.startswith("/v1/")}
    return {"openapi": whole["openapi"], "info": whole["info"], "paths": ours}


def only_served(described: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The document whose requests name models that are served."""
    copy: dict[str, Any] = json.loads(json.dumps(described))
    body = copy["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    body["properties"]["model"] = {"enum": [*names, *(f"{name}?budget=2" for name in names)]}
    return copy


def fuzz(program: Path, described: dict[str, Any], url: str, token: str, options: argparse.Namespace) -> int:
    """Let Schemathesis loose, whose report goes to standard output; its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "openapi.json"
        file.write_text(json.dumps(described))
        command = [str(program), "run", str(file), "--url", url, "-H", f"Authorization: Bearer {token}", "--no-color"]
        command += ["--checks", ",".join(CHECKS), "-n", str(options.examples), "--continue-on-failure"]
        command += ["--suppress-health-check", "all"] + (["--seed", str(options.seed)] if options.seed else [])
        return subprocess.run(command, cwd=folder, check=False).returncode


def main() -> int:
    """Print Schemathesis's reports; 0 if it found nothing, and the server is as well as before."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=1_000, help="at most, of each operation in each phase")
    parser.add_argument("--seed", type=int, help="makes the requests repeatable")
    parser.add_argument("--schemathesis", type=Path, default=Path(".venv-fuzz/bin/schemathesis"), help="the program")
    options = parser.parse_args()
    token = secrets.token_urlsafe(24)
    headers = {"Authorization": f"Bearer {token}"}
    with tempfile.TemporaryDirectory() as folder, metascale_serve(Path(folder), token) as url:
        described = document(url, headers)
        names = [model["id"] for model in httpx.get(f"{url}/v1/models", headers=headers).json()["data"]]
        program = options.schemathesis.absolute()
        found = [fuzz(program, one, url, token, options) for one in (described, only_served(described, names))]
        strangers = [httpx.request("POST", f"{url}{path}", json={}).status_code for path in described["paths"]]
        alive = httpx.get(f"{url}/v1/models", headers=headers).status_code == 200
        complaints = [line for line in (Path(folder) / "log").read_text().splitlines() if "Traceback" in line]
    print(
        f"Schemathesis ended with {found}; without the token {strangers}; alive {alive}; tracebacks {len(complaints)}"
    )
    return int(any(found) or set(strangers) != {401} or not alive or bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
