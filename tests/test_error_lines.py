"""Every error is one line that says what happened, why, and what to do; the documentation shows them all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.errors import SITUATIONS, Place, Situation, cell, happening, line_of
from metascale.cli.app import app

PAGE = (Path(__file__).parents[1] / "docs/reference/errors.md").read_text(encoding="utf-8")


def happened(situation: Situation, place: Place) -> Any:
    """The outcome of a situation in this process."""
    runner, environment = CliRunner(), dict(situation.environment)
    for command in situation.before:
        runner.invoke(app, place.fill(command))
    stdin = situation.stdin
    return runner.invoke(app, place.fill(situation.command), input=stdin, env=environment, catch_exceptions=False)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.what.replace(" ", "_"))
def test_what_goes_wrong_is_said_in_one_line(
    situation: Situation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with happening(situation) as place:
        done = happened(situation, place)
        said = place.shown(done.stderr)
    line = line_of(said)
    assert said.endswith(f"{line}\n")
    assert (done.exit_code, situation.says in line) == (situation.code, True), said
    assert not re.search(r"Traceback|object at 0x|secret", said)
    anew = "write the page anew: python -m benchmarks.errors --write docs/reference/errors.md"
    (row,) = (row for row in PAGE.splitlines() if row.startswith(f"| {situation.what} | {situation.code} | "))
    assert cell(situation.says) in row, anew


def test_fifty_situations_are_shown() -> None:
    assert len(SITUATIONS) >= 50
    assert len({situation.what for situation in SITUATIONS}) == len(SITUATIONS)
