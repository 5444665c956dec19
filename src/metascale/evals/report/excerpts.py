"""Texts shortened so that a page with all of them still opens."""

from __future__ import annotations

from collections.abc import Iterable

SHORTEST = 160
"""The fewest characters of a text that are shown."""


def longest_shown(texts: Iterable[str], room: int) -> int:
    """The length to shorten texts to, so that all of them together fit.

    Args:
        texts: all texts.
        room: the most characters of all shortened texts together. More are used where `SHORTEST` each are already more.

    Returns:
        The largest such length, at least `SHORTEST`. Texts that are not longer are not shortened.
    """
    lengths = sorted(map(len, texts))
    left = room
    for place, length in enumerate(lengths):
        share = left // (len(lengths) - place)
        if length > share:
            return max(SHORTEST, share)
        left -= length
    return max(SHORTEST, lengths[-1] if lengths else 0)


def excerpt(text: str, at_most: int) -> str:
    """The text; if it is longer than `at_most` characters, its first third and its last two thirds of them.

    The end of an answer usually holds its conclusion.
    """
    if len(text) <= at_most:
        return text
    head = at_most // 3
    return f"{text[:head]}\n[… {len(text) - at_most:,} characters …]\n{text[head - at_most :]}"
