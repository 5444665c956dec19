"""Recorded outputs of real models: a few rows of each record ship with the tests, the whole records do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FEW = Path(__file__).parent / "data" / "recordings"
Place = Callable[[str], Path]
WHOLE = Path(__file__).parents[2] / "shared" / "data"
"""Where the whole records are, on machines that have them."""


def few(name: str) -> Path:
    """The file with a few rows of a record."""
    return FEW / name


def whole(name: str) -> Path:
    """The file with all rows of a record; a test is skipped without it."""
    path = WHOLE / name
    if not path.exists():
        pytest.skip(f"the whole record {name} is not here")
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a record, without the canary that asks to keep it out of training corpora."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if "canary" not in row]
