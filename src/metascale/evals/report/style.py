"""Style features of Markdown answers, after Arena-Hard's style control, and battles as matches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from metascale.evals.report.records import Battle, BattleVerdict
from metascale.evals.statistics import Match

STRONG_WEIGHT = 3.0

_CODE_BLOCK = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[^\n`]*(?:\n|\Z)(?:.*?^[ \t]*\1[`~]*[ \t]*$|.*\Z)", re.MULTILINE | re.DOTALL
)
_HEADER = re.compile(r"^#{1,6}[ \t]", re.MULTILINE)
_LIST_ITEM = re.compile(r"^[ \t]*(?:\d+\.|[-*+])[ \t]", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")

_OUTCOMES: dict[BattleVerdict, tuple[float, float]] = {
    "A>>B": (1.0, STRONG_WEIGHT),
    "A>B": (1.0, 1.0),
    "A=B": (0.5, 1.0),
    "B>A": (0.0, 1.0),
    "B>>A": (0.0, STRONG_WEIGHT),
}


class Style(NamedTuple):
    """Features besides content that may sway a judge.

    Attributes:
        length: words separated by white space, code included. Arena-Hard counts tokens, which need a tokenizer's
            tables; most of the difference cancels in `style_difference`.
        headers: Markdown headers (`#` to `######`).
        lists: list items, numbered or not.
        bold: bold passages.
    """

    length: int
    headers: int
    lists: int
    bold: int


def style_of(text: str) -> Style:
    """Count an answer's style features; code blocks (an unclosed one to the end) count only towards the length."""
    prose = _CODE_BLOCK.sub("", text)
    return Style(
        length=len(text.split()),
        headers=len(_HEADER.findall(prose)),
        lists=len(_LIST_ITEM.findall(prose)),
        bold=len(_BOLD.findall(prose)),
    )


def style_difference(first: Style, second: Style) -> tuple[float, float, float, float]:
    """`(a - b) / (a + b)` of each feature, in [-1, 1]; 0 where both are 0.

    The original form of Chatbot Arena's style control (Li, Angelopoulos and Chiang 2024); Arena-Hard 2.0 compares
    headers, lists and bold per token instead.
    """
    length, headers, lists, bold = ((a - b) / (a + b) if a + b else 0.0 for a, b in zip(first, second, strict=True))
    return length, headers, lists, bold


def verdict_outcome(verdict: BattleVerdict) -> tuple[float, float]:
    """The outcome for A (1, 0.5 or 0) and the weight of a verdict.

    A strong verdict counts `STRONG_WEIGHT` times, as in Arena-Hard.
    """
    return _OUTCOMES[verdict]


def share_won(verdicts: Iterable[BattleVerdict | None]) -> float | None:
    """The weighted share of battles that A won, in [0, 1]; unreadable verdicts, None, do not count.

    Returns:
        None if no verdict could be read.
    """
    outcomes = [verdict_outcome(verdict) for verdict in verdicts if verdict is not None]
    total = sum(weight for _, weight in outcomes)
    return sum(outcome * weight for outcome, weight in outcomes) / total if total else None


def matches_of(
    method: str, battles: Sequence[Battle], baseline: str = "baseline", *, question: str = ""
) -> list[Match]:
    """The battles whose verdict could be read, as matches of a method (first) against the baseline.

    Args:
        method: the method's name as a player.
        battles: its battles, with its answer first.
        baseline: the baseline's name as a player.
        question: the question of the battles, which groups them for resampling.
    """
    return [
        Match(method, baseline, *verdict_outcome(battle.verdict), style=battle.style, cluster=question)
        for battle in battles
        if battle.verdict is not None
    ]
