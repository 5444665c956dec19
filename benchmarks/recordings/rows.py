"""Rows in a JSONL file, each under a key, so that a recording that was killed goes on and repeats nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Key = tuple[Any, ...]


class RowsError(ValueError):
    """A file's rows cannot be read, so none can be added."""


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
            RowsError: a line is not JSON or lacks a key, or there is only a compressed file.
        """
        self._path, self._names = path, key
        self._rows: dict[Key, Row] = {}
        content = self._content()
        *lines, cut_off = content.split(b"\n")
        for number, line in enumerate(lines, 1):
            self._read(number, line)
        if cut_off:
            path.write_bytes(content.removesuffix(cut_off))

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

    def _content(self) -> bytes:
        if self._path.exists():
            return self._path.read_bytes()
        packed = self._path.with_name(f"{self._path.name}.gz")
        if packed.exists():
            raise RowsError(f"{packed} is compressed: gunzip the files of its folder, or record to a new one")
        return b""

    def _read(self, number: int, line: bytes) -> None:
        try:
            self._keep(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            keys = ", ".join(self._names)
            raise RowsError(f"{self._path}, line {number}: not a JSON object with the keys {keys}") from error

    def _keep(self, row: Row) -> None:
        self._rows[tuple(row[name] for name in self._names)] = row
