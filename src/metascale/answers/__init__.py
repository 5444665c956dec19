r"""The final answer in a reply, in canonical form: what makes two answers the same answer.

Extraction reads only what a reply marks as its answer (`#### 18`, `\boxed{18}`, "the answer is 18", a JSON field, a
last line that holds nothing else) and returns None where nothing is marked: it never guesses.
"""

from __future__ import annotations

from typing import Literal, get_args

from metascale.answers.choices import concluding_choice, read_choice
from metascale.answers.numbers import read_number
from metascale.answers.statements import last_line, last_sentence, statements
from metascale.answers.texts import read_text

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
    for statement in statements(reply):
        found = _read(statement, kind, choices)
        if found is not None:
            return found
    if kind == "choice":
        concluded = concluding_choice(last_sentence(reply), choices)
        if concluded is not None:
            return concluded
    alone = last_line(reply)
    return _read_alone(alone, kind, choices, whole=len(reply.split("\n")) == 1) if alone else None


def _read(statement: str, kind: Kind, choices: int) -> str | None:
    """The answer in a statement that a reply marks as its answer."""
    if kind == "number":
        return read_number(statement)
    if kind == "choice":
        return read_choice(statement, choices)
    if kind == "text":
        return read_text(statement)
    return read_choice(statement, choices, alone=True) or read_number(statement, alone=True) or read_text(statement)


def _read_alone(line: str, kind: Kind, choices: int, *, whole: bool) -> str | None:
    """The answer in a last line, which must hold nothing else; a text only counts if the line is the whole reply."""
    choice = read_choice(line, choices, alone=True) if kind in {"choice", "auto"} and len(line) < 4 else None
    number = read_number(line, alone=True) if kind in {"number", "auto"} else None
    text = read_text(line) if kind in {"text", "auto"} and whole and len(line) <= 60 else None
    return choice or number or text


__all__ = ["Kind", "extract", "read_choice", "read_number", "read_text"]
