"""Data sets that ship with the package, and readers for JSONL files of the same shape."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import ascii_uppercase
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import TypedDict

from metascale.errors import ModelSetupError, describe

Row = TypeVar("Row", bound=BaseModel)


class Question(TypedDict):
    """A question with its gold answer."""

    question_id: str
    question: str
    solution: str
    gold: str


class JudgedPair(BaseModel):
    """Two outputs for one instruction, and which one people prefer."""

    model_config = ConfigDict(frozen=True, strict=True)

    pair_id: str
    subset: str = Field(description="The kind of pair, by which results are also given.")
    prompt: str = Field(min_length=1, description="The instruction.")
    output_1: str
    output_2: str
    label: Literal[1, 2] = Field(description="The number of the better output.")


class Chain(BaseModel):
    """A chain of thought, and its first wrong step."""

    model_config = ConfigDict(frozen=True, strict=True)

    question_id: str
    task: str = Field(description="The kind of task.")
    question: str = Field(min_length=1)
    steps: Annotated[list[str], Field(min_length=1)]
    mistake_index: int | None = Field(ge=0, description="The first wrong step, counted from 0; null where none is.")

    @model_validator(mode="after")
    def _mistake_is_a_step(self) -> Self:
        if self.mistake_index is not None and self.mistake_index >= len(self.steps):
            raise ValueError(
                f"mistake_index {self.mistake_index} is out of range: there are {len(self.steps)} steps, counted from 0"
            )
        return self


def _shipped(name: str) -> list[dict[str, Any]]:
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line]


@cache
def gsm8k() -> list[Question]:
    """The 1,319 questions of GSM8K's test set (Cobbe et al. 2021; MIT, see `GSM8K_LICENSE`), in the original order."""
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


def _shipped_path(name: str) -> Path:
    return Path(str(files(__package__).joinpath(name)))


def llmbar_pairs(path: Path | None = None) -> list[JudgedPair]:
    """The 211 pairs of LLMBar (Zeng et al. 2024; MIT) that ship with the package, or those of a JSONL file.

    Raises:
        ModelSetupError: the file cannot be read or has no pair, or a row does not have the keys of `JudgedPair`.
    """
    return read_models(path or _shipped_path("llmbar_pairs.jsonl"), JudgedPair)


def bigbench_mistake(path: Path | None = None) -> list[Chain]:
    """The 136 chains of BIG-Bench Mistake (Tyen et al. 2024; Apache-2.0) in the package, or those of a JSONL file.

    Raises:
        ModelSetupError: the file cannot be read or has no chain, or a row does not have the keys of `Chain`.
    """
    return read_models(path or _shipped_path("bigbench_mistake.jsonl"), Chain)


def choice_prompt(question: str, options: Sequence[str]) -> str:
    """A multiple-choice question as text, with its options lettered from A."""
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False))
    return f"{question}\n\n{listed}"


def squeeze(text: str) -> str:
    """A question with its white space folded: the key of its recorded answers."""
    return " ".join(text.split())


def read_rows(
    path: Path, required: Sequence[str], *, renamed: Mapping[str, str] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """The rows of a JSONL file, which may be compressed with gzip.

    Args:
        path: the file.
        required: keys of every row. Rows without the first of them, such as a canary, are skipped.
        renamed: other names of keys, each with the name that it has in the rows returned.

    Raises:
        ModelSetupError: the file cannot be read, a row lacks a key, or no row has the first key.
    """
    return [row for _, row in _numbered(path, required, renamed)]


def read_models(path: Path, shape: type[Row], *, renamed: Mapping[str, str] = MappingProxyType({})) -> list[Row]:
    """The rows of a JSONL file, which may be compressed with gzip, as records of one model.

    Args:
        path: the file.
        shape: the model. Rows without its first required field, such as a canary, are skipped.
        renamed: other names of fields, each with the field's name.

    Raises:
        ModelSetupError: the file cannot be read, a row does not fit the model, or no row has the first field.
    """
    required = [name for name, field in shape.model_fields.items() if field.is_required()]
    found = []
    for number, row in _numbered(path, required, renamed):
        try:
            found.append(shape.model_validate(row))
        except ValidationError as error:
            raise ModelSetupError(f"{path.name}, line {number}: {describe(error)}") from error
    return found


def _numbered(
    path: Path, required: Sequence[str], renamed: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[int, dict[str, Any]]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            lines = file.read().split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or describe(error)
        raise ModelSetupError(f"cannot read {str(path)!r}: {why}") from error
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
        row = {name: row[name] for name in row if name not in renamed} | {
            new: row[name] for name, new in renamed.items() if name in row and new not in row
        }
        if required and required[0] not in row:
            continue
        missing = [key for key in required if key not in row]
        if missing:
            raise ModelSetupError(f"{path.name}, line {number}: the key {missing[0]!r} is missing")
        rows.append((number, row))
    if not rows:
        raise ModelSetupError(f"{path.name} has no row" + (f" with the key {required[0]!r}" if required else ""))
    return rows
