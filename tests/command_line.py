"""The command line: in this process, in one of its own, and on a model of the loopback server."""

from __future__ import annotations

import os
import subprocess
import sys

from typer.testing import CliRunner, Result

from metascale.cli.app import app
from tests.conftest import QUESTION
from tests.openai_server import OpenAIServer
from tests.waiting import CEILING, wait_until

SIMULATED = ("--model", "simulated")


def invoke(*arguments: str) -> Result:
    """Run a command in this process; what it raises is raised."""
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def metascale(*arguments: str, stdin: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, where warnings are errors."""
    command = [sys.executable, "-W", "error", "-m", "metascale.cli", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, env={**os.environ, **environment}, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def start_solving(server: OpenAIServer, *options: str) -> subprocess.Popen[str]:
    """Start `metascale solve`, with a judge, on a model of the loopback server."""
    command = [sys.executable, "-W", "error", "-m", "metascale.cli", "solve", QUESTION]
    command += ["--model", "openai:loopback", "--base-url", server.url, "--json", "--set", "reward=judge", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def end_of(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for a command's end, and give what it said on standard output and standard error."""
    return process.communicate(timeout=CEILING)


def errors_in(said: str) -> str:
    """What a command said on standard error without its lines of progress."""
    return "".join(line for line in said.splitlines(keepends=True) if line.startswith("metascale: "))


def wait_for(server: OpenAIServer, kind: str, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until the server has answered that many requests of a kind."""
    wait_until(lambda: server.count(kind) >= count, process)
