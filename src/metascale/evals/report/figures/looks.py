"""How each method is drawn: no two alike, in colour and in grey."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from metascale.evals.report.tables import method_order

COLOURS = (
    "#D55E00",
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#882255",
    "#999933",
    "#332288",
    "#8C564B",
    "#808080",
    "#117733",
    "#661100",
)
"""Okabe and Ito's seven for white paper, which colour-blind people can tell apart, and seven of Tol's and Tableau's."""
MARKERS = "osD^vPX*<>d"
"""As many as have no common divisor with `COLOURS`: a colour and a marker meet once in 154 methods."""
LINES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


class Look(NamedTuple):
    """How a method is drawn.

    Attributes:
        colour: of its line and its marker, as `#rrggbb`.
        marker: matplotlib's.
        filled: whether the marker is filled.
        line: matplotlib's line style.
    """

    colour: str
    marker: str
    filled: bool
    line: str | tuple[int, tuple[int, ...]]

    @property
    def face(self) -> str:
        """The colour inside the marker."""
        return self.colour if self.filled else "white"


def looks_of(methods: Iterable[str]) -> dict[str, Look]:
    """The look of each method, METASCALE's first.

    Fourteen methods have fourteen colours. Marker, filling and line style together, which stay in grey, tell apart 110.
    """
    places = enumerate(sorted(set(methods), key=method_order, reverse=True))
    return {method: _look(place) for place, method in places}


def _look(place: int) -> Look:
    turn, marker = divmod(place, len(MARKERS))
    return Look(COLOURS[place % len(COLOURS)], MARKERS[marker], turn % 2 == 0, LINES[(place + turn) % len(LINES)])
