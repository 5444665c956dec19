"""The family of evolved meta-thoughts of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from metascale.evals.report.figures.drawing import GREY, WIDTH, entitle, literal, shortened, tidy
from metascale.evals.report.records import AnswerGiven
from metascale.evals.report.tables import arm_rewards, grouped, setting_of
from metascale.records import MetaThought

UNKNOWN_COLOUR = "#ffffff"


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
    entitle(figure, f"Family of meta-thoughts: {whose}", setting_of(run))
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
    tidy(axes, grid=None)
    figure.colorbar(
        ScalarMappable(mpl.colors.Normalize(0, 1), colours), ax=axes, label="Mean reward", fraction=0.04, pad=0.02
    )
    return figure


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
