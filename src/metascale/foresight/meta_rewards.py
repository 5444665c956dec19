"""The three meta-rewards of MASA (arXiv 2510.03259): how well a model predicted its own answers.

Each is in [0, 1]. The caller decides which answers count as right. With gold answers the meta-rewards measure accuracy;
with rewards or agreement they only measure how consistent a model is with itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

PRECISION = 0.01
"""The reward of a predicted pass rate of 0 where 1 was observed, or the reverse; from MASA's released code."""

_WORD = re.compile(r"\w+")


def difficulty(predicted: float, observed: float) -> float:
    """The accuracy of a predicted pass rate: `0.01 ** |predicted - observed|`.

    Args:
        predicted: in [0, 1].
        observed: the share of right answers, in [0, 1].
    """
    return float(PRECISION ** abs(predicted - observed))


def length(predicted: float, correct_lengths: Sequence[int]) -> float:
    """1 where a predicted length lies strictly between the shortest and the longest right answer, else 0.

    Args:
        predicted: in tokens.
        correct_lengths: of the right answers, in tokens. Without any the reward is 0.
    """
    if not correct_lengths:
        return 0.0
    return float(min(correct_lengths) < predicted < max(correct_lengths))


def notions(predicted: Sequence[str], problem: str, correct: Sequence[str], wrong: Sequence[str]) -> float:
    """The share of predicted notions that more right answers than wrong ones use.

    Notions that the problem itself names are ignored; if no others are left, the reward is 0. Notions are compared by
    whole words in the singular, case folded, so that "rate" is not found in "separate". MASA does not say how it
    compares them.

    Args:
        predicted: short noun phrases.
        problem: the task.
        correct: texts of the right answers.
        wrong: texts of the wrong ones.
    """
    named = in_singular(problem)
    fresh = [notion for notion in dict.fromkeys(map(in_singular, predicted)) if notion and not _uses(named, notion)]
    if not fresh:
        return 0.0
    right_texts, wrong_texts = [in_singular(text) for text in correct], [in_singular(text) for text in wrong]
    useful = sum(_count(right_texts, notion) > _count(wrong_texts, notion) for notion in fresh)
    return useful / len(fresh)


def used(notions: Sequence[str], text: str) -> list[str]:
    """The notions that a text uses, in their order."""
    words = in_singular(text)
    return [notion for notion in notions if _uses(words, in_singular(notion))]


def in_singular(text: str) -> str:
    """The words of a text in lower case and the singular, one space between them."""
    return " ".join(_singular(word) for word in _WORD.findall(text.casefold()))


def _singular(word: str) -> str:
    """A regular English plural without its ending; any other word unchanged."""
    if len(word) < 4 or word.endswith(("ss", "us", "is")) or word == "series":
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "sses", "xes", "zzes", "oes")):
        return word[:-2]
    return word.removesuffix("s")


def _count(texts: Iterable[str], notion: str) -> int:
    return sum(_uses(text, notion) for text in texts)


def _uses(text: str, notion: str) -> bool:
    return f" {notion} " in f" {text} "
