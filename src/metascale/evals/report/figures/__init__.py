"""The figures of a report, from the rows of one task and model.

They use matplotlib's objects, never its global state. Each function returns None if there is nothing to draw.
"""

from metascale.evals.report.figures.calibration import foresight, reliability
from metascale.evals.report.figures.lineage import family
from metascale.evals.report.figures.looks import Look, looks_of
from metascale.evals.report.figures.scores import COSTS, Cost, against, headline, quality
from metascale.evals.report.figures.search import arms, progress, regret

__all__ = [
    "COSTS",
    "Cost",
    "Look",
    "against",
    "arms",
    "family",
    "foresight",
    "headline",
    "looks_of",
    "progress",
    "quality",
    "regret",
    "reliability",
]
