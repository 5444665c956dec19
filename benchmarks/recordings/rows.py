"""Rows in a JSONL file, each under a key, so that a recording that was killed goes on and repeats nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Key = tuple[Any, ...]


class Rows:
    """A JSONL file that only grows.

    A line that a kill cut off is dropped when the file is opened.
    """

    def __init__(self, path: Path, key: Sequence[str]) -> None:
        """Read the rows that are there.

        Args:
            path: the file; it need not exist.
            key: names of the columns that tell rows apart.

        Raises:
            ValueError: a line other than the last is not JSON.
        """
        self._path, self._names = path, key
        self._rows: dict[Key, Row] = {}
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            path.write_bytes(whole)
        for line in whole.decode().split("\n")[:-1]:
            self._keep(json.loads(line))

    def get(self, *key: Any) -> Row | None:
        """The row under a key; None if there is none."""
        return self._rows.get(key)

    def add(self, row: Mapping[str, Any]) -> Row:
        """Append a row; returns it."""
        self._keep(dict(row))
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
        return dict(row)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def _keep(self, row: Row) -> None:
        self._rows[tuple(row[name] for name in self._names)] = row
