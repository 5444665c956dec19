"""Data that ships with the package."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TypedDict


class Question(TypedDict):
    """A question with its known answer."""

    question_id: str
    question: str
    solution: str
    gold: str


@cache
def gsm8k() -> list[Question]:
    """The 1,319 questions of GSM8K's test set (Cobbe et al. 2021; MIT, see `GSM8K_LICENSE`), in their order."""
    text = files(__package__).joinpath("gsm8k_test.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line]
