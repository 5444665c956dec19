"""A judge's score as an expectation over the probabilities of its token, instead of one draw from them."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate

from metascale.models.probabilities import Token

LOWEST, HIGHEST = 1, 10
_FIELD = re.compile(r'(?<!\\)"score"\s*:\s*"?(?=\d)')
_NUMBER = re.compile(r"\d+")


def expected_score(tokens: Sequence[Token], drawn: float) -> float | None:
    """The expected score of a verdict, normalised over the scores that exist.

    The score is the number in the last field `score` of the reply that holds the drawn one. A tokenizer may write 10 as
    two tokens. If a 1 was drawn, its probability is then split between 1 and 10 by what may follow it. If not, all of
    it goes to whichever of the two is closer to the other scores.

    Args:
        tokens: of the reply, with the alternatives to each.
        drawn: the score that was read from the reply.

    Returns:
        In [1, 10]; None if the score's token is not found.
    """
    text = "".join(token.text for token in tokens)
    starts = [match.end() for match in _FIELD.finditer(text) if _number_at(text, match.end()) == drawn]
    if not starts:
        return None
    ends = list(accumulate(len(token.text) for token in tokens))
    at = next(number for number, end in enumerate(ends) if end > starts[-1])
    before = tokens[at].text[: starts[-1] - (ends[at] - len(tokens[at].text))]
    chances: dict[int, float] = _chances(tokens[at], before)
    if HIGHEST not in chances and 1 in chances:
        following = tokens[at + 1] if at + 1 < len(tokens) else None
        others = {number: chance for number, chance in chances.items() if number != 1}
        if drawn in {1, HIGHEST} and following is not None:
            ten = _share_of_zero(following)
        else:
            ten = float(_mean(others) > (LOWEST + HIGHEST) / 2)
        chances[HIGHEST], chances[1] = ten * chances[1], (1 - ten) * chances[1]
    allowed = {number: chance for number, chance in chances.items() if LOWEST <= number <= HIGHEST}
    return _mean(allowed) if sum(allowed.values()) > 0 else None


def _number_at(text: str, start: int) -> int | None:
    found = _NUMBER.match(text, start)
    return None if found is None else int(found[0])


def _chances(token: Token, before: str) -> dict[int, float]:
    """The probability of each number that could have been drawn for a token, after the text `before` in that token."""
    chances: defaultdict[int, float] = defaultdict(float)
    for text, logprob in {**token.alternatives, token.text: token.logprob}.items():
        number = _number_at(text.removeprefix(before).lstrip(), 0)
        if number is not None:
            chances[number] += math.exp(logprob)
    return dict(chances)


def _share_of_zero(following: Token) -> float:
    """The probability that a 0 follows."""
    told = {**following.alternatives, following.text: following.logprob}
    zero = sum(math.exp(logprob) for text, logprob in told.items() if text.startswith("0"))
    return zero / sum(math.exp(logprob) for logprob in told.values())


def _mean(chances: dict[int, float]) -> float:
    total = sum(chances.values())
    return sum(number * chance for number, chance in chances.items()) / total if total else 0.0
