"""Tokens reduced to what certainty reads of them: where digits stand, and whether a line begins with them."""

from __future__ import annotations

import re

_CLASSES = re.compile(r"(\d)+|(\n)(?:\s*\n)?|([^\S\n])+|([^\d\s])+")


def reduced(piece: str) -> str:
    """A token in which every run of digits is `0`, other text `x`, line breaks are one line break, and spaces gone.

    `metascale.models.probabilities.certainty_of` reads it as it reads the token.
    """
    kinds = ("0", "\n", "", "x")
    return "".join(kinds[(match.lastindex or 1) - 1] for match in _CLASSES.finditer(piece))
