"""Which questions are recorded: those whose id has an even SHA-256. The others are kept for later trials."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from metascale.data import Question, gsm8k, read_rows

RULE = "the SHA-256 of question_id, as a number, is even"


def is_recorded(question_id: str) -> bool:
    """Whether a question may be recorded."""
    return int(hashlib.sha256(question_id.encode()).hexdigest(), 16) % 2 == 0


def chosen(path: Path | None, count: int) -> list[Question]:
    """The first `count` questions that may be recorded, of a file or of GSM8K's test set.

    Raises:
        ModelSetupError: the file cannot be read, or a row lacks a key.
    """
    rows: Sequence[Question] = gsm8k() if path is None else _read(path)
    return [row for row in rows if is_recorded(row["question_id"])][:count]


def _read(path: Path) -> list[Question]:
    return [
        Question(question_id=row["question_id"], question=row["question"], solution="", gold=str(row["gold"]))
        for row in read_rows(path, ("question_id", "question", "gold"))
    ]
