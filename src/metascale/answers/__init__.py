r"""The final answer in a reply, in canonical form: what makes two answers the same answer.

Extraction reads only what a reply marks as its answer (`#### 18`, `\boxed{18}`, "the answer is 18", a JSON field, a
last line that holds nothing else) and returns None where nothing is marked: it never guesses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, get_args

from metascale.answers.choices import concluding_choice, listed_choice, read_choice
from metascale.answers.conclusions import WORKING, concluding_number, read_result
from metascale.answers.notation import unboxed
from metascale.answers.numbers import read_number
from metascale.answers.statements import (
    LONGEST_REPLY,
    first_answers,
    is_unfinished,
    last_line,
    last_sentence,
    plain,
    statements,
)
from metascale.answers.texts import LONGEST_PHRASE, read_phrase, read_text
from metascale.answers.thinking import without_thinking

Kind = Literal["number", "choice", "text", "auto"]

STEPS_TO_REST = 5
"""Most times that an answer is extracted again. It may contain marks itself, so extraction repeats until nothing
changes."""

_NUMBERS = re.compile(r".*\d", re.DOTALL)
_HOLDS_ANSWER = {
    "number": _NUMBERS,
    "auto": _NUMBERS,
    "choice": re.compile(r"\W*[A-Z]\W{0,4}(?:[,/&+]|and\b|or\b)\W{0,4}[A-Z]\b"),
}
"""Statements of each kind that are the reply's answer, though not a clear one: no earlier mark is read instead."""


def extract(reply: str, kind: Kind = "auto", *, choices: int = 10) -> str | None:
    """The canonical answer of a reply, or None.

    Args:
        reply: a model's reply, whole.
        kind: what the answer is: a number (canonical: `18`, `-2.5`, `1/3`), a choice (canonical: `A` to `J`), or a
            short text (canonical: folded case, no surrounding punctuation). `auto` takes the kind that is marked.
        choices: how many choices there are, 1 to 26.

    Returns:
        The canonical answer. Extracting from it again gives the same.

    Raises:
        ValueError: `kind` is unknown.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"unknown kind of answer {kind!r}; known: {', '.join(get_args(Kind))}")
    answer = _extract(reply, kind, choices)
    for _ in range(STEPS_TO_REST):
        again = _extract(answer, kind, choices) if answer is not None else None
        if again == answer:
            return answer
        answer = again
    return None


def _extract(reply: str, kind: Kind, choices: int) -> str | None:
    reply = without_thinking(reply[-LONGEST_REPLY:])
    marks = statements(reply)
    found = _first_read(marks, reply, kind, choices)
    if found is None and kind == "choice":
        found = concluding_choice(last_sentence(reply), choices) or listed_choice(reply, choices)
    whole = not is_unfinished(reply)
    if found is None and whole:
        found = _read_alone(last_line(reply) or "", kind, choices)
    if found is None and whole and kind in {"number", "auto"}:
        found = concluding_number(reply, after=max((place for place, _ in marks), default=0))
    if found is None and not marks:
        found = _first_read(first_answers(reply), reply, kind, choices) or _read_whole(reply, kind)
    return found


def _first_read(marks: Sequence[tuple[int, str | None]], reply: str, kind: Kind, choices: int) -> str | None:
    for place, statement in marks:
        working = reply[max(0, place - WORKING) : place]
        found = _read(statement, working, kind, choices) if statement is not None else None
        if found is not None or (statement and kind in _HOLDS_ANSWER and _HOLDS_ANSWER[kind].match(statement)):
            return found
    return None


def _read(statement: str, working: str, kind: Kind, choices: int) -> str | None:
    """The answer in a statement that a reply marks as its answer, after some working."""
    inner = plain(unboxed(statement))
    if kind == "choice":
        return read_choice(inner, choices)
    if kind == "text":
        return read_text(inner)
    number = read_number(statement)
    if number is None and inner == statement:
        number = read_result(statement, working=working, loose=True)
    if kind == "number":
        return number
    return read_choice(inner, choices, alone=True) or number or read_phrase(inner)


def _read_alone(line: str, kind: Kind, choices: int) -> str | None:
    """The choice or the number in a last line that holds nothing else."""
    choice = read_choice(line, choices, alone=True) if kind in {"choice", "auto"} and len(line) < 4 else None
    return choice or (read_number(line, alone=True) if kind in {"number", "auto"} else None)


def _read_whole(reply: str, kind: Kind) -> str | None:
    """The short text that is all of a reply."""
    line = last_line(reply) or ""
    if "\n" in reply or kind not in {"text", "auto"} or len(line) > LONGEST_PHRASE:
        return None
    return read_text(line) if kind == "text" else read_phrase(line)


__all__ = ["Kind", "extract", "read_choice", "read_number", "read_text", "without_thinking"]
