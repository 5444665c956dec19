"""The numbers of a report: pure functions from answers to rows.

Every row belongs to one task and one model, and is either real or simulated. Rows never average over these, so
simulated numbers cannot mix with real ones. Scores are over answered questions: runs that failed or have not ended are
counted beside them.
"""

from metascale.evals.report.tables.arena_hard import ARENA, BASELINE, STYLE_FEATURES, Arena, Player, arena
from metascale.evals.report.tables.arms import ArmKind, arm_rewards, exemplary_run, pulls
from metascale.evals.report.tables.cells import OURS, SEED, Setting, base_of, grouped, is_ours, method_order, setting_of
from metascale.evals.report.tables.comparisons import MOST_MISSING, NEAR, MethodComparison, Verdict, comparisons
from metascale.evals.report.tables.curves import CURVE_RESAMPLES, Curve, cumulative_regret, progress, regret
from metascale.evals.report.tables.favour import Favour, favours
from metascale.evals.report.tables.foresight import Foretold, Savings, foretold, savings
from metascale.evals.report.tables.reliability import Calibration, calibration
from metascale.evals.report.tables.rows import PaperTable, Row, paper_table, summary

__all__ = [
    "ARENA",
    "BASELINE",
    "CURVE_RESAMPLES",
    "MOST_MISSING",
    "NEAR",
    "OURS",
    "SEED",
    "STYLE_FEATURES",
    "Arena",
    "ArmKind",
    "Calibration",
    "Curve",
    "Favour",
    "Foretold",
    "MethodComparison",
    "PaperTable",
    "Player",
    "Row",
    "Savings",
    "Setting",
    "Verdict",
    "arena",
    "arm_rewards",
    "base_of",
    "calibration",
    "comparisons",
    "cumulative_regret",
    "exemplary_run",
    "favours",
    "foretold",
    "grouped",
    "is_ours",
    "method_order",
    "paper_table",
    "progress",
    "pulls",
    "regret",
    "savings",
    "setting_of",
    "summary",
]
