"""The figures of a report, from the rows of one task and model.

They use matplotlib's objects, never its global state. Colours are Okabe and Ito's, which colour-blind people can tell
apart; markers differ as well. Each function returns None if there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator, PercentFormatter, ScalarFormatter

from metascale.evals.report.records import AnswerGiven
from metascale.evals.report.tables import (
    ARENA,
    OURS,
    ArmKind,
    Calibration,
    Curve,
    Foretold,
    Row,
    Setting,
    arm_rewards,
    grouped,
    is_ours,
    method_order,
    setting_of,
)
from metascale.evals.statistics import Interval, wilson
from metascale.records import MetaThought
from metascale.stats.reliability import CalibrationBin

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
GREY = "#555555"
WIDTH = 7.5
"""Inches."""
LEGEND_COLUMNS = 3
UNKNOWN_COLOUR = "#ffffff"


class LineStyle(NamedTuple):
    """How a method is drawn, the same in every figure of a task and model."""

    colour: str
    marker: str


def shortened(text: str, at_most: int = 60) -> str:
    """The text on one line, without unprintable characters, shortened in the middle to `at_most` characters."""
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    half = (at_most - 1) // 2
    return printable if len(printable) <= at_most else f"{printable[:half]}…{printable[-half:]}"


def literal(text: str) -> str:
    """The text, escaped so that matplotlib does not read dollar signs as mathematics."""
    return text.replace("$", r"\$")


def quality(rows: Sequence[Row]) -> Figure | None:
    """Score against budget: one line for each method, with intervals.

    Args:
        rows: of one task and model.
    """
    rows = [row for row in rows if row.score is not None]
    if not rows:
        return None
    figure, axes = _figure("Quality against budget", rows)
    by_method, looks = grouped(rows, lambda row: row.method), _looks(rows)
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
    _score_axis(axes, rows)
    _legend(figure, handles)
    return figure


def cost(rows: Sequence[Row]) -> Figure | None:
    """Score against model requests, judgements included, with METASCALE's budgets.

    Args:
        rows: of one task and model; rows without usage are left out.
    """
    billed = [(row, row.calls) for row in rows if row.calls and row.score is not None]
    if not billed:
        return None
    figure, axes = _figure("Cost beside quality", rows)
    by_method, looks = grouped(billed, lambda pair: pair[0].method), _looks(rows)
    handles: dict[str, Artist] = {}
    for method, pairs in by_method.items():
        line = sorted(pairs, key=lambda pair: pair[1])
        handles[method] = _points(axes, [calls for _, calls in line], [row for row, _ in line], looks[method])
        for row, calls in line if is_ours(method) else ():
            axes.annotate(
                f"{row.budget}",
                (calls, row.score or 0.0),
                xytext=(6, -11),
                textcoords="offset points",
                fontsize=8,
                color=looks[method].colour,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
                zorder=4,
            )
    spent = [calls for _, calls in billed]
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(spent) / 1.6, max(spent) * 1.6)
    axes.xaxis.set_major_locator(LogLocator(base=2, numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(f"Model requests per question, judgements included (log scale); numbers: {OURS}'s budgets")
    _score_axis(axes, [row for row, _ in billed])
    _legend(figure, handles)
    return figure


def arms(kinds: Sequence[ArmKind]) -> Figure | None:
    """How often each kind of arm was pulled, and what it earned.

    Args:
        kinds: of one task, model and method.
    """
    if not kinds:
        return None
    first = kinds[0]
    figure = Figure(figsize=(WIDTH, 1.7 + 0.38 * len(kinds)), layout="constrained")
    _entitle(figure, f"Arms of {shortened(first.method, 30)} at budget {first.budget}", first.setting)
    left, right = figure.subplots(1, 2, sharey=True)
    places = list(range(len(kinds)))
    left.barh(places, [kind.pulls for kind in kinds], color=COLOURS[1], height=0.6)
    left.set_yticks(places, [literal(f"{shortened(kind.kind, 30)} ({kind.arms:.3g} a run)") for kind in kinds])
    left.invert_yaxis()
    left.set_ylabel("Kind of arm")
    left.set_xlabel("Mean pulls per run")
    for place, kind in enumerate(kinds):
        if kind.reward is not None and kind.interval is not None:
            errors = _errors([kind.reward], [kind.interval])
            right.errorbar([kind.reward], [place], xerr=errors, fmt="o", color=COLOURS[0], capsize=3)
    right.set_xlim(0, 1)
    right.set_xlabel("Mean reward per run, with 95 % interval")
    for axes in (left, right):
        _tidy(axes, grid="x")
    return figure


def regret(curves: Sequence[Curve]) -> Figure | None:
    """Mean cumulative regret over the samples of a run, with intervals.

    Args:
        curves: of one task and model.
    """
    return _along("Regret over time", curves, "Samples so far", "Cumulative regret (reward), in hindsight")


def progress(curves: Sequence[Curve]) -> Figure | None:
    """Mean expected progress over the rounds of a run, with intervals.

    Args:
        curves: of one task and model.
    """
    return _along("What one more sample may add", curves, "Rounds so far", "Expected rise of the highest reward")


def _along(what: str, curves: Sequence[Curve], steps: str, values: str) -> Figure | None:
    if not curves:
        return None
    figure, axes = _figure(what, curves)
    looks = _looks(curves)
    handles: dict[str, Artist] = {}
    for curve in curves:
        look = looks[curve.method]
        band = [interval.low for interval in curve.intervals], [interval.high for interval in curve.intervals]
        axes.fill_between(curve.at, *band, color=look.colour, alpha=0.2, linewidth=0)
        often = max(1, len(curve.at) // 8)
        (line,) = axes.plot(curve.at, curve.mean, color=look.colour, marker=look.marker, markersize=4, markevery=often)
        handles[f"{curve.method} @ {curve.budget}"] = line
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel(steps)
    axes.set_ylabel(values)
    _legend(figure, handles)
    return figure


def reliability(calibration: Calibration | None) -> Figure | None:
    """Rewards as probabilities: the share of right samples and the number of samples in each bin of reward."""
    if calibration is None:
        return None
    area = "not defined" if calibration.auc is None else f"{calibration.auc:.2f}"
    what = f"Calibration of the reward (ECE {calibration.error:.2f}, AUC {area})"
    filled = [one for one in calibration.bins if one.count]
    intervals = [wilson(round(one.accuracy * one.count), one.count) for one in filled]
    return _calibration(what, calibration.setting, filled, intervals, said="Reward", held="Samples", colour=COLOURS[1])


def foresight(foretold: Foretold) -> Figure:
    """Predicted pass rates: the share of right samples and the number of runs in each bin."""
    what = f"Calibration of foreseen pass rates (ECE {foretold.error:.2f})"
    return _calibration(
        f"{what}: {shortened(foretold.method, 30)} at budget {foretold.budget}",
        foretold.setting,
        foretold.bins,
        foretold.intervals,
        said="Predicted pass rate",
        held="Runs",
        colour=COLOURS[0],
    )


def _calibration(
    what: str,
    setting: Setting,
    bins: Sequence[CalibrationBin],
    intervals: Sequence[Interval],
    *,
    said: str,
    held: str,
    colour: str,
) -> Figure:
    """Predictions against the share of right samples, above the size of each bin of [0, 1]."""
    figure = Figure(figsize=(WIDTH * 0.72, WIDTH * 0.72), layout="constrained")
    _entitle(figure, what, setting)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    shares = [one.accuracy for one in bins]
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfect calibration")
    upper.errorbar(
        [one.mean_confidence for one in bins],
        shares,
        yerr=_errors(shares, intervals),
        color=colour,
        marker="o",
        capsize=3,
        label=f"{held.lower()}, with 95 % interval",
    )
    upper.set_ylim(-0.03, 1.03)
    upper.set_ylabel("Share of right samples")
    upper.legend(loc="upper left", bbox_to_anchor=(0, 1.14), ncols=2, frameon=False, borderaxespad=0)
    lower.bar(
        [one.low for one in bins],
        [one.count for one in bins],
        width=[one.high - one.low for one in bins],
        align="edge",
        color=colour,
        edgecolor="white",
    )
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
    lower.set_xlim(-0.03, 1.03)
    lower.set_xlabel(said)
    lower.set_ylabel(held)
    for axes in (upper, lower):
        _tidy(axes)
    return figure


def family(run: AnswerGiven | None) -> Figure | None:
    """The evolved meta-thoughts of one run and their ancestors, by generation, with their mean rewards.

    Args:
        run: such as the one of `tables.exemplary_run`; a run without evolution gives no figure.
    """
    kin = _kin(run.pool) if run else []
    if run is None or not kin:
        return None
    places, rewards = _places(kin), arm_rewards(run)
    chosen = next((sample.meta_thought for sample in run.samples if sample.id == run.winner), None)
    widest = max(x for x, _ in places.values()) * 2 + 1
    depth = len({y for _, y in places.values()})
    figure = Figure(figsize=(max(WIDTH, 1.9 + 1.05 * widest), 1.5 + 0.95 * depth), layout="constrained")
    whose = f"question {shortened(run.question_id, 30)}, {shortened(run.method, 30)} at budget {run.budget}"
    _entitle(figure, f"Family of meta-thoughts: {whose}", setting_of(run))
    axes = figure.add_subplot()
    colours = mpl.colormaps["viridis"]
    for thought in kin:
        for parent in set(thought["parents"]) & set(places):
            _edge(axes, places[parent], places[thought["id"]])
    for name, (x, y) in places.items():
        reward = rewards[name]
        lines = [*wrap(shortened(name, 32).replace("_", " "), 10), "–" if reward is None else f"{reward:.2f}"]
        fill = UNKNOWN_COLOUR if reward is None else mpl.colors.to_hex(colours(reward))
        axes.text(
            x,
            y,
            literal("\n".join(lines)),
            ha="center",
            va="center",
            fontsize=8,
            color="white" if reward is not None and reward < 0.6 else "black",
            bbox={"boxstyle": "round", "facecolor": fill, "linewidth": 2.5 if name == chosen else 0.6},
            zorder=3,
        )
    generations = sorted({thought["generation"] for thought in kin})
    axes.set_yticks(sorted({y for _, y in places.values()}, reverse=True), [str(number) for number in generations])
    axes.set_ylabel("Generation")
    axes.set_xlabel("In each box: the meta-thought and its mean reward (– : none). Thick border: the answer's")
    axes.set_xticks([])
    axes.set_xlim(-widest / 2, widest / 2)
    axes.set_ylim(-depth + 0.4, 0.6)
    _tidy(axes, grid=None)
    figure.colorbar(
        ScalarMappable(mpl.colors.Normalize(0, 1), colours), ax=axes, label="Mean reward", fraction=0.04, pad=0.02
    )
    return figure


def _figure(what: str, rows: Sequence[Row | Curve]) -> tuple[Figure, Axes]:
    """A titled figure with one plot and room for a legend below it."""
    legend_lines = -(-len({row.method for row in rows}) // LEGEND_COLUMNS)
    figure = Figure(figsize=(WIDTH, WIDTH * 0.52 + 0.25 * legend_lines), layout="constrained")
    _entitle(figure, what, rows[0].setting)
    axes = figure.add_subplot()
    _tidy(axes)
    return figure, axes


def _entitle(figure: Figure, what: str, setting: Setting) -> None:
    room = int(9.8 * figure.get_figwidth())
    lines = [
        *(["SIMULATION: no language model answered"] if setting.simulated else []),
        *wrap(what, room),
        *wrap(f"{shortened(setting.task)}, {shortened(setting.model)}", room),
    ]
    figure.suptitle(literal("\n".join(lines)), x=0.01, ha="left", fontsize=11)


def _tidy(axes: Axes, grid: str | None = "y") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid == "x":
        axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    elif grid == "y":
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)


def _looks(rows: Sequence[Row | Curve]) -> dict[str, LineStyle]:
    methods = sorted({row.method for row in rows}, key=method_order, reverse=True)
    return {
        method: LineStyle(COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)])
        for place, method in enumerate(methods)
    }


def _step(budgets: Sequence[int], methods: int) -> float:
    """The distance, in octaves, between the points of two methods at one budget; budgets stay apart."""
    octaves = np.log2(budgets)
    gap = float(np.diff(octaves).min(initial=2.0))
    return min(max(0.06, 0.025 * float(octaves[-1] - octaves[0])), 0.5 * gap / methods)


def _points(axes: Axes, at: Sequence[float], rows: Sequence[Row], look: LineStyle) -> Artist:
    """Draw one line with its intervals.

    Returns:
        The line, for the legend.
    """
    known = [(row.score, row.interval) for row in rows if row.score is not None and row.interval is not None]
    scores = [score for score, _ in known]
    errors = _errors(scores, [interval for _, interval in known])
    drawn = axes.errorbar(at, scores, yerr=errors, color=look.colour, marker=look.marker, elinewidth=1.1, capsize=3)
    return drawn.lines[0]


def _errors(values: Sequence[float], intervals: Sequence[Interval]) -> list[list[float]]:
    """Lengths below and above for `errorbar`; at least 0 despite rounding of the interval's ends."""
    return [
        [max(0.0, value - interval.low) for value, interval in zip(values, intervals, strict=True)],
        [max(0.0, interval.high - value) for value, interval in zip(values, intervals, strict=True)],
    ]


def _score_axis(axes: Axes, rows: Sequence[Row]) -> None:
    intervals = [row.interval for row in rows if row.interval is not None]
    low, high = min(one.low for one in intervals), max(one.high for one in intervals)
    axes.set_ylim(max(-0.03, low - 0.05), min(1.03, high + 0.05))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    what = "Share of battles won" if rows[0].setting.task == ARENA else "Score"
    axes.set_ylabel(f"{what}, with 95 % interval")


def _legend(figure: Figure, handles: Mapping[str, Artist]) -> None:
    names = [literal(shortened(name, 32)) for name in handles]
    figure.legend(handles.values(), names, loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False, fontsize=9)


def _kin(pool: Sequence[MetaThought]) -> list[MetaThought]:
    """The evolved meta-thoughts and all their ancestors, in the order of the pool."""
    by_id = {thought["id"]: thought for thought in pool}
    wanted = [thought["id"] for thought in pool if thought["parents"]]
    kin: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in by_id and name not in kin:
            kin.add(name)
            wanted += by_id[name]["parents"]
    return [thought for thought in pool if thought["id"] in kin]


def _places(kin: Sequence[MetaThought]) -> dict[str, tuple[float, float]]:
    """The position of each: generations are rows from 0 downwards, centred and ordered by the parents' positions."""
    places: dict[str, tuple[float, float]] = {}
    by_generation = grouped(sorted(kin, key=lambda thought: thought["generation"]), lambda t: t["generation"])
    for depth, row in enumerate(by_generation.values()):
        ordered = sorted(row, key=lambda thought: _mean_place(thought, places))
        for index, thought in enumerate(ordered):
            places[thought["id"]] = (index - (len(row) - 1) / 2, -float(depth))
    return places


def _mean_place(thought: MetaThought, places: Mapping[str, tuple[float, float]]) -> float:
    above = [places[parent][0] for parent in thought["parents"] if parent in places]
    return float(np.mean(above)) if above else 0.0


def _edge(axes: Axes, parent: tuple[float, float], child: tuple[float, float]) -> None:
    """An arrow to the child; arrows across a generation bend around its boxes."""
    bend = 0.0 if parent[1] - child[1] <= 1 else 0.25
    axes.annotate(
        "",
        xy=child,
        xytext=parent,
        arrowprops={
            "arrowstyle": "-|>",
            "color": GREY,
            "linewidth": 0.9,
            "shrinkA": 14,
            "shrinkB": 17,
            "connectionstyle": f"arc3,rad={bend}",
        },
        zorder=1,
    )
