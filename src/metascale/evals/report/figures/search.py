"""Figures of the search: which arms were pulled, and what that lost and promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metascale.evals.report.figures.drawing import (
    ONE_COLOUR,
    OTHER_COLOUR,
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
from metascale.evals.report.tables import ArmKind, Curve


def arms(kinds: Sequence[ArmKind]) -> Figure | None:
    """How often each kind of arm was pulled, and what it earned.

    Args:
        kinds: of one task, model and method.
    """
    if not kinds:
        return None
    first = kinds[0]
    figure = Figure(figsize=(WIDTH, 1.7 + 0.38 * len(kinds)), layout="constrained")
    entitle(figure, f"Arms of {shortened(first.method, 30)} at budget {first.budget}", first.setting)
    left, right = figure.subplots(1, 2, sharey=True)
    places = list(range(len(kinds)))
    left.barh(places, [kind.pulls for kind in kinds], color=ONE_COLOUR, height=0.6)
    left.set_yticks(places, [literal(f"{shortened(kind.kind, 30)} ({kind.arms:.3g} a run)") for kind in kinds])
    left.invert_yaxis()
    left.set_ylabel("Kind of arm")
    left.set_xlabel("Mean pulls per run")
    for place, kind in enumerate(kinds):
        if kind.reward is not None and kind.interval is not None:
            errors = errors_of([kind.reward], [kind.interval])
            right.errorbar([kind.reward], [place], xerr=errors, fmt="o", color=OTHER_COLOUR, capsize=3)
    right.set_xlim(0, 1)
    right.set_xlabel("Mean reward per run (95 % interval)")
    for axes in (left, right):
        tidy(axes, grid="x")
    return figure


def regret(curves: Sequence[Curve], looks: Mapping[str, Look]) -> Figure | None:
    """Mean cumulative regret over the samples of a run, with intervals.

    Args:
        curves: of one task and model.
        looks: the look of each method.
    """
    return _along("Regret over time", curves, looks, "Samples so far", "Cumulative regret (reward), in hindsight")


def progress(curves: Sequence[Curve], looks: Mapping[str, Look]) -> Figure | None:
    """Mean expected progress over the rounds of a run, with intervals.

    Args:
        curves: of one task and model.
        looks: the look of each method.
    """
    return _along("What one more sample may add", curves, looks, "Rounds so far", "Expected rise of the highest reward")


def _along(what: str, curves: Sequence[Curve], looks: Mapping[str, Look], steps: str, values: str) -> Figure | None:
    if not curves:
        return None
    names = [f"{curve.method} @ {curve.budget}" for curve in curves]
    figure, axes = titled(what, curves[0].setting, names)
    handles: dict[str, Artist] = {}
    for name, curve in zip(names, curves, strict=True):
        look = looks[curve.method]
        band = [interval.low for interval in curve.intervals], [interval.high for interval in curve.intervals]
        axes.fill_between(curve.at, *band, color=look.colour, alpha=0.15, linewidth=0)
        (handles[name],) = axes.plot(
            curve.at,
            curve.mean,
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            markerfacecolor=look.face,
            markersize=5,
            markevery=max(1, len(curve.at) // 8),
        )
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel(steps)
    axes.set_ylabel(values)
    add_legend(figure, handles)
    return figure
