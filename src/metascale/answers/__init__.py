r"""The final answer in a reply, in canonical form: what makes two answers the same answer.

Extraction reads only what a reply marks as its answer (`#### 18`, `\boxed{18}`, "the answer is 18", a JSON field, a
last line that holds nothing else) and returns None where nothing is marked: it never guesses.
"""

from __future__ import annotations

from typing import Literal, get_args

from metascale.answers.choices import concluding_choice, listed_choice, read_choice
from metascale.answers.conclusions import WORKING, concluding_number, read_result
from metascale.answers.notation import unboxed
from metascale.answers.numbers import read_number
from metascale.answers.statements import LONGEST_REPLY, last_line, last_sentence, plain, statements
from metascale.answers.texts import LONGEST_PHRASE, read_phrase, read_text
from metascale.answers.thinking import without_thinking

Kind = Literal["number", "choice", "text", "auto"]

STEPS_TO_REST = 5
"""Most times that an answer is extracted again. It may contain marks itself, so extraction repeats until nothing
changes."""


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
    for place, statement in marks:
        working = reply[max(0, place - WORKING) : place]
        found = _read(statement, working, kind, choices) if statement is not None else None
        if found is not None:
            return found
    if kind == "choice":
        concluded = concluding_choice(last_sentence(reply), choices) or listed_choice(reply, choices)
        if concluded is not None:
            return concluded
    alone = last_line(reply)
    found = _read_alone(alone, kind, choices, whole=not marks and len(reply.split("\n")) == 1) if alone else None
    if found is None and kind in {"number", "auto"}:
        return concluding_number(reply, after=max((place for place, _ in marks), default=0))
    return found


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


def _read_alone(line: str, kind: Kind, choices: int, *, whole: bool) -> str | None:
    """The answer in a last line, which must hold nothing else; a text only counts if the line is the whole reply."""
    choice = read_choice(line, choices, alone=True) if kind in {"choice", "auto"} and len(line) < 4 else None
    number = read_number(line, alone=True) if kind in {"number", "auto"} else None
    text = read_text(line) if kind in {"text", "auto"} and whole and len(line) <= LONGEST_PHRASE else None
    return choice or number or text


__all__ = ["Kind", "extract", "read_choice", "read_number", "read_text", "without_thinking"]
