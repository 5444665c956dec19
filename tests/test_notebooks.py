"""The notebooks: what they ship shows no error and no machine, and running them again gives the same text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 300_000
"""Bytes of a notebook, its outputs included."""

EXECUTE = """
import sys
import nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
resources = {"metadata": {"path": sys.argv[3]}}
nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
nbformat.write(notebook, sys.argv[2])
"""


def outputs(path: Path) -> list[Any]:
    cells = nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
    return [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]


def printed(path: Path) -> str:
    return "".join(output.text for output in outputs(path) if output.output_type == "stream")


def figures(path: Path) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(path))


def executed(path: Path, folder: Path) -> Path:
    """The notebook after a run from top to bottom."""
    done = folder / path.name
    command = [sys.executable, "-c", EXECUTE, str(path), str(done), str(FOLDER)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return done


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_ships_with_clean_outputs(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
    ran = [cell.execution_count for cell in cells if cell.cell_type == "code"]
    assert ran == list(range(1, len(ran) + 1)), "run once, from top to bottom"
    kinds = {output.output_type for output in outputs(path)} | {o.get("name") for o in outputs(path)}
    assert not kinds & {"error", "stderr"}
    said = json.dumps([output for output in outputs(path) if output.output_type != "display_data"])
    assert not re.search(r"/(tmp|root|home|work|Users)/|site-packages|\\\\x1b|[Ww]arning|Traceback", said)
    assert printed(path)
    assert figures(path) >= 1
    assert re.search(r"\((simulation|real answers)\)", path.read_text(encoding="utf-8")), (
        "figures say what they rest on"
    )
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_that_runs_again_says_the_same(path: Path, tmp_path: Path) -> None:
    again = executed(path, tmp_path)
    assert printed(again) == printed(path)
    assert figures(again) == figures(path)
