"""The trial of the final choice as tables for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metascale.evals.choice.trial import Outcome, Trial
from metascale.evals.statistics import Interval


def show_trial(name: str, found: Trial, console: Console) -> None:
    """Print the tables of one file."""
    console.print(Text(f"{name}: {found.questions:,} questions; {found.measure} in percent, with 95 % intervals"))
    _show(found.at_samples, "At N samples, and the difference to the first rule that votes or draws", console)
    _show(found.at_calls, "At N calls, verdicts included", console)
    best = ", ".join(f"{size}: {100 * value:.1f}" for size, value in found.any_right.items())
    console.print(Text(f"The best of all N samples: {best}"))
    _show_confidence(found.at_samples, console)
    _show_stopping(found, console)


def _show(found: Sequence[Outcome], title: str, console: Console) -> None:
    table = Table("N", "rule", "samples", "calls", "%", "difference", "looks", "gain of looks", "of verdicts", box=None)
    table.title = title
    for one in found:
        table.add_row(
            str(one.n),
            Text(one.rule),
            str(one.samples),
            f"{one.calls:.1f}",
            f"{100 * one.value:.1f} ({_span(one.interval, sign='')})",
            f"{100 * one.difference:+.1f} ({_span(one.difference_interval)})",
            f"{one.looks:.1f}" if one.looks else "",
            _gain(one.predicted_gain, one.realised_gain) if one.looks else "",
            _gain(one.predicted_gain_of_verdicts, one.realised_gain_of_verdicts) if one.confidence is not None else "",
        )
    console.print(table)
    console.print(Text("Gains in points: predicted, then realised"))


def _show_confidence(found: Sequence[Outcome], console: Console) -> None:
    table = Table(
        "N", "rule", "mean confidence", "share right", "calibration error", "share right by confidence", box=None
    )
    table.title = "Confidence"
    for one in found:
        if one.confidence is not None and one.right is not None and one.calibration_error is not None:
            curve = ", ".join(f"{held.mean_confidence:.2f}: {held.accuracy:.2f} ({held.count})" for held in one.curve)
            numbers = (f"{one.confidence:.3f}", f"{one.right:.3f}", f"{one.calibration_error:.3f}")
            table.add_row(str(one.samples), Text(one.rule), *numbers, Text(curve))
    console.print(table)


def _show_stopping(found: Trial, console: Console) -> None:
    if not found.stopping:
        return
    table = Table("budget", "rule", "batch", "% drawn", "difference to drawing all", box=None)
    table.title = "Stopping on agreement of votes"
    for one in found.stopping:
        change = f"{100 * one.difference:+.2f} ({100 * one.interval.low:+.2f} to {100 * one.interval.high:+.2f})"
        table.add_row(str(one.samples), Text(one.rule), str(one.batch), f"{100 * one.drawn:.0f}", change)
    console.print(table)


def _span(interval: Interval, sign: str = "+") -> str:
    return f"{100 * interval.low:{sign}.1f} to {100 * interval.high:{sign}.1f}"


def _gain(predicted: float, realised: float) -> str:
    return f"{100 * predicted:+.1f}, {100 * realised:+.1f}"
