"""`metascale export`, and the runs that it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tests.command_line import SIMULATED, invoke


class Done(NamedTuple):
    """What an export wrote and said."""

    code: int
    summary: dict[str, Any]
    rows: list[dict[str, Any]]
    complaint: str


def solve(db: Path, thread: str, question: str, *options: str) -> None:
    """Leave a judged run in a database, which draws its whole budget of 8."""
    place = ("--db", str(db), "--thread", thread, "--quiet")
    drawn = ("--seed", "4", "--budget", "8", "--set", "stop_on_agreement=null", "--set", "reward=judge")
    done = invoke("solve", *SIMULATED, *drawn, *place, *options, question)
    assert done.exit_code == 0, done.output


def export(out: Path, *arguments: str | Path) -> Done:
    """Export into a file, and read it."""
    done = invoke("export", *map(str, arguments), "--out", str(out), "--json")
    rows = [json.loads(line) for line in out.read_text("utf-8").split("\n") if line] if done.exit_code == 0 else []
    return Done(done.exit_code, json.loads(done.stdout) if done.stdout else {}, rows, done.stderr)
