"""The report of an evaluation: a self-contained page, and its figures as files."""

from __future__ import annotations

import base64
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import matplotlib as mpl
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from metascale.evals.report import figures, tables
from metascale.evals.report.records import AnswerGiven
from metascale.evals.report.tables import (
    Arena,
    ArmKind,
    Calibration,
    Curve,
    Foretold,
    MethodComparison,
    PaperTable,
    Row,
    Savings,
    Setting,
)
from metascale.evals.statistics import Interval

DOTS_PER_INCH = 150
NOTHING = "–"
"""Shown for an unknown number."""


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        name: name of its files, without the suffix.
        png: the image as base64.
        width: width on the page in CSS pixels (96 per inch), which gives all figures one font size.
        text: its caption.
    """

    name: str
    png: str
    width: int
    text: str


@dataclass(frozen=True)
class TaskPart:
    """The page's section on one task and model; empty lists for missing parts."""

    setting: Setting
    rows: list[Row]
    comparisons: list[MethodComparison]
    arms: list[ArmKind]
    regret: list[Curve]
    progress: list[Curve]
    calibration: Calibration | None
    foretold: list[Foretold]
    savings: list[Savings]
    arena: Arena | None
    pictures: list[Picture]


@dataclass(frozen=True)
class ModelPart:
    """The page's section on one model."""

    overview: PaperTable
    tasks: list[TaskPart]


def write_report(answers: Sequence[AnswerGiven], out: Path, *, most_missing: float = tables.MOST_MISSING) -> Path:
    """Write `out/report.html`, and every figure of it as PNG and SVG to `out/figures`.

    The same answers give the same files. Existing files of these names are replaced; others are kept.

    Args:
        answers: of any tasks, models, methods and budgets, at least one.
        out: a directory; created if missing.
        most_missing: the largest share, in [0, 1], of a method's runs without a scored answer for a verdict on it.

    Returns:
        The path of the page.

    Raises:
        ValueError: there are no answers.
        OSError: the directory cannot be written to.
    """
    if not answers:
        raise ValueError("there are no answers to report")
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    page = out / "report.html"
    page.write_text(_page(answers, _model_parts(answers, folder, most_missing)), encoding="utf-8")
    return page


def slug(text: str) -> str:
    """A safe part of a file name: at most 40 of a to z, 0 to 9 and hyphens, never empty."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")[:40].strip("-") or "unnamed"


def _page(answers: Sequence[AnswerGiven], parts: Sequence[ModelPart]) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "percent": _percent,
        "points": _points,
        "span": _span,
        "points_span": _points_span,
        "numbers_span": _numbers_span,
        "number": _number,
        "hundredths": _hundredths,
        "dollars": _dollars,
        "chance": _chance,
    }
    source = files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        models=parts,
        answers=sum(answer.outcome == "answered" for answer in answers),
        questions=len({(answer.task, answer.question_id) for answer in answers}),
        any_simulated=any(answer.simulated for answer in answers),
        features=tables.STYLE_FEATURES,
        ours=tables.OURS,
        near=tables.NEAR,
    )


def _model_parts(answers: Sequence[AnswerGiven], folder: Path, most_missing: float) -> list[ModelPart]:
    comparisons, arms = tables.comparisons(answers, most_missing=most_missing), tables.pulls(answers)
    regret, progress = tables.regret(answers), tables.progress(answers)
    foretold, savings = tables.foretold(answers), tables.savings(answers)
    calibrations = {one.setting: one for one in tables.calibration(answers)}
    arenas = {one.setting: one for one in tables.arena(answers)}
    used: set[str] = set()
    tasks = []
    for setting, rows in tables.grouped(tables.summary(answers), lambda row: row.setting).items():
        part = TaskPart(
            setting=setting,
            rows=rows,
            comparisons=[one for one in comparisons if one.setting == setting],
            arms=[one for one in arms if one.setting == setting],
            regret=[one for one in regret if one.setting == setting],
            progress=[one for one in progress if one.setting == setting],
            calibration=calibrations.get(setting),
            foretold=[one for one in foretold if one.setting == setting],
            savings=[one for one in savings if one.setting == setting],
            arena=arenas.get(setting),
            pictures=[],
        )
        run = tables.exemplary_run([answer for answer in answers if tables.setting_of(answer) == setting])
        for what, text, figure in _drawn(part, run):
            part.pictures.append(_saved(figure, _unused(_stem(setting, what), used), text, folder))
        tasks.append(part)
    overviews = {(table.simulated, table.model): table for table in tables.paper_table(answers)}
    by_model = tables.grouped(tasks, lambda part: (part.setting.simulated, part.setting.model))
    return [ModelPart(overviews[model], of_model) for model, of_model in by_model.items()]


def _drawn(part: TaskPart, run: AnswerGiven | None) -> Iterator[tuple[str, str, Figure]]:
    """A name, a caption and the figure, for each available figure."""
    drawings: list[tuple[str, str, Figure | None]] = [
        ("quality", "Score against budget, one line per method.", figures.quality(part.rows)),
        ("cost", "Score against model requests, one line per method.", figures.cost(part.rows)),
    ]
    drawings += [
        (f"arms-{slug(method)}", f"Which arms {method} pulled, and what they earned.", figures.arms(kinds))
        for method, kinds in tables.grouped(part.arms, lambda kind: kind.method).items()
    ]
    drawings += [
        (
            "family",
            "The run with most generations: its evolved meta-thoughts and their ancestors.",
            figures.family(run),
        ),
        ("regret", "Mean cumulative regret, one line per method.", figures.regret(part.regret)),
        (
            "progress",
            "The expected rise of the highest reward from one more sample, after each round.",
            figures.progress(part.progress),
        ),
        ("calibration", "Rewards as probabilities of being right.", figures.reliability(part.calibration)),
    ]
    drawings += [
        (f"foresight-{slug(one.method)}", f"Predictions of {one.method} against outcomes.", figures.foresight(one))
        for one in part.foretold
    ]
    return ((name, text, figure) for name, text, figure in drawings if figure is not None)


def _stem(setting: Setting, what: str) -> str:
    simulation = ["simulation"] if setting.simulated else []
    return "-".join([slug(setting.task), slug(setting.model), *simulation, what])


def _unused(name: str, used: set[str]) -> str:
    """The name, numbered if another figure has it already; it is added to the used ones."""
    number, free = 1, name
    while free in used:
        number += 1
        free = f"{name}-{number}"
    used.add(free)
    return free


def _saved(figure: Figure, name: str, text: str, folder: Path) -> Picture:
    """Write both files without a date, so that they depend only on the figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    (folder / f"{name}.png").write_bytes(buffer.getvalue())
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(folder / f"{name}.svg", format="svg", metadata={"Date": None, "Creator": None})
    width = round(96 * figure.get_figwidth())
    return Picture(name, base64.b64encode(buffer.getvalue()).decode(), width, text)


def _signed(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")


def _percent(share: float | None) -> str:
    return NOTHING if share is None else _signed(100 * share)


def _points(difference: float) -> str:
    return f"+{100 * difference:.1f}" if difference > 0 else _percent(difference)


def _span(interval: Interval | None) -> str:
    return NOTHING if interval is None else f"[{_percent(interval.low)}, {_percent(interval.high)}]"


def _points_span(interval: Interval) -> str:
    return f"[{_points(interval.low)}, {_points(interval.high)}]"


def _numbers_span(interval: Interval) -> str:
    return f"[{_number(interval.low)}, {_number(interval.high)}]"


def _number(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}".replace("-", "−")


def _hundredths(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}".replace("-", "−")


def _dollars(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "<0.0001" if 0 < value < 0.0001 else f"{value:,.4f}"


def _chance(p: float | None) -> str:
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"
