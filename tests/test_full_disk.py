"""Databases that are full or read-only: one clear line, nothing that was saved is lost, and then it goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metascale.cli.app import app
from metascale.runtime.databases import DatabaseError, check_database
from tests.command_line import end_of, errors_in, start_solving
from tests.conftest import QUESTION, ServerFactory
from tests.openai_server import OpenAIServer
from tests.runs import kept_in
from tests.waiting import CEILING

BUDGET = 32
BATCH = 4
WAIT = ("--set", "stragglers=wait", "--set", "reward=judge", "--set", "stop_on_agreement=null")


def limited(kilobytes: int, server: OpenAIServer, *options: str) -> subprocess.CompletedProcess[str]:
    """`metascale solve` where no file can grow beyond a size."""
    command = [sys.executable, "-W", "error", "-m", "metascale.cli", "solve", QUESTION, "--json"]
    command += ["--model", "openai:loopback", "--base-url", server.url, *options]
    shell = ["bash", "-c", f'ulimit -f {kilobytes}; exec "$0" "$@"', *command]
    return subprocess.run(shell, capture_output=True, text=True, timeout=CEILING, check=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk, on machines where tests may mount one."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=360k", "tmpfs", str(where)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def goes_on(server: OpenAIServer, path: Path, options: tuple[str, ...], complaint: str) -> None:
    """One line was said; the run then ends with all that was saved, and pays at most a batch twice."""
    assert errors_in(complaint).count("\n") == 1
    assert str(path) in complaint
    kept = kept_in(path)
    assert 0 < len(kept) < BUDGET
    again = start_solving(server, *options)
    out, err = end_of(again)
    assert again.returncode == 0, err
    found = json.loads(out)
    assert kept.items() <= {c["id"]: c["text"] for c in found["candidates"]}.items()
    assert found["usage"]["samples"] == BUDGET
    assert server.count("solve") <= BUDGET + BATCH


def test_a_file_that_cannot_grow_loses_nothing(tmp_path: Path, start_server: ServerFactory) -> None:
    server, path = start_server(), tmp_path / "runs.sqlite"
    options = ("--budget", str(BUDGET), "--seed", "5", *WAIT, "--db", str(path), "--thread", "t")
    failed = limited(300, server, *options)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "failed: disk I/O error; what it holds is kept, and the same command continues" in failed.stderr
    goes_on(server, path, options, failed.stderr)


def test_a_full_disk_loses_nothing(disk: Path, start_server: ServerFactory) -> None:
    server, path = start_server(), disk / "runs.sqlite"
    options = ("--budget", str(BUDGET), "--seed", "5", *WAIT, "--db", str(path), "--thread", "t")
    process = start_solving(server, *options)
    _, complaint = end_of(process)
    assert process.returncode == 1
    assert "failed: database or disk is full" in complaint
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    goes_on(server, path, options, complaint)


def test_a_read_only_disk_is_named(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    path = disk / "runs.sqlite"
    command = ["solve", QUESTION, "--model", "simulated", "--budget", "4", "--db", str(path), "--thread", "t"]
    assert CliRunner().invoke(app, command).exit_code == 0
    before = path.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2
    assert refused.stderr == f"metascale: the database {str(path)!r} cannot be used: it is read-only\n"
    with pytest.raises(DatabaseError, match="its folder is read-only"):
        check_database(str(disk / "new.sqlite"))
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert path.read_bytes() == before
    assert "nothing was spent" in CliRunner().invoke(app, command).stderr


def test_a_memory_that_cannot_grow_costs_no_answer(tmp_path: Path, start_server: ServerFactory) -> None:
    server, path = start_server(), str(tmp_path / "memory.sqlite")
    options = ("--budget", "4", "--memory", path)
    first = CliRunner().invoke(app, ["solve", QUESTION, "--model", "simulated", *options])
    assert first.exit_code == 0
    said = limited(4, server, *options)
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["answer"]
    assert "note: could not write to the strategy memory: OperationalError" in said.stderr
    assert CliRunner().invoke(app, ["memory", "export", path]).stdout.count("\n") == 1
