"""Figures of predictions against outcomes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metascale.evals.report.figures.drawing import (
    GREY,
    ONE_COLOUR,
    OTHER_COLOUR,
    WIDTH,
    entitle,
    errors_of,
    shortened,
    tidy,
)
from metascale.evals.report.tables import Calibration, Foretold, Setting
from metascale.evals.statistics import Interval, wilson
from metascale.stats.reliability import CalibrationBin


def reliability(calibration: Calibration | None) -> Figure | None:
    """Rewards as probabilities: the share of right samples and the number of samples in each bin of reward."""
    if calibration is None:
        return None
    area = "not defined" if calibration.auc is None else f"{calibration.auc:.2f}"
    what = f"Calibration of the reward (ECE {calibration.error:.2f}, AUC {area})"
    filled = [one for one in calibration.bins if one.count]
    intervals = [wilson(round(one.accuracy * one.count), one.count) for one in filled]
    return _calibration(what, calibration.setting, filled, intervals, said="Reward", held="Samples", colour=ONE_COLOUR)


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
        colour=OTHER_COLOUR,
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
    entitle(figure, what, setting)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    shares = [one.accuracy for one in bins]
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfect calibration")
    upper.errorbar(
        [one.mean_confidence for one in bins],
        shares,
        yerr=errors_of(shares, intervals),
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
        tidy(axes)
    return figure
