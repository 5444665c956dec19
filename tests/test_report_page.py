"""The page of a report and its JSON file: what a reader sees, finds and opens."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import choice
from matplotlib.colors import to_rgb
from typer.testing import CliRunner

import metascale
from docs.hooks import expanded
from metascale.cli.app import app
from metascale.evals.harness.solvers import SOLVERS
from metascale.evals.report import figures, tables
from metascale.evals.report.contents import contents
from metascale.evals.report.excerpts import SHORTEST, excerpt, longest_shown
from metascale.evals.report.logs import read_logs
from metascale.evals.report.page import write_report
from metascale.evals.report.records import AnswerGiven, Battle, SampleRecord, Source
from metascale.graphs import METHODS

DOCUMENTED = Path(__file__).parents[1] / "docs" / "reference" / "report.md"
ABLATIONS = [f"metascale (evolution={name})" for name in ("off", "always", "once")]
SOURCE = Source(
    packages={"inspect_ai": "0.3.1", "metascale": "1.2.3"},
    started="2026-01-31T10:00:00+00:00",
    completed="2026-01-31T12:30:00+01:00",
    epochs=1,
    arguments={"budget": 4, "batch_size": 4, "seed": 7, "judge_model": "openai/judge-x"},
    task_args={"subset": 64},
    model_args={"path": "answers.jsonl"},
    generation={"temperature": 0.5},
    base_url="http://localhost:8000/v1",
)


def sample(number: int, final: str | None, reward: float | None, *, right: bool | None = None) -> SampleRecord:
    return SampleRecord(number, 1, "m1", "ok", reward, right, final, input_tokens=5, output_tokens=10)


def given(question_id: str = "q1", score: float | None = 1.0, **changes: Any) -> AnswerGiven:
    plain = AnswerGiven(
        seed=7,
        task="gsm8k",
        method="best_of_n",
        budget=4,
        model="openai/x",
        simulated=False,
        question_id=question_id,
        epoch=1,
        score=score,
        usage={
            "samples": 4,
            "calls": 9,
            "input_tokens": 4100,
            "cached_input_tokens": 0,
            "output_tokens": 450,
            "seconds": 1.5,
            "cost_usd": 0.0125,
        },
        reward=0.9,
        winner=2,
        samples=[
            sample(0, "17", 0.25, right=False),
            sample(1, "18", 0.75, right=True),
            sample(2, "18", 0.9, right=True),
            sample(3, None, None),
        ],
        question=f"How many dollars has {question_id}?",
        gold="18",
        text=f"She has 18 dollars, in answer to {question_id}.",
        source=SOURCE,
    )
    return replace(plain, **changes)


def failed(question: str, **changes: Any) -> AnswerGiven:
    broken = {"usage": None, "winner": None, "reward": None, "samples": (), "text": "", "problem": "server said 401"}
    return given(question, None, **{**broken, **changes})


class Page(HTMLParser):
    """What a test asks of a page: the text of every element with an id, and the table of outcomes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.order: list[str] = []
        self.targets: dict[str, str] = {}
        self.details: dict[str, int] = {}
        self.cells: list[tuple[str | None, str | None, str]] = []
        self._open: list[tuple[str, str | None]] = []
        self._cell: tuple[str | None, str | None, str] | None = None
        self._grid = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag in {"img", "table", "details"}:
            self.order.append(tag)
        if tag in {"meta", "img"}:
            return
        self._open.append((tag, told.get("id")))
        if told.get("id"):
            self.targets[str(told["id"])] = ""
            self.details[str(told["id"])] = sum(name == "details" for name, _ in self._open)
        self._grid |= told.get("class") == "grid"
        if self._grid and tag == "td":
            self._cell = (told.get("class"), None, "")
        if self._cell and tag == "a":
            self._cell = (self._cell[0], told.get("href"), self._cell[2])

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass
        if tag == "td" and self._cell:
            self.cells.append(self._cell)
            self._cell = None
        if tag == "table":
            self._grid = False

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name:
                self.targets[name] += data
        if self._cell:
            self._cell = (*self._cell[:2], self._cell[2] + data)


def page_of(answers: Sequence[AnswerGiven], folder: Path) -> Page:
    return Page(write_report(answers, folder))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without figures, which take most of the time."""
    monkeypatch.setattr("metascale.evals.report.page._drawn", lambda *_: [])


def grey(colour: str) -> float:
    return float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114)))


def test_all_methods_and_three_ablations_differ_in_colour_and_in_grey() -> None:
    looks = figures.looks_of([*METHODS, *ABLATIONS])
    assert len(looks) >= 11
    for first, second in combinations(looks.values(), 2):
        assert np.linalg.norm(np.subtract(to_rgb(first.colour), to_rgb(second.colour))) > 0.2
        assert (first.marker, first.filled, first.line) != (second.marker, second.filled, second.line)
        assert grey(first.colour) < 0.75  # dark enough on white paper


def test_a_hundred_methods_still_differ_without_colour() -> None:
    looks = figures.looks_of([f"metascale (exploration={number})" for number in range(100)])
    assert len({(look.marker, look.filled, look.line) for look in looks.values()}) == 100


def test_a_method_looks_the_same_in_every_figure_of_a_page() -> None:
    answers = [given(method=method) for method in METHODS] + [given(task="other", method="direct")]
    report = contents(answers)
    looks = figures.looks_of(row.method for model in report.models for part in model.tasks for row in part.rows)
    drawn = [figures.quality(part.rows, looks) for model in report.models for part in model.tasks]
    colours = [
        {text.get_text(): line.get_color() for line, text in zip(legend.get_lines(), legend.get_texts(), strict=True)}
        for figure in drawn
        if figure
        for legend in figure.legends
    ]
    assert len(colours) == 2
    assert colours[0]["direct"] == colours[1]["direct"]


def test_the_first_figure_names_every_row_with_its_score_and_its_failures() -> None:
    answers = [given("q1"), given("q2", 0.0), failed("q3"), given("q1", method="metascale"), failed("q1", budget=9)]
    rows = tables.summary(answers)
    figure = figures.headline(rows, figures.looks_of(row.method for row in rows))
    assert figure
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["best_of_n @ 4", "best_of_n @ 9", "metascale @ 4"]
    said = [text.get_text() for text in axes.texts]
    assert said[0].startswith("50.0")
    assert "1 failed" in said[0]
    assert said[1] == "1 failed"


def test_points_of_equal_cost_do_not_hide_each_other() -> None:
    rows = tables.summary([given(method=method, budget=1) for method in METHODS])
    for cost in figures.COSTS:
        figure = figures.against(cost, rows, figures.looks_of(METHODS))
        assert figure
        figure.draw_without_rendering()
        (axes,) = figure.axes
        places = sorted(
            float(axes.transData.transform((x, 0))[0])
            for line in axes.lines[::3]
            for x in np.atleast_1d(line.get_xdata())
        )
        assert min(np.diff(places)) > 4  # points of 1/72 inch; a marker has 6


def test_a_figure_without_known_dollars_is_left_out() -> None:
    free = given()
    assert free.usage
    rows = tables.summary([replace(free, usage={**free.usage, "cost_usd": None})])
    drawn = {cost.name: figures.against(cost, rows, figures.looks_of(["best_of_n"])) for cost in figures.COSTS}
    assert [name for name, figure in drawn.items() if figure is None] == ["dollars"]


def test_figures_come_before_tables(tmp_path: Path) -> None:
    page = page_of([given(), given(method="metascale")], tmp_path)
    assert page.order[:5] == ["img"] * 5
    assert "table" in page.order


@pytest.mark.usefixtures("undrawn")
def test_every_outcome_opens_its_answer(tmp_path: Path) -> None:
    answers = [
        *[given("q1", method=method, text=f"said by {method}") for method in ("best_of_n", "direct")],
        given("q2", 0.0, text="I think 17."),
        failed("q2", method="direct"),
        given("q10", 0.25),
        failed("q11", problem=None, ended=False),
    ]
    page = page_of(answers, tmp_path)
    shown = [(kind, sign.strip()) for kind, _, sign in page.cells]
    assert shown == [
        ("wrong", "✗"),
        ("failed", "!"),
        ("partly", "25"),
        (None, "–"),
        ("right", "✓"),
        ("right", "✓"),
        ("unanswered", "…"),
        (None, "–"),
    ]
    targets = [link.removeprefix("#") for _, link, _ in page.cells if link]
    assert all(page.details[target] == 1 for target in targets)  # inside a closed <details>, which the link opens
    opened = [page.targets[target] for target in targets]
    assert "I think 17." in opened[0]
    assert "server said 401" in opened[1]
    assert "said by best_of_n" in opened[3]
    assert "said by direct" in opened[4]
    assert "said by best_of_n" not in opened[4]


@pytest.mark.usefixtures("undrawn")
def test_an_answer_shows_its_sample_the_votes_the_rewards_and_the_costs(tmp_path: Path) -> None:
    page = page_of([given()], tmp_path)
    ((_, link, _),) = page.cells
    assert link
    said = " ".join(page.targets[link.removeprefix("#")].split())
    assert "Sample 2 of 4, from m1, reward 0.90" in said
    assert "18 ✓ × 2 (rewards 0.75, 0.90); 17 ✗ × 1 (reward 0.25); no final answer × 1." in said
    assert "9 calls, 4,100 tokens in, 450 out, 1.5 s, 0.0125 US dollars" in said
    question = " ".join(page.targets[link.removeprefix("#").rpartition("r")[0]].split())
    assert "How many dollars has q1?" in question
    assert "Expected answer: 18" in question


@pytest.mark.usefixtures("undrawn")
@pytest.mark.filterwarnings("ignore:The 'initial' parameter is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")
def test_logs_hold_the_texts_and_how_the_answers_were_made(tmp_path: Path) -> None:
    asked = Task(
        dataset=[Sample(id="q1", input="Which is a colour?", choices=["red", "seven"], target="A")], scorer=choice()
    )
    (log,) = inspect_eval(
        asked,
        solver=SOLVERS["best_of_n"](budget=2, seed=3, settings={"temperature": 0.5}),
        model="metascale/simulated",
        model_base_url="http://somebody:password@localhost:1/v1",
        log_dir=str(tmp_path),
        display="none",
    )
    (found,) = read_logs([tmp_path])
    assert log.samples
    assert found.question == "Which is a colour?\n\nA) red\nB) seven"
    assert found.gold == "A"
    assert found.text == log.samples[0].output.completion
    source = found.source
    assert source
    assert source.packages["metascale"] == metascale.__version__
    assert source.started <= source.completed
    assert (source.arguments["temperature"], source.arguments["seed"]) == (0.5, 3)
    assert source.base_url
    assert "password" not in source.base_url
    made = CliRunner().invoke(app, ["report", str(tmp_path), "--out", str(tmp_path / "out"), "--json"])
    assert made.exit_code == 0, made.output
    page, numbers = (Path(line) for line in made.stdout.split())
    assert page.read_text(encoding="utf-8").count("SIMULATION") > 10
    (task,) = json.loads(numbers.read_text(encoding="utf-8"))["tasks"]
    assert task["simulated"]
    assert task["questions"][0]["replies"][0]["text"] == found.text


@pytest.mark.usefixtures("undrawn")
def test_an_answer_of_the_arena_shows_the_judges_verdicts(tmp_path: Path) -> None:
    fought = [Battle("A>B", False, (0.0,) * 4), Battle(None, True, (0.0,) * 4)]
    page = page_of([given(task="arena_hard", score=1.0, gold="", battles=fought)], tmp_path)
    ((_, link, _),) = page.cells
    assert link
    said = page.targets[link.removeprefix("#")]
    assert "Against the baseline (B): A>B (shown first), unreadable (baseline shown first)." in said


@pytest.mark.usefixtures("undrawn")
def test_epochs_of_a_question_stand_in_one_cell(tmp_path: Path) -> None:
    page = page_of([given(epoch=2, score=0.0), given(epoch=1)], tmp_path)
    ((_, link, signs),) = page.cells
    assert signs == "✓✗"
    assert link
    assert "epoch 2" in page.targets[link.removeprefix("#")]


@pytest.mark.usefixtures("undrawn")
def test_the_page_says_how_every_row_was_made_and_when(tmp_path: Path) -> None:
    other = replace(SOURCE, model_args={"path": "others.jsonl"})
    page = write_report([given(), given(method="metascale", source=other, seed=8)], tmp_path)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8")))
    for told in (
        "metascale 1.2.3",
        "2026-01-31 10:00 UTC to 2026-01-31 11:30 UTC",
        "judge openai/judge-x",
        "generation: temperature 0.5",
        "server http://localhost:8000/v1",
        "task: subset 64",
        "method budget seed model: path best_of_n 4 7 answers.jsonl metascale 4 8 others.jsonl",
    ):
        assert told in text


def values_of(told: Any) -> Iterator[tuple[str, Any]]:
    """The keys of all objects in a JSON value with their values."""
    if isinstance(told, dict):
        for key, value in told.items():
            yield key, value
            yield from values_of(value)
    if isinstance(told, list):
        for value in told:
            yield from values_of(value)


def reject(constant: str) -> None:
    raise AssertionError(constant)


@pytest.mark.usefixtures("undrawn")
def test_the_json_file_holds_what_the_page_shows_and_no_nan(tmp_path: Path) -> None:
    long = "so " * 500 + "18"
    answers = [
        given("q1", reward=math.nan, text=long),
        given("q2", 0.0, method="metascale", samples=[sample(0, "1", math.inf)], winner=0),
        failed("q3"),
    ]
    write_report(answers, tmp_path, with_json=True)
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"), parse_constant=reject)
    assert (told["schema"], told["answered"], told["questions"], told["failed"]) == (1, 2, 3, 1)
    assert told["versions"]["metascale"] == ["1.2.3"]
    (task,) = told["tasks"]
    assert (task["task"], task["model"], task["simulated"]) == ("gsm8k", "openai/x", False)
    rows = tables.summary(answers)
    assert [(row["method"], row["score"], row["calls"]) for row in task["rows"]] == [
        (row.method, row.score, row.calls) for row in rows
    ]
    assert rows[0].interval
    assert task["rows"][0]["interval"] == rows[0].interval._asdict()
    assert [made["judge"] for made in task["made"]] == ["openai/judge-x"] * 2
    replies = {question["id"]: question["replies"][0] for question in task["questions"]}
    assert {name: reply["outcome"] for name, reply in replies.items()} == {"q1": "right", "q2": "wrong", "q3": "failed"}
    assert replies["q1"]["text"] == long
    assert replies["q1"]["reward"] is None
    assert replies["q2"]["samples"][0]["reward"] is None
    assert replies["q3"]["problem"] == "server said 401"


@pytest.mark.usefixtures("undrawn")
def test_the_json_file_is_written_on_request_only(tmp_path: Path) -> None:
    write_report([given()], tmp_path)
    assert not (tmp_path / "report.json").exists()


@pytest.mark.usefixtures("undrawn")
def test_every_key_of_the_json_file_is_documented(tmp_path: Path) -> None:
    answers = [given(f"q{number}", float(number % 2), method=method) for number in range(4) for method in METHODS]
    write_report(answers, tmp_path, with_json=True)
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    text = expanded(DOCUMENTED.read_text(encoding="utf-8"))
    documented = set(re.findall(r"`(\w+)`", text))
    made = {key for task in told["tasks"] for row in task.pop("made") for key in row}
    assert {"seed", "judge", "started"} <= made
    named = {key for key, _ in values_of(told)} - set(SOURCE.packages)
    assert len(named) > 60
    assert named <= documented


def test_texts_are_shortened_evenly_until_they_fit() -> None:
    texts = ["a" * 100, "b" * 1000, "c" * 5000]
    assert longest_shown(texts, 10_000) == 5000
    shown = longest_shown(texts, 3000)
    assert shown == 1900
    assert sum(min(len(text), shown) for text in texts) <= 3000
    assert longest_shown(texts, 10) == SHORTEST
    assert longest_shown([], 10) == SHORTEST
    cut = excerpt("first " + "x" * 1000 + " last", 300)
    assert cut.startswith("first x")
    assert cut.endswith("x last")
    assert "711 characters" in cut
    assert excerpt("short", 5) == "short"


@pytest.mark.usefixtures("undrawn")
def test_a_large_page_stays_bounded_and_says_what_it_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metascale.evals.report.page.ROOM", 20_000)
    answers = [given(f"q{number}", text="a word " * 300) for number in range(40)]
    page = write_report(answers, tmp_path).read_text(encoding="utf-8")
    assert page.count("a word") * len("a word ") < 20_000
    assert "are shortened here" in page
    assert "are shortened here" not in write_report(answers[:2], tmp_path).read_text(encoding="utf-8")


@pytest.mark.usefixtures("undrawn")
def test_what_a_model_wrote_is_text_and_nothing_else(tmp_path: Path) -> None:
    hostile = "</div></details><script>alert(1)</script>\ud83d\u202e\x00<img src=x onerror=alert(1)>{{ 7*7 }}"
    answers = [
        given(hostile, text=hostile, question=hostile, gold=hostile, samples=[sample(0, hostile, 0.5)], winner=0),
        failed("q2", problem=hostile),
    ]
    page = page_of(answers, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "{{ 7*7 }}" in text
    assert page.order.count("details") == 2
    assert "img" not in page.order
