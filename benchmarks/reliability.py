"""Draws reliability diagrams from the output of `metascale bench choice FILE --json`.

    python -m benchmarks.reliability OUT.svg NAME=FILE.json …

Each panel shows one file at 16 samples, or at the most that it has: the share of the votes, and the confidence of the
choice, each against the share of right answers. The area of a point is the number of answers in its bin.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

SAMPLES = 16
SHOWN = {"majority": ("share of the votes", "#b35806"), "choice, votes alone": ("confidence, votes", "#542788")}
VERDICTS = ("choice, a verdict on each sample", ("confidence, votes and verdicts", "#1b7837"))


def panel(axes: Any, name: str, found: dict[str, Any]) -> None:
    """Draw one file."""
    most = max(one["n"] for one in found["at_samples"] if one["n"] <= SAMPLES)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for rule, (label, colour) in {**SHOWN, VERDICTS[0]: VERDICTS[1]}.items():
        one = next((o for o in found["at_samples"] if o["rule"] == rule and o["n"] == most and o["curve"]), None)
        if one is None:
            continue
        at = [held["mean_confidence"] for held in one["curve"]]
        right = [held["accuracy"] for held in one["curve"]]
        counts = [held["count"] for held in one["curve"]]
        axes.plot(at, right, color=colour, linewidth=1)
        sizes = [120 * count / sum(counts) + 4 for count in counts]
        axes.scatter(at, right, sizes, color=colour, label=f"{label} ({one['calibration_error']:.2f})")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="says", title=name, aspect="equal")
    axes.legend(fontsize=7, loc="upper left", frameon=False)


def main() -> None:
    """Draw the diagrams."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("out", type=Path, help="The picture.")
    parser.add_argument("files", nargs="+", metavar="NAME=FILE", help="Titles and outputs of `bench choice --json`.")
    given = parser.parse_args()
    mpl.rcParams.update({"svg.hashsalt": "metascale", "svg.fonttype": "none"})
    figure, axes = plt.subplots(1, len(given.files), figsize=(3.4 * len(given.files), 3.6), squeeze=False)
    for place, file in zip(axes[0], given.files, strict=True):
        name, _, path = file.partition("=")
        panel(place, name, json.loads(Path(path).read_text(encoding="utf-8")))
    axes[0][0].set_ylabel("right")
    figure.tight_layout()
    figure.savefig(given.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
