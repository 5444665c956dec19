"""Short free texts in canonical form."""

from __future__ import annotations

import re

LONGEST_ANSWER = 200
"""Characters of the longest text that counts as an answer. Not tuned."""
LONGEST_PHRASE = 60
"""Characters of the longest text that counts as an answer where a number would count as well. Not tuned."""
MOST_WORDS = 8
"""Words of the longest such text. A longer one is a sentence, and equal sentences seldom agree. Not tuned."""

_PUNCTUATION = " \t.,;:!?\"'`*_“”‘’«»„¡¿。、，！？：；「」『』$"
_BRACKETED = re.compile(r"[(\[]([^()\[\],]*)[)\]]")
_WRAP = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")


def read_phrase(statement: str) -> str | None:
    """A text of a few words, as `read_text`, or None for a sentence."""
    text = read_text(statement)
    is_sentence = (
        text is None or len(text) > LONGEST_PHRASE or len(text.split()) > MOST_WORDS or text.startswith("that ")
    )
    return None if is_sentence else text


def read_text(statement: str) -> str | None:
    """A short text with case folded, white space collapsed, and leading articles and outer punctuation removed."""
    text = " ".join(_WRAP.sub(r"\1", statement).split())
    if len(text) > LONGEST_ANSWER:
        return None
    while True:
        shorter = re.sub(r"^(?:the|an|a)\s+", "", text.casefold().strip(_PUNCTUATION).lstrip("#"))
        if bracketed := _BRACKETED.fullmatch(shorter):
            shorter = bracketed[1]
        if shorter == text:
            return None if text.strip("\\()[]{}") == "" else text
        text = shorter
