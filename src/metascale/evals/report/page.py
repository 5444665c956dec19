"""The report of an evaluation: a self-contained page, its figures as files, and its contents as JSON."""

from __future__ import annotations

import base64
import io
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

import matplotlib as mpl
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from metascale.evals.report import figures, tables
from metascale.evals.report.as_json import as_json
from metascale.evals.report.contents import Report, TaskPart, contents
from metascale.evals.report.excerpts import excerpt, longest_shown
from metascale.evals.report.figures import Look
from metascale.evals.report.formats import FILTERS
from metascale.evals.report.records import AnswerGiven
from metascale.evals.report.tables import Setting
from metascale.evals.statistics import SIGNIFICANCE

DOTS_PER_INCH = 150
ROOM = 6_000_000
"""The most characters of questions and answers on a page. With its markup, a page of this size opens in seconds."""


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


def write_report(
    answers: Sequence[AnswerGiven], out: Path, *, most_missing: float = tables.MOST_MISSING, with_json: bool = False
) -> Path:
    """Write `out/report.html`, and every figure of it as PNG and SVG to `out/figures`.

    The same answers give the same files. Existing files of these names are replaced; others are kept.

    Args:
        answers: of any tasks, models, methods and budgets, at least one.
        out: a directory; created if missing.
        most_missing: the largest share, in [0, 1], of a method's runs without a scored answer for a verdict on it.
        with_json: also write the contents of the page to `out/report.json`, with all texts at full length.

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
    report = contents(answers, most_missing=most_missing)
    page = out / "report.html"
    _write(page, _page(report, _pictures(report, folder), most_missing))
    if with_json:
        _write(out / "report.json", json.dumps(as_json(report), ensure_ascii=False, allow_nan=False))
    return page


def slug(text: str) -> str:
    """A safe part of a file name: at most 40 of a to z, 0 to 9 and hyphens, never empty."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")[:40].strip("-") or "unnamed"


def _write(path: Path, text: str) -> None:
    """Write a text; halves of surrogate pairs, which models may give and UTF-8 cannot hold, become question marks."""
    path.write_text(text, encoding="utf-8", errors="replace")


def _page(report: Report, pictures: Mapping[Setting, Mapping[str, Sequence[Picture]]], most_missing: float) -> str:
    shown = longest_shown(_texts(report), ROOM)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {**FILTERS, "excerpt": partial(excerpt, at_most=shown)}
    source = files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    environment.tests["ours"] = tables.is_ours
    return environment.from_string(source).render(
        report=report,
        pictures=pictures,
        shown=shown,
        is_shortened=any(len(text) > shown for text in _texts(report)),
        features=tables.STYLE_FEATURES,
        ours=tables.OURS,
        near=tables.NEAR,
        significance=SIGNIFICANCE,
        most_missing=most_missing,
    )


def _texts(report: Report) -> Iterator[str]:
    """Every question and answer."""
    for model in report.models:
        for part in model.tasks:
            for question in part.outcomes.questions:
                yield question.text
                yield from (reply.text for replies in question.replies for reply in replies)


def _pictures(report: Report, folder: Path) -> dict[Setting, dict[str, list[Picture]]]:
    """The figures of each task and model, by the part of its section that they belong to; also written to a folder."""
    parts = [part for model in report.models for part in model.tasks]
    looks = figures.looks_of(row.method for part in parts for row in part.rows)
    used: set[str] = set()
    pictures: dict[Setting, dict[str, list[Picture]]] = {}
    for part in parts:
        of_part = pictures.setdefault(part.setting, {})
        for place, name, text, figure in _drawn(part, looks):
            picture = _saved(figure, _unused(_stem(part.setting, name), used), text, folder)
            of_part.setdefault(place, []).append(picture)
    return pictures


def _drawn(part: TaskPart, looks: Mapping[str, Look]) -> Iterator[tuple[str, str, str, Figure]]:
    """The part of the section, a name, a caption and the figure, for each available figure."""
    drawings: list[tuple[str, str, str, Figure | None]] = [
        ("scores", "scores", "Score of every method and budget.", figures.headline(part.rows, looks))
    ]
    drawings += [
        (
            "scores",
            cost.name,
            f"Score against {cost.name}, one line per method; points of equal cost stand side by side.",
            figures.against(cost, part.rows, looks),
        )
        for cost in figures.COSTS
    ]
    drawings.append(
        ("scores", "quality", "Score against budget, one line per method.", figures.quality(part.rows, looks))
    )
    drawings += [
        ("arms", f"arms-{slug(method)}", f"Which arms {method} pulled, and what they earned.", figures.arms(kinds))
        for method, kinds in tables.grouped(part.arms, lambda kind: kind.method).items()
    ]
    drawings += [
        (
            "arms",
            "family",
            "The run with most generations: its evolved meta-thoughts and their ancestors.",
            figures.family(part.exemplar),
        ),
        ("regret", "regret", "Mean cumulative regret, one line per method.", figures.regret(part.regret, looks)),
        (
            "regret",
            "progress",
            "The expected rise of the highest reward from one more sample, after each round.",
            figures.progress(part.progress, looks),
        ),
        (
            "calibration",
            "calibration",
            "Rewards as probabilities of being right.",
            figures.reliability(part.calibration),
        ),
    ]
    drawings += [
        (
            "foresight",
            f"foresight-{slug(one.method)}",
            f"Predictions of {one.method} against outcomes.",
            figures.foresight(one),
        )
        for one in part.foretold
    ]
    return ((place, name, text, figure) for place, name, text, figure in drawings if figure is not None)


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
    figure.set_layout_engine("none")  # keeps the layout of the first drawing, which takes as long as drawing
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(folder / f"{name}.svg", format="svg", metadata={"Date": None, "Creator": None})
    width = round(96 * figure.get_figwidth())
    return Picture(name, base64.b64encode(buffer.getvalue()).decode(), width, text)
