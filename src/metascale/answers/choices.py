"""Choices of a multiple-choice question in canonical form: one capital letter."""

from __future__ import annotations

import re
import unicodedata
from string import ascii_uppercase

_WRAP = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}")
_LABEL = r"(?:(?:option|choice|answer|letter)\s+)?"
_AGAIN = re.compile(
    r"[\s*_]*(?:[,;/&+|]?\s*(?:\b(?:or|and|to|und|oder|et|ou|y|o)\b)?)[\s*_]*(?:option\s+)?(?:\(([A-Z])\)|([A-Z])(?=\W*$|[,;.)]|\s+(?:or|and)\b(?!\sI)))"
)
_CHOSEN = re.compile(
    r"\b(?:choose|chose|pick|select|go with|option|choice|(?:therefore|thus|hence|so),?)\s+\(?([A-Z])\)?"
    r"(?:\s+is\s+(?:correct|right|the (?:correct|right|best) (?:answer|choice|option|one)))?\W*$",
    re.IGNORECASE,
)
_OPTION = re.compile(r"(?:option\s+|choice\s+)?\(?([A-Z])(?:[*_]*[).:](?=[\s*_]+\S)|[).:*_]*$)", re.IGNORECASE)
_REJECTED = re.compile(
    r"\b(?:not|n't|rules? out|eliminates?|incorrect|wrong|false|except|neither|unlike)\b", re.IGNORECASE
)


def read_choice(statement: str, choices: int = 10, *, alone: bool = False) -> str | None:
    """The one choice that a statement names, or None.

    Args:
        statement: what a reply marks as its answer, such as `(C)`, `C. Paris` or `option C, because …`.
        choices: how many choices there are, 1 to 26.
        alone: only a letter counts; after a closing mark the text of its option may follow.
    """
    letters = ascii_uppercase[:choices]
    text = unicodedata.normalize("NFKC", _WRAP.sub(r"\1", statement)).strip(" \t\n*_`\"'“”$\\{}.:")
    marked = re.match(rf"{_LABEL}(?:[(\[]\**([{letters}])\**[)\]]|([{letters}])\**(?:[).:\]]|$))", text, re.IGNORECASE)
    loose = None if alone else re.match(rf"{_LABEL}([{letters}])(?=[\s,;])", text)
    match = marked or loose
    if match is None:
        return None
    letter = next(group for group in match.groups() if group)
    rest = text[match.end() :]
    again = _AGAIN.match(rest)
    if again and (again[1] or again[2]) != letter:
        return None
    if not letter.isupper() and text.strip("()[].:* ") != letter:
        return None
    if match is loose and letter in "AI" and not re.match(r"\s*[,;]|\s+because\b", rest):
        return None
    return letter.upper()


def concluding_choice(sentence: str, choices: int = 10) -> str | None:
    """The choice at the end of a reply's last sentence, `… is (C).`, if it names no other and rejects nothing.

    In a sentence with "but" or "however" ("not listed, but closest to (G)") the part after that word counts.
    """
    letters = ascii_uppercase[:choices]
    chosen = _CHOSEN.search(sentence)
    if (
        chosen
        and chosen[1] in letters
        and not _REJECTED.search(sentence)
        and len(re.findall(rf"\b[{letters}]\b", sentence)) - sentence.count("I ") <= 1
    ):
        return chosen[1]
    clause = re.split(r"\b(?:but|however)\b", sentence)[-1]
    named = set(re.findall(rf"\(([{letters}])\)", sentence))
    ending = re.search(rf"\b(?:is|are|to|be|option|choice)\b[^.]*\(([{letters}])\)\W*$", clause)
    return ending[1] if ending and len(named) == 1 and not _REJECTED.search(clause) else None


def listed_choice(reply: str, choices: int = 10) -> str | None:
    """The choice of a reply whose last line is an option, `B. Paris` or `Option B`, if it lists no other option."""
    letters = ascii_uppercase[:choices]
    lines = [_WRAP.sub(r"\1", line).strip(" \t>*_#$`") for line in reply.splitlines() if line.strip()]
    options = [match for line in lines if (match := _OPTION.match(line))]
    last = _OPTION.match(lines[-1]) if lines else None
    if last is None or last[1] not in letters or {match[1] for match in options} != {last[1]}:
        return None
    rest = lines[-1][last.end() :]
    is_text = not re.match(r"\s*(?:is|are|was|and|or|because)\b", rest) and not re.search(r"\([A-Z]\)", rest)
    return last[1] if is_text else None
