"""Short free texts in canonical form."""

from __future__ import annotations

import re

LONGEST_ANSWER = 200
"""Characters of the longest text that still counts as an answer. Ours."""


def read_text(statement: str) -> str | None:
    """A short text with its case folded, white space squeezed, and articles and punctuation around it dropped."""
    text = " ".join(statement.split())
    if len(text) > LONGEST_ANSWER:
        return None
    while True:
        shorter = re.sub(r"^(?:the|an|a)\s+", "", text.casefold().strip(" \t.,;:!?\"'`*_“”‘’()[]$").lstrip("#"))
        if shorter == text:
            return text or None
        text = shorter
