"""Data that ships with the package, and the reader of users' own files of the same shapes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from typing_extensions import TypedDict

from metascale.errors import ModelSetupError


class Question(TypedDict):
    """A question with its known answer."""

    question_id: str
    question: str
    solution: str
    gold: str


def _shipped(name: str) -> list[dict[str, Any]]:
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line]


@cache
def gsm8k() -> list[Question]:
    """The 1,319 questions of GSM8K's test set (Cobbe et al. 2021; MIT, see `GSM8K_LICENSE`), in their order."""
    return [
        Question(question_id=row["question_id"], question=row["question"], solution=row["solution"], gold=row["gold"])
        for row in _shipped("gsm8k_test.jsonl")
    ]


@cache
def mmlu_pro() -> list[dict[str, Any]]:
    """253 questions of MMLU-Pro (Wang et al. 2024; Apache-2.0) from all 14 categories: question, options, answer."""
    return _shipped("mmlu_pro_sample.jsonl")


@cache
def arena_hard() -> list[dict[str, Any]]:
    """246 prompts of Arena-Hard v0.1 (Li et al. 2024; Apache-2.0): question_id, prompt, cluster."""
    return _shipped("arena_hard_v01_questions.jsonl")


def choice_prompt(question: str, options: Sequence[str]) -> str:
    """A multiple-choice question as text, its options lettered from A."""
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False))
    return f"{question}\n\n{listed}"


def squeeze(text: str) -> str:
    """A question as answers are keyed by it: white space folded."""
    return " ".join(text.split())


def read_rows(path: Path, required: Sequence[str]) -> list[dict[str, Any]]:
    """The records of a JSONL file; rows without the first required key, such as a canary, are skipped.

    Raises:
        ModelSetupError: the file cannot be read, a row lacks a key, or there is no such row.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelSetupError(f"cannot read {str(path)!r}: {error}") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ModelSetupError(f"{path.name}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ModelSetupError(f"{path.name}, line {number}: not a JSON object")
        if required[0] not in row:
            continue
        missing = [key for key in required if key not in row]
        if missing:
            raise ModelSetupError(f"{path.name}, line {number}: no {missing[0]!r}")
        rows.append(row)
    if not rows:
        raise ModelSetupError(f"{path.name} holds nothing with {required[0]!r}")
    return rows
