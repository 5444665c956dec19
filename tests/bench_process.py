"""`metascale bench` in processes of its own, forked from one that has imported everything: a start costs little."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.waiting import CEILING

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    ["metascale.evals.harness.bench", "metascale.evals.report.tables", "tests.bench_process"]
)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; negative for a signal.
        said: all that it printed.
    """

    code: int
    said: str

    @property
    def last(self) -> str:
        """The last line."""
        return self.said.strip().splitlines()[-1]


class BenchProcess:
    """One command `metascale bench` in a folder, whose logs are in `logs` there."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        """Start it."""
        self._said = folder / f"said-{len(list(folder.glob('said-*')))}.txt"
        arguments = ["bench", "--seed", "1", "--yes", "--log-dir", str(folder / "logs"), *options]
        self._process: Any = _PROCESSES.Process(target=_work, args=(arguments, str(self._said), environment))
        self._process.start()

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.exitcode  # type: ignore[no-any-return]

    def communicate(self) -> str:
        """What it said so far."""
        return self._said.read_text(encoding="utf-8") if self._said.exists() else ""

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def end(self) -> Ended:
        """Wait for its end."""
        self._process.join(CEILING)
        assert self._process.exitcode is not None, self.communicate()
        return Ended(self._process.exitcode, self.communicate())


def bench(folder: Path, *options: str, **environment: str) -> Ended:
    """Run a command to its end."""
    return BenchProcess(folder, *options, **environment).end()


def _work(arguments: list[str], said: str, environment: dict[str, str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(environment)
    from metascale.cli.app import app  # noqa: PLC0415

    sys.argv = ["metascale", *arguments]
    app()
