"""Numbers as the page shows them."""

from __future__ import annotations

from datetime import UTC, datetime

from metascale.evals.statistics import Interval

NOTHING = "–"
"""Shown for an unknown number."""


def percent(share: float | None) -> str:
    """A share in %, with one decimal."""
    return NOTHING if share is None else _signed(100 * share)


def points(difference: float) -> str:
    """A difference of shares in points of %, with its sign."""
    return f"+{100 * difference:.1f}" if difference > 0 else percent(difference)


def span(interval: Interval | None) -> str:
    """An interval of shares in %."""
    return NOTHING if interval is None else f"[{percent(interval.low)}, {percent(interval.high)}]"


def points_span(interval: Interval) -> str:
    """An interval of differences in points of %."""
    return f"[{points(interval.low)}, {points(interval.high)}]"


def numbers_span(interval: Interval) -> str:
    """An interval of numbers."""
    return f"[{number(interval.low)}, {number(interval.high)}]"


def number(value: float | None) -> str:
    """A number with three significant digits; whole from 100 on."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}".replace("-", "−")


def hundredths(value: float | None) -> str:
    """A number with two decimals."""
    return NOTHING if value is None else f"{value:.2f}".replace("-", "−")


def dollars(value: float | None) -> str:
    """US dollars with four decimals."""
    if value is None:
        return NOTHING
    return "<0.0001" if 0 < value < 0.0001 else f"{value:,.4f}"


def chance(p: float | None) -> str:
    """A p-value."""
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def minute(time: str) -> str:
    """A time as ISO 8601 to the minute, such as `2026-01-31 18:05 UTC`."""
    if not time:
        return NOTHING
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


FILTERS = {
    "percent": percent,
    "points": points,
    "span": span,
    "points_span": points_span,
    "numbers_span": numbers_span,
    "number": number,
    "hundredths": hundredths,
    "dollars": dollars,
    "chance": chance,
    "minute": minute,
}
"""By their names in the page's template."""


def _signed(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")
