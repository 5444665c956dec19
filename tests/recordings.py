"""Recorded outputs of real models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"


def recorded(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a file of recordings."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the recorded outputs {name} are not here")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return (row for row in rows if "canary" not in row)
