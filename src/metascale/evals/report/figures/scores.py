"""Figures of scores: of every method and budget, against the budget, and against what answers cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator, PercentFormatter, ScalarFormatter

from metascale.evals.report.figures.drawing import (
    NAME,
    WIDTH,
    add_legend,
    entitle,
    errors_of,
    literal,
    shortened,
    tidy,
    titled,
)
from metascale.evals.report.figures.looks import Look
from metascale.evals.report.tables import ARENA, OURS, Row, grouped, is_ours
from metascale.evals.statistics import Interval

NEAREST = 0.014
"""The least distance of two points, as a share of the axis: about a marker's width."""


@dataclass(frozen=True)
class Cost:
    """One of the costs of an answer.

    Attributes:
        name: such as `calls`; part of file names.
        title: what the axis shows.
        of: the mean per question of a row, None or 0 where it has none.
        base: of the logarithmic axis.
    """

    name: str
    title: str
    of: Callable[[Row], float | None]
    base: int


def _tokens(row: Row) -> float | None:
    parts = row.input_tokens, row.output_tokens
    return None if parts[0] is None or parts[1] is None else parts[0] + parts[1]


COSTS = (
    Cost("calls", "Model requests per question, judgements included", lambda row: row.calls, 2),
    Cost("tokens", "Prompt and completion tokens per question", _tokens, 10),
    Cost("dollars", "US dollars per question", lambda row: row.dollars, 10),
    Cost("seconds", "Seconds per question", lambda row: row.seconds, 10),
)


def headline(rows: Sequence[Row], looks: Mapping[str, Look]) -> Figure | None:
    """The score of every method and budget with its interval, one below the other, with the numbers.

    Args:
        rows: of one task and model.
        looks: the look of each method.
    """
    if not rows:
        return None
    figure = Figure(figsize=(WIDTH, 1.5 + 0.27 * len(rows)), layout="constrained")
    title = "Share of battles won" if rows[0].setting.task == ARENA else "Accuracy"
    entitle(figure, f"{title} of every method and budget, with 95 % intervals", rows[0].setting)
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        look = looks[row.method]
        for score, interval in _known([row]):
            axes.errorbar(
                [score],
                [place],
                xerr=errors_of([score], [interval]),
                color=look.colour,
                marker=look.marker,
                markerfacecolor=look.face,
                elinewidth=1.3,
                capsize=3,
            )
        axes.text(1.01, place, _said(row), transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    first = 0
    for turn, of_method in enumerate(grouped(rows, lambda row: row.method).values()):
        if turn % 2:
            axes.axhspan(first - 0.5, first + len(of_method) - 0.5, color="#f3f3f3", linewidth=0, zorder=0)
        first += len(of_method)
    names = [literal(f"{shortened(row.method, NAME)} @ {row.budget}") for row in rows]
    labels = axes.set_yticks(range(len(rows)), names, fontsize=9)
    for row, label in zip(rows, labels, strict=True):
        label.label1.set_fontweight("bold" if is_ours(row.method) else "normal")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_ylabel("Method @ budget")
    _score_axis(axes.xaxis, rows, axes.set_xlim)
    tidy(axes, grid="x")
    return figure


def quality(rows: Sequence[Row], looks: Mapping[str, Look]) -> Figure | None:
    """Score against budget: one line for each method, with intervals.

    Args:
        rows: of one task and model.
        looks: the look of each method.
    """
    rows = [row for row in rows if row.score is not None]
    if not rows:
        return None
    by_method = grouped(rows, lambda row: row.method)
    figure, axes = titled("Score against budget", rows[0].setting, by_method)
    budgets = sorted({row.budget for row in rows})
    step = _step(budgets, len(by_method))
    handles: dict[str, Artist] = {}
    for place, (method, line) in enumerate(by_method.items()):
        aside = 2 ** (step * (place - (len(by_method) - 1) / 2))
        handles[method] = _points(axes, [row.budget * aside for row in line], line, looks[method])
    axes.set_xscale("log", base=2)
    axes.set_xlim(budgets[0] / 1.4, budgets[-1] * 1.4)
    axes.xaxis.set_major_locator(FixedLocator(budgets))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("Budget: samples per question (log scale)")
    _score_axis(axes.yaxis, rows, axes.set_ylim)
    add_legend(figure, handles)
    return figure


def against(cost: Cost, rows: Sequence[Row], looks: Mapping[str, Look]) -> Figure | None:
    """Score against one of the costs: one line for each method, with intervals and METASCALE's budgets.

    Points of nearly equal cost are set apart a little, so that none hides another.

    Args:
        cost: one of `COSTS`.
        rows: of one task and model; rows without this cost or without an answer are left out.
        looks: the look of each method.
    """
    billed = [(row, spent) for row in rows if row.score is not None and (spent := cost.of(row))]
    if not billed:
        return None
    at = _apart([spent for _, spent in billed])
    placed = [(row, place) for (row, _), place in zip(billed, at, strict=True)]
    by_method = grouped(placed, lambda pair: pair[0].method)
    figure, axes = titled(f"Score against {cost.name}", rows[0].setting, by_method)
    handles: dict[str, Artist] = {}
    for method, pairs in by_method.items():
        line = sorted(pairs, key=lambda pair: pair[1])
        handles[method] = _points(axes, [place for _, place in line], [row for row, _ in line], looks[method])
        for row, place in line if is_ours(method) else ():
            axes.annotate(
                f"{row.budget}",
                (place, row.score or 0.0),
                xytext=(6, -11),
                textcoords="offset points",
                fontsize=8,
                color=looks[method].colour,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
                zorder=4,
            )
    lowest, highest = min(spent for _, spent in billed), max(spent for _, spent in billed)
    axes.set_xscale("log", base=cost.base)
    axes.set_xlim(lowest / 1.6, highest * 1.6)
    few = cost.base == 10 and highest < 100 * lowest
    axes.xaxis.set_major_locator(LogLocator(base=cost.base, subs=(1, 2, 5) if few else (1,), numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:,g}")
    ours = f"; numbers: {OURS}'s budgets" if any(map(is_ours, by_method)) else ""
    axes.set_xlabel(f"{cost.title} (log scale){ours}")
    _score_axis(axes.yaxis, [row for row, _ in billed], axes.set_ylim)
    add_legend(figure, handles)
    return figure


def _known(rows: Sequence[Row]) -> list[tuple[float, Interval]]:
    """The scores with their intervals, of the rows with an answer."""
    return [(row.score, row.interval) for row in rows if row.score is not None and row.interval is not None]


def _said(row: Row) -> str:
    """A row's score and interval in %, and what is missing."""
    parts = [f"{100 * score:.1f}  [{100 * low:.1f}, {100 * high:.1f}]" for score, (low, high) in _known([row])]
    parts += [f"{row.failed} failed"] if row.failed else []
    parts += [f"{row.unanswered} unanswered"] if row.unanswered else []
    return ", ".join(parts)


def _step(budgets: Sequence[int], methods: int) -> float:
    """The distance, in octaves, between the points of two methods at one budget; budgets stay apart."""
    octaves = np.log2(budgets)
    gap = float(np.diff(octaves).min(initial=2.0))
    return min(max(0.06, 0.025 * float(octaves[-1] - octaves[0])), 0.5 * gap / methods)


def _apart(costs: Sequence[float]) -> list[float]:
    """The costs, with those closer together than `NEAREST` of the axis's length spread out around their middle."""
    octaves = np.log2(costs)
    nearest = NEAREST * (float(np.ptp(octaves)) + 1.4)
    order = np.argsort(octaves, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(octaves[order]) >= nearest) + 1)
    for group in groups:
        octaves[group] = octaves[group].mean() + nearest * (np.arange(len(group)) - (len(group) - 1) / 2)
    return [float(2**place) for place in octaves]


def _points(axes: Axes, at: Sequence[float], rows: Sequence[Row], look: Look) -> Artist:
    """Draw one line with its intervals.

    Returns:
        The line, for the legend.
    """
    scores, intervals = zip(*_known(rows), strict=True)
    drawn = axes.errorbar(
        at,
        scores,
        yerr=errors_of(scores, intervals),
        color=look.colour,
        marker=look.marker,
        markerfacecolor=look.face,
        linestyle=look.line,
        elinewidth=0.9,
        capsize=3,
    )
    return drawn.lines[0]


def _score_axis(axis: Axis, rows: Sequence[Row], set_limits: Callable[[float, float], object]) -> None:
    intervals = [interval for _, interval in _known(rows)] or [Interval(0.0, 1.0)]
    low, high = min(one.low for one in intervals), max(one.high for one in intervals)
    set_limits(max(-0.03, low - 0.05), min(1.03, high + 0.05))
    axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    what = "Share of battles won" if rows[0].setting.task == ARENA else "Score"
    axis.set_label_text(f"{what}, with 95 % interval")
