"""The answer to a question that takes Yes or No, read from token probabilities or from words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from metascale.models.probabilities import Token

LEAST = 0.01
"""The probability of Yes and No together below which a token tells nothing about them. Not tuned."""

_WORD = re.compile(r"(?<![^\W_])(yes|no)(?![^\W_])", re.IGNORECASE)
_MARKS = re.compile(r"[\W_]|[ĠĊ▁]")
"""What may stand around a word in a token: spaces, punctuation, and the marks of tokenizers for spaces and lines."""


def first_word(text: str) -> Literal["yes", "no"] | None:
    """The first Yes or No in a text, in any spelling; None if there is none."""
    found = _WORD.search(text)
    return None if found is None else "yes" if found[1].casefold() == "yes" else "no"


def probability_of_yes(token: Token) -> float | None:
    """The probability of Yes, given that the token is Yes or No.

    All spellings count, and the probabilities are normalised over both words, because some servers report them
    before temperature and grammar. If only one of the words is among the alternatives, the other one gets the most that
    it can have: at most the probability of the least likely alternative, and at most what all of them leave over.

    Args:
        token: with its alternatives, if the server reports them.

    Returns:
        In [0, 1]; None if the words have less than `LEAST` together.
    """
    told = {**token.alternatives, token.text: token.logprob}
    chances = {text: math.exp(logprob) for text, logprob in told.items()}
    yes, no = (sum(chance for text, chance in chances.items() if _spells(text, word)) for word in ("yes", "no"))
    if yes + no < LEAST:
        return None
    untold = min(max(0.0, 1.0 - sum(chances.values())), *chances.values())
    yes, no = yes or untold, no or untold
    return yes / (yes + no)


def probability_in(tokens: Sequence[Token]) -> float | None:
    """`probability_of_yes` at the first token that was drawn as Yes or No; None if there is none."""
    drawn = (token for token in tokens if _spells(token.text, "yes") or _spells(token.text, "no"))
    return next((probability_of_yes(token) for token in drawn), None)


def _spells(text: str, word: str) -> bool:
    return _MARKS.sub("", text).casefold() == word
