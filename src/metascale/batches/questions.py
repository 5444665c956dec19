"""Questions from files: JSONL, CSV, plain lines, or standard input."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage, convert_to_messages

from metascale.errors import MetaScaleError, describe


class QuestionsError(MetaScaleError, ValueError):
    """Questions cannot be read; the message names the row."""


@dataclass(frozen=True)
class Asked:
    """One question of a batch.

    Attributes:
        id: its id in the file; its number from 1 where the file has none.
        messages: the conversation that ends with it.
    """

    id: str | int
    messages: Sequence[AnyMessage]

    @property
    def text(self) -> str:
        """The question as text."""
        return self.messages[-1].text


def read_questions(path: Path | None, text: str, *, column: str = "question") -> list[Asked]:
    """The questions in a file's text.

    A `.csv` file has a header and a column with the questions, and maybe a column `id`. In a `.jsonl` file, and where
    the first line is a JSON object, each line has `question` or `messages`, and maybe `id`. Everywhere else each line
    is a question. Empty lines are skipped.

    Args:
        path: the file, whose suffix tells its form; None for standard input.
        text: what it holds.
        column: the column of a CSV file, or the key of a JSON object, that holds the question.

    Raises:
        QuestionsError: a row has no question, an id is given twice, or there is no question at all.
    """
    suffix = path.suffix.lower() if path is not None else ""
    if suffix == ".csv":
        rows: Iterable[Any] = csv.DictReader(io.StringIO(text))
    elif suffix in {".jsonl", ".ndjson"} or text.lstrip().startswith("{"):
        rows = map(_parsed, range(1, text.count("\n") + 2), text.split("\n"))
    else:
        rows = text.splitlines()
    return as_questions([row for row in rows if row is not None and row != ""], column=column)


def as_questions(rows: Iterable[Any], *, column: str = "question") -> list[Asked]:
    """Questions given as texts, as mappings with `question` or `messages` and maybe `id`, or as `Asked`.

    Raises:
        QuestionsError: as for `read_questions`.
    """
    found = [_asked(number, row, column) for number, row in enumerate(rows, 1) if not _is_blank(row)]
    if not found:
        raise QuestionsError("there is no question")
    seen: set[str] = set()
    for one in found:
        if str(one.id) in seen:
            raise QuestionsError(f"the id {one.id!r} is given twice")
        seen.add(str(one.id))
    return found


def _is_blank(row: Any) -> bool:
    return isinstance(row, str) and not row.strip()


def _parsed(number: int, line: str) -> Any:
    if not line.strip():
        return None
    try:
        return json.loads(line)
    except ValueError as error:
        raise QuestionsError(f"line {number} is no JSON: {describe(error)}") from error


def _asked(number: int, row: Any, column: str) -> Asked:
    if isinstance(row, Asked):
        return row
    if isinstance(row, str):
        return Asked(number, [HumanMessage(row.strip())])
    if not isinstance(row, Mapping):
        raise QuestionsError(f"question {number} is neither a text nor an object")
    name = row.get("id")
    asked = number if name is None or name == "" else name
    if not isinstance(asked, str | int):
        raise QuestionsError(f"question {number}: its id is neither a text nor a number")
    text, messages = row.get(column), row.get("messages")
    if isinstance(text, str) and text.strip():
        return Asked(asked, [HumanMessage(text)])
    if isinstance(messages, list) and messages:
        try:
            return Asked(asked, [*convert_to_messages(messages)])  # type: ignore[list-item]
        except (ValueError, NotImplementedError, TypeError) as error:
            raise QuestionsError(f"question {number}: its messages cannot be read: {describe(error)}") from error
    raise QuestionsError(f"question {number} has no {column!r} and no 'messages'")
