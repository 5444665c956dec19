"""Reads a judgement in free text: its rating, or which of two outputs it prefers. Nothing is guessed.

Every repetition in the patterns is bounded, so the time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

Side = Literal["1", "2"]

_RATING = re.compile(r"\[\[\s{0,9}([0-9]+)\s{0,9}\]\]")
_RATINGS = {str(rating): rating for rating in range(1, 11)}
_BARE_RATING = re.compile(
    r"(?:(?:the|my|final|overall)\s)?(?:(?:rating|score)\s?(?:is|[:=-])?\s?)?"
    r"[\[(]{0,2}(\d{1,2}(?:\.\d{1,4})?)[\])]{0,2}(?:\s?(?:/|out of)\s?(?:9|10))?\.?",
    re.IGNORECASE,
)

_NOUN = r"(?:outputs?|responses?|answers?|options?|assistants?|completions?|candidates?)"


def _name(group: str) -> str:
    """A pattern of the name of an output; the match is in `group`, `group_counted`, `group_in` or `group_bare`."""
    return (
        rf"(?:\b{_NOUN}\s?[(\[]{{0,2}}\s?(?P<{group}>[ab12])\b\s?[)\]]{{0,2}}"
        rf"|\bthe\s(?P<{group}_counted>first|second)\s{_NOUN}"
        rf"|[(\[]{{1,2}}\s?(?P<{group}_in>[ab])\s?[)\]]{{1,2}}"
        rf"|(?<![\w'-])(?P<{group}_bare>(?-i:[AB]))(?![\w'-]))"
    )


_DEGREE = (
    r"(?:\s(?:the|a|an|clearly|much|far|slightly|somewhat|overall|significantly|definitely|generally|also|still|indeed"
    r"|therefore|thus|considered|judged|deemed|to|be|by)){0,5}"
)
_VERDICT = re.compile(
    "|".join(
        (
            _name("is_good")
            + rf"\s(?:is|was|seems|appears|would\sbe|should\sbe){_DEGREE}\s"
            + r"(?:better|best|superior|preferred|preferable|winner|stronger)\b(?!\s(?:if|when|at|in\sterms)\b)",
            _name("wins") + r"\s(?:(?:clearly|easily|narrowly)\s)?(?:wins|outperforms|is\sthe\swinner)\b",
            _name("is_bad") + rf"\s(?:is|was|seems|appears){_DEGREE}\s(?:worse|worst|inferior|weaker)\b",
            rf"\b(?:(?:better|best|superior|preferred|preferable|stronger|winning)(?:\s(?:one|{_NOUN}))?|winner|verdict"
            r"|preference|choice|decision|answer)\s?(?:(?:is|would\sbe|goes\sto)\s?:?|[:=-])\s?(?:the\s)?"
            + _name("named"),
            r"\bI(?:\swould|\swill|'d|'ll)?\s(?:strongly\s)?(?:prefer|choose|pick|select|favou?r|go\swith)\s(?:the\s)?"
            + _name("chosen"),
            r"(?P<tie>\b(?:a\stie|tied|(?:equally|just\sas)\s(?:good|bad|well|poor)|neither(?:\sof\sthem)?"
            rf"(?:\s{_NOUN})?\sis\s(?:clearly\s)?(?:better|preferable|superior)|are\s(?:about\s)?equal)\b)",
        )
    ),
    re.IGNORECASE,
)
_ALONE = re.compile(
    r"(?:(?:so|therefore|thus|hence|final\sanswer|answer|verdict)\s?[,:]?\s)?" + _name("alone") + r"\s?[.!]?",
    re.IGNORECASE,
)
_ALONE_SMALL = re.compile(r"[ab12]\.?", re.IGNORECASE)
_CONCLUDES = re.compile(
    r"\b(?:therefore|thus|hence|overall|consequently|accordingly|in\s(?:conclusion|summary|short)|to\s(?:conclude|sum\sup)"
    r"|all\sin\sall|so|final|finally|verdict|winner|ultimately)\b",
    re.IGNORECASE,
)
_UNSURE = re.compile(
    r"(?:\b(?:whether|if|unless|neither|nor|either|or|than|not|cannot|why|how)"
    r"|(?:n't|\bnot|\bhard|\bimpossible|\bdifficult|\bwrong|\bunclear)(?:\s\w{1,12}){0,4}\s(?:that|say|claim|think|believe|argue))\s?$",
    re.IGNORECASE,
)
_MARKS = str.maketrans(dict.fromkeys('*_`"“”«»~\\') | {"’": "'", "‘": "'", "（": "(", "）": ")"})
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_LOOK_BACK = 60
"""Characters before a verdict that are searched for a doubt about it."""


def read_rating(text: str | None) -> int | None:
    """The rating that a judgement gives on the scale of whole numbers from 1 to 10: a number in double brackets.

    Args:
        text: the judgement, such as `"… Rating: [[8]]"`.

    Returns:
        The rating; None if there is none, if it is not a whole number from 1 to 10, or if several differ.
    """
    given = {digits.lstrip("0") for digits in _RATING.findall(text or "")}
    return _RATINGS.get(given.pop()) if len(given) == 1 else None


def read_preference(text: str | None, *, swapped: bool = False) -> Side | None:
    """The output that a judgement of two prefers: shown as "(a)", "A" or "1", and "(b)", "B" or "2".

    A conclusion ("Therefore, Output (a) is better.", or a line that only names an output) outranks other remarks. All
    statements of the highest rank must agree.

    Args:
        text: the judgement.
        swapped: the pair's second output was shown first.

    Returns:
        The preferred output in the pair's own numbering; None if no preference is stated, or if statements conflict.
    """
    remarks: set[str | None] = set()
    conclusions: set[str | None] = set()
    sentences = [" ".join(part.split()) for part in _SENTENCE.split((text or "").translate(_MARKS))]
    for sentence in sentences:
        if sentence.endswith("?"):
            continue
        alone = _ALONE.fullmatch(sentence)
        if alone:
            conclusions.add(_side(alone))
            continue
        found = set(_verdicts(sentence))
        (conclusions if _CONCLUDES.search(sentence) else remarks).update(found)
    if not conclusions and not remarks and len(sentences) == 1 and _ALONE_SMALL.fullmatch(sentences[0]):
        conclusions.add("1" if sentences[0][0] in "aA1" else "2")
    decisive = conclusions or remarks
    winner = decisive.pop() if len(decisive) == 1 else None
    return _as_numbered(winner, swapped=swapped)


def prefer_by_ratings(ratings: Sequence[str | None], *, swapped: bool = False, forced: bool = False) -> Side | None:
    """The output of a pair that two separate ratings prefer.

    Args:
        ratings: the judgements of the pair's first and second output, in the pair's own order: bare numbers, as
            LLMBar's judges give them on a scale from 0 to 9, or ratings in double brackets.
        swapped: the pair's second output counts as shown first; this matters only if `forced`.
        forced: always name a winner, as LLMBar's own evaluation does (Zeng et al. 2024): the output shown second if the
            ratings are equal, the one shown first if they cannot be read.

    Returns:
        The preferred output in the pair's own numbering; None if the ratings are equal or unreadable and not `forced`.
    """
    first, second = (_number(rating) for rating in ratings) if len(ratings) == 2 else (None, None)
    if first is None or second is None:
        return _as_numbered("1", swapped=swapped) if forced else None
    if first == second:
        return _as_numbered("2", swapped=swapped) if forced else None
    return "1" if first > second else "2"


def _number(rating: str | None) -> float | None:
    bare = _BARE_RATING.fullmatch(" ".join((rating or "").translate(_MARKS).split()))
    return float(bare[1]) if bare else read_rating(rating)


def _verdicts(sentence: str) -> Iterator[str | None]:
    for match in _VERDICT.finditer(sentence):
        if match["tie"]:
            yield None
        elif not _UNSURE.search(sentence[max(0, match.start() - _LOOK_BACK) : match.start()]):
            yield _side(match)


def _side(match: re.Match[str]) -> str:
    """The output that a match prefers, in the order shown."""
    group, letter = next((name, value) for name, value in match.groupdict().items() if value and name != "tie")
    is_first = letter.lower() in {"a", "1", "first"}
    return "1" if is_first is not group.startswith("is_bad") else "2"


def _as_numbered(shown: str | None, *, swapped: bool) -> Side | None:
    if shown is None:
        return None
    return "1" if (shown == "1") is not swapped else "2"
