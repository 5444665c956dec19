"""What is read back from disk is data: nothing is unpickled, and no class that a database names is built."""

from __future__ import annotations

import ast
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from typer.testing import CliRunner

from metascale.cli.app import app
from metascale.runtime.databases import SERIALIZER, open_checkpointer
from tests.conftest import QUESTION
from tests.source_files import imports, parsed, sources
from tests.trap import Trap

TOP = Path(__file__).parents[1]
THAT_RUN_WHAT_THEY_READ = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
LOADERS = {("yaml", "load"), ("torch", "load"), ("numpy", "load"), ("np", "load")}


@pytest.fixture
def trap() -> Any:
    """A value that names a class, as a lax serializer writes it."""
    written = JsonPlusSerializer(allowed_msgpack_modules=True).dumps_typed({"pool": Trap("planted")})
    Trap.built.clear()
    return written


def test_no_module_reads_what_could_run() -> None:
    for _, path in sources():
        found = {module.split(".")[0] for module in imports(path)} & THAT_RUN_WHAT_THEY_READ
        assert not found, path
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                assert (name, node.func.attr) not in LOADERS, f"{path}:{node.lineno}"


def test_checkpoints_are_read_strictly_whatever_the_environment_says(
    trap: tuple[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    assert JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(trap)["pool"] == Trap("planted")
    Trap.built.clear()
    assert SERIALIZER.loads_typed(trap) == {"pool": {"said": "planted"}}
    assert Trap.built == []
    assert "Blocked" in caplog.text
    with pytest.raises(NotImplementedError):
        SERIALIZER.loads_typed(("pickle", b"cos\nsystem\n(S'true'\ntR."))


async def test_a_database_is_opened_with_that_serializer(tmp_path: Path) -> None:
    async with open_checkpointer(str(tmp_path / "runs.sqlite")) as saver:
        assert saver.serde is SERIALIZER


READ = """
import sys
from typer.testing import CliRunner
from metascale.cli.app import app
from tests.trap import Trap
db, *place = sys.argv[1:]
for arguments in (["solve", *place, "--db", db], ["export", db, "--format", "sft", "--out", f"{db}.jsonl"]):
    CliRunner().invoke(app, arguments)
    print(Trap.built)
"""


def test_a_planted_class_is_not_built_by_solve_or_export(trap: tuple[str, bytes], tmp_path: Path) -> None:
    db = str(tmp_path / "runs.sqlite")
    place = ["--model", "simulated", "--budget", "2", "--thread", "t", "--quiet"]
    assert CliRunner().invoke(app, ["solve", QUESTION, *place, "--db", db]).exit_code == 0
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("update writes set type = ?, value = ?", trap)
        for key, held in connection.execute("select checkpoint_id, checkpoint from checkpoints").fetchall():
            checkpoint = SERIALIZER.loads_typed(("msgpack", held))
            checkpoint["channel_values"] = {name: Trap("planted") for name in checkpoint["channel_values"]}
            lax = JsonPlusSerializer(allowed_msgpack_modules=True).dumps_typed(checkpoint)[1]
            connection.execute("update checkpoints set checkpoint = ? where checkpoint_id = ?", (lax, key))
        connection.commit()
    variables = {**os.environ, "LANGGRAPH_STRICT_MSGPACK": "false", "PYTHONPATH": str(TOP)}
    command = [sys.executable, "-c", READ, db, QUESTION, *place]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_the_servers_take_no_pickle() -> None:
    config = json.loads((TOP / "langgraph.json").read_text())
    assert config["checkpointer"]["serde"]["pickle_fallback"] is False
    assert "LANGGRAPH_STRICT_MSGPACK=true" in (TOP / ".env.example").read_text().splitlines()
