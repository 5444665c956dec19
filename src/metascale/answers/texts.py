"""Short free texts in canonical form."""

from __future__ import annotations

import re

LONGEST_ANSWER = 200
"""Characters of the longest text that counts as an answer. Not tuned."""


def read_text(statement: str) -> str | None:
    """A short text with case folded, white space collapsed, and leading articles and outer punctuation removed."""
    text = " ".join(statement.split())
    if len(text) > LONGEST_ANSWER:
        return None
    while True:
        shorter = re.sub(r"^(?:the|an|a)\s+", "", text.casefold().strip(" \t.,;:!?\"'`*_“”‘’()[]$").lstrip("#"))
        if shorter == text:
            return text or None
        text = shorter
