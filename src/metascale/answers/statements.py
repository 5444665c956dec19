"""Where a reply says what its answer is."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST_REPLY = 200_000
"""Characters at the end of a reply that are read."""

_JSON_FIELD = re.compile(r'"(?:final[_ ])?answer"\s*:\s*(?:"((?:[^"\\\n]|\\.)*)"?|([^,}\n"]+))', re.IGNORECASE)
_HASHES = re.compile(r"^[ \t>*]*####[ \t]*(\S.*)$", re.MULTILINE)
_QUOTED = re.compile(r'\bfinal answer\W{0,8}"""\s*(.+?)\s*(?:"""|\Z)', re.IGNORECASE | re.DOTALL)
_SAID = re.compile(
    r"\b(?:answer|(?:correct|right|best)\s+(?:option|choice))[*_\s]{0,4}"
    r"(?:(?:is|are|was|would be|should be|must be)\b(?:[*_\s]{0,4}:)?|[:=])"
    r"[*_\s]{0,6}(?=(\S[^\n]*))",
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
    """What a reply marks as its answer, the most binding mark first.

    A field of JSON comes before everything else; of other marks, the later ones come first. A mark that takes the
    answer back ("the answer is not listed") ends the search.
    """
    text = reply[-LONGEST_REPLY:]
    fields = [match[1] if match[1] is not None else match[2] for match in _JSON_FIELD.finditer(text)]
    yield from (field.strip() for field in reversed(fields))
    marks = [*_boxed(text)]
    for pattern in (_HASHES, _QUOTED):
        marks += [(match.start(1), plain(match[1])) for match in pattern.finditer(text)]
    for pattern in (_SAID,) if _OTHER_OPTION.search(text) else (_SAID, _LINE):
        marks += [(match.start(1), first_sentence(match[1])) for match in pattern.finditer(text)]
    for _, statement in sorted(marks, reverse=True):
        if _RETRACTED.match(statement):
            return
        yield statement


def first_sentence(statement: str) -> str:
    """A statement up to the end of its first sentence, without the mark-up around it."""
    end = _SENTENCE_END.search(statement)
    return plain(statement[: end.start()] if end else statement)


def plain(text: str) -> str:
    """A text without Markdown emphasis, quotation marks and closing punctuation around it."""
    return text.strip().strip("*_`\"'“”‘’ ").removesuffix(".").strip("*_`\"'“”‘’ ")


def last_line(reply: str) -> str | None:
    """What stands alone at the end of a reply: its last line, or the one passage in bold on it."""
    lines = [line.strip() for line in reply[-LONGEST_REPLY:].splitlines() if line.strip()]
    if not lines:
        return None
    bold = re.findall(r"\*\*([^*]+)\*\*", lines[-1])
    return plain(bold[0]) if len(bold) == 1 else plain(lines[-1])


def last_sentence(reply: str) -> str:
    """The last sentence of a reply."""
    line = next((line for line in reversed(reply[-LONGEST_REPLY:].splitlines()) if line.strip()), "")
    return re.split(r"(?<=[.!?])\s+", line.strip())[-1]


def _boxed(text: str) -> Iterator[tuple[int, str]]:
    r"""The contents of `\boxed{...}`, which may hold braces of their own."""
    for match in re.finditer(r"\\(?:boxed|fbox)\s*\{", text):
        depth = 1
        for position in range(match.end(), min(len(text), match.end() + 500)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                yield match.end(), text[match.end() : position]
                break
