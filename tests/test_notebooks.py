"""The notebooks: what they ship shows no error and no machine, and running them again gives the same text."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.real_models import smollm2

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
REAL = FOLDER / "06_real_model.ipynb"
FILE_VARIABLE = "METASCALE_GGUF"
LARGEST = 300_000
"""Bytes of a notebook, its outputs included."""


def outputs(path: Path) -> list[Any]:
    cells = nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
    return [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]


def printed(path: Path) -> str:
    return "".join(output.text for output in outputs(path) if output.output_type == "stream")


def figures(path: Path) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(path))


def executed(path: Path, folder: Path, **environment: str) -> Path:
    """A copy of the notebook after a run from top to bottom; only `environment` may name a model file."""
    copy = Path(shutil.copy(path, folder / f"again_{path.name}"))
    variables = {name: value for name, value in os.environ.items() if name != FILE_VARIABLE} | environment
    command = [sys.executable, str(FOLDER / "execute.py"), str(copy)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return copy


ROUTING = "03_memory"
"""The notebook whose memory chooses by the last digits of a product of matrices, which differ between processors. One
other choice changes what is learned, and all that follows."""
FIGURE = re.compile(r"[ ]*[-+]?\d+(?:\.\d+)?")
DRIFT = 20
"""Points by which its figures may differ. Seen between two processors: 12."""


def test_there_are_six() -> None:
    assert len(NOTEBOOKS) == 6


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


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path != REAL], ids=lambda path: path.stem)
def test_a_notebook_that_runs_again_says_the_same(path: Path, tmp_path: Path) -> None:
    again = executed(path, tmp_path)
    if path.stem == ROUTING:
        assert FIGURE.sub("#", printed(again)) == FIGURE.sub("#", printed(path))
        pairs = zip(FIGURE.findall(printed(again)), FIGURE.findall(printed(path)), strict=True)
        assert all(abs(float(now) - float(before)) <= DRIFT for now, before in pairs)
    else:
        assert printed(again) == printed(path)
    assert figures(again) == figures(path)


def test_without_a_model_file_the_notebook_on_a_real_model_says_so_and_reads_recorded_answers(tmp_path: Path) -> None:
    again = executed(REAL, tmp_path)
    recorded, variable, said = printed(again).partition(FILE_VARIABLE)
    assert variable
    assert said.startswith(" is not set")
    assert said.count("\n") == 1
    assert printed(REAL).startswith(recorded)
    assert figures(again) == 2


def test_with_a_model_file_it_runs_the_model(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="NO REAL MODEL IS TESTED: pip install 'metascale[gguf]'")
    small = tmp_path / "small.ipynb"
    text = REAL.read_text(encoding="utf-8")
    for before, after in (("BUDGET = 6", "BUDGET = 2"), ("MAX_TOKENS = 400", "MAX_TOKENS = 40")):
        assert before in text
        text = text.replace(before, after)
    small.write_text(text, encoding="utf-8")
    file = smollm2()
    again = executed(small, tmp_path, METASCALE_GGUF=f"{file}?context=1024&slots=2&threads=1")
    assert file.name not in again.read_text(encoding="utf-8")
    assert printed(again).count("2 calls") == 2
    assert figures(again) == figures(REAL) == 4
