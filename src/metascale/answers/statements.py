"""The places where a reply states its answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST_REPLY = 200_000
"""Characters that are read, counted from the end of a reply."""
LONGEST_STATEMENT = 2_000
"""Longest marked answer or last sentence, in characters; a longer one is not a single answer."""
MOST_MARKS = 100
"""Marks of each sort that are read, counted from the end, so that the time stays linear in any reply."""

_JSON_FIELD = re.compile(r'"(?:final[_ ])?answer"\s*:\s*(?:"((?:[^"\\\n]|\\.)*)"?|([^,}\n"]+))', re.IGNORECASE)
_HASHES = re.compile(r"^[ \t>*]*####[ \t]*(\S.*)$", re.MULTILINE)
_QUOTED = re.compile(r'\bfinal answer\W{0,8}"""\s*(.+?)(?:"""|\Z)', re.IGNORECASE | re.DOTALL)
_SAID = re.compile(
    r"\b(?:answer|(?:correct|right|best)\s+(?:option|choice))[*_\s]{0,4}"
    r"(?:(?:is|are|was|would be|should be|must be)\b(?:[*_\s]{0,4}:)?|[:=])"
    rf"[*_\s]{{0,6}}(?=(\S[^\n]{{0,{LONGEST_STATEMENT}}}))",
    re.IGNORECASE,
)
_LINE = re.compile(r"^[ \t>*_]*A[*_]*:[*_ \t]*(\S.*)$", re.MULTILINE)
_OTHER_OPTION = re.compile(r"^[ \t>*_-]*\(?B[*_]*[):.]", re.MULTILINE)
_RETRACTED = re.compile(
    r"^\W*(?:not\b|n't\b|none\b|unknown|unclear|undetermined|cannot\b|can't\b|impossible|incorrect|wrong|missing)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[^\d\s.])[.!?](?=\s|$)|(?<=\d)[.!?](?=\s+[A-Z(]|\s*$)")


def statements(reply: str) -> Iterator[str]:
    """The statements that a reply marks as its answer, the most reliable mark first.

    JSON fields come first, then all other marks, the later before the earlier. A mark that takes the answer back ("the
    answer is not listed") ends the search.
    """
    text = reply[-LONGEST_REPLY:]
    fields = [match[1] if match[1] is not None else match[2] for match in _JSON_FIELD.finditer(text)]
    yield from (field.strip() for field in reversed(fields[-MOST_MARKS:]) if len(field) <= LONGEST_STATEMENT)
    spoken = (_SAID,) if _OTHER_OPTION.search(text) else (_SAID, _LINE)
    marks = [*_boxed(text)]
    for pattern in (_HASHES, _QUOTED):
        marks += _marked(pattern, text)
    for pattern in spoken:
        marks += [(place, _first_sentence(said)) for place, said in _marked(pattern, text)]
    for _, said in sorted(marks, reverse=True):
        statement = plain(said)
        if _RETRACTED.match(statement):
            return
        if len(said) <= LONGEST_STATEMENT:
            yield statement


def _marked(pattern: re.Pattern[str], text: str) -> list[tuple[int, str]]:
    """The positions and texts of the last marks of one sort."""
    return [(match.start(1), match[1]) for match in pattern.finditer(text)][-MOST_MARKS:]


def _first_sentence(statement: str) -> str:
    end = _SENTENCE_END.search(statement)
    return statement[: end.start()] if end else statement


def plain(text: str) -> str:
    """A text without Markdown emphasis, quotation marks and closing punctuation around it."""
    return text.strip().strip("*_`\"'“”‘’ ").removesuffix(".").strip("*_`\"'“”‘’ ")


def last_line(reply: str) -> str | None:
    """The last line of a reply, or the passage in bold on it if there is exactly one."""
    lines = [line.strip() for line in reply[-LONGEST_REPLY:].splitlines() if line.strip()]
    if not lines:
        return None
    bold = re.findall(r"\*\*([^*]+)\*\*", lines[-1])
    return plain(bold[0]) if len(bold) == 1 else plain(lines[-1])


def last_sentence(reply: str) -> str:
    """The last sentence of a reply; empty where it is longer than `LONGEST_STATEMENT`."""
    line = next((line for line in reversed(reply[-LONGEST_REPLY:].splitlines()) if line.strip()), "")
    sentence = re.split(r"(?<=[.!?])\s+", line.strip())[-1]
    return sentence if len(sentence) <= LONGEST_STATEMENT else ""


def _boxed(text: str) -> Iterator[tuple[int, str]]:
    r"""The contents of `\boxed{...}`, which may hold braces of their own."""
    for match in list(re.finditer(r"\\(?:boxed|fbox)\s*\{", text))[-MOST_MARKS:]:
        depth = 1
        for position in range(match.end(), min(len(text), match.end() + 500)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                yield match.end(), text[match.end() : position]
                break
