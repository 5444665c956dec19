"""What the figures share: titles, axes, legends, names and colours."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from textwrap import wrap

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metascale.evals.report.tables import Setting
from metascale.evals.statistics import Interval

GREY = "#555555"
WIDTH = 7.5
"""Inches."""
LEGEND_CHARACTERS = 90
"""Characters that fit on one line of a legend."""
NAME = 60
"""The most characters of a method's name in a figure; longer ones lose their middle."""
ONE_COLOUR = "#0072B2"
OTHER_COLOUR = "#D55E00"
"""Okabe and Ito's blue and vermilion, for figures that show one thing or two."""


def shortened(text: str, at_most: int = 60) -> str:
    """The text on one line, without unprintable characters, shortened in the middle to `at_most` characters."""
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    half = (at_most - 1) // 2
    return printable if len(printable) <= at_most else f"{printable[:half]}…{printable[-half:]}"


def literal(text: str) -> str:
    """The text, escaped so that matplotlib does not read dollar signs as mathematics."""
    return text.replace("$", r"\$")


def titled(what: str, setting: Setting, names: Collection[str]) -> tuple[Figure, Axes]:
    """A titled figure with one plot and room for a legend with these names below it."""
    figure = Figure(figsize=(WIDTH, WIDTH * 0.52 + 0.25 * -(-len(names) // _columns(names))), layout="constrained")
    entitle(figure, what, setting)
    axes = figure.add_subplot()
    tidy(axes)
    return figure, axes


def entitle(figure: Figure, what: str, setting: Setting) -> None:
    """Say what a figure shows, of which task and model, and that it is a simulation where it is one."""
    room = int(9.8 * figure.get_figwidth())
    lines = [
        *(["SIMULATION: not a result about language models"] if setting.simulated else []),
        *wrap(what, room),
        *wrap(f"{shortened(setting.task)}, {shortened(setting.model)}", room),
    ]
    figure.suptitle(literal("\n".join(lines)), x=0.01, ha="left", fontsize=11)


def tidy(axes: Axes, grid: str | None = "y") -> None:
    """Leave out what is no data: two spines, and a grid in other directions than `x` or `y`."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid == "x":
        axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    elif grid == "y":
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)


def errors_of(values: Sequence[float], intervals: Sequence[Interval]) -> list[list[float]]:
    """Lengths below and above for `errorbar`; at least 0 despite rounding of the interval's ends."""
    return [
        [max(0.0, value - interval.low) for value, interval in zip(values, intervals, strict=True)],
        [max(0.0, interval.high - value) for value, interval in zip(values, intervals, strict=True)],
    ]


def add_legend(figure: Figure, handles: Mapping[str, Artist]) -> None:
    """Add a legend below the plot; its handles are long enough to show their line styles."""
    figure.legend(
        handles.values(),
        [literal(shortened(name, NAME)) for name in handles],
        loc="outside lower center",
        ncols=_columns(handles),
        frameon=False,
        fontsize=9,
        handlelength=3.6,
    )


def _columns(names: Collection[str]) -> int:
    longest = max(len(shortened(name, NAME)) for name in names)
    return max(1, min(3, LEGEND_CHARACTERS // (longest + 8)))
