"""A strategy memory on recorded answers: it learns kinds of question without labels and recovers from wrong entries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from metascale.cli.app import app
from metascale.evals.policies.memory_replay import (
    BEST,
    LIMITED,
    LIMITED_TOLD,
    MEMORY,
    REVERSED,
    TOLD,
    WITHOUT,
    MemoryReplay,
    replay_memory,
)
from metascale.evals.policies.replay import ReplayError
from metascale.memory.embeddings import HashedEmbeddings
from metascale.settings import Price

KINDS = {
    "sums": "What is {0} + {1} times {0}? Give the number.",
    "verses": "Write a verse of {0} lines on the number {1}.",
}


def record(path: Path, *, texts: bool = True, samples: int = 1, questions: int = 100) -> Path:
    """Two kinds of question; of three arms each kind has a good one."""
    rng = np.random.default_rng(0)
    rates = {"sums": (0.9, 0.3, 0.5), "verses": (0.3, 0.9, 0.5)}
    rows = []
    for number in range(questions):
        kind = list(KINDS)[number % 2]
        marks = {f"arm{k}": (rng.random(samples) < rate).astype(int).tolist() for k, rate in enumerate(rates[kind])}
        row = {"question_id": f"q{number}", "task": kind, "correct": marks}
        rows.append(row | ({"question": KINDS[kind].format(number, number * 7)} if texts else {}))
    file = path / "record.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def replayed(file: Path, **changes: object) -> MemoryReplay:
    given: dict[str, object] = {"orders": 2, "reversed_runs": 20} | changes
    return replay_memory(file, HashedEmbeddings(), **given)  # type: ignore[arg-type]


def test_it_learns_the_kinds_from_the_texts_alone(tmp_path: Path) -> None:
    found = replayed(record(tmp_path), orders=8)
    lines = {line.name: line for line in found.lines}
    assert lines[MEMORY].right > lines[WITHOUT].right + 0.12
    assert lines[MEMORY].quarters[-1] > 0.75
    assert found.best_single[1] < 0.7 < found.best_per_kind
    assert lines[TOLD].quarters[-1] > lines[WITHOUT].right + 0.12
    assert lines[TOLD].ahead == 0
    assert found.has_texts


def test_without_texts_it_can_only_find_the_best_single_arm(tmp_path: Path) -> None:
    found = replayed(record(tmp_path, texts=False))
    memory = next(line for line in found.lines if line.name == MEMORY)
    assert memory.quarters[-1] < 0.75
    assert not found.has_texts


def test_a_reversed_memory_is_outlived(tmp_path: Path) -> None:
    found = replayed(record(tmp_path, questions=240), reversed_runs=30)
    lines = {line.name: line for line in found.lines}
    assert lines[REVERSED].quarters[0] < lines[MEMORY].quarters[0]
    assert lines[REVERSED].quarters[-1] > lines[REVERSED].quarters[0] + 0.1
    assert found.lost < 30


@pytest.mark.parametrize("accuracy", [0.8, 1.0])
def test_several_samples_help(tmp_path: Path, accuracy: float) -> None:
    file = record(tmp_path, samples=2, questions=40)
    one, three = (replayed(file, samples=samples, accuracy=accuracy) for samples in (1, 3))
    assert all(more.right >= less.right - 0.03 for less, more in zip(one.lines, three.lines, strict=True))


def test_no_sample_is_drawn_twice(tmp_path: Path) -> None:
    everything = replayed(record(tmp_path, questions=20), samples=50)
    assert len({round(line.right, 6) for line in everything.lines if line.name != BEST}) == 1


def graded(path: Path, questions: int, *, dear: str = "dear") -> Path:
    """Three models on two kinds of question; the dear one is best at both, and the cheap one is as good at sums."""
    rng = np.random.default_rng(1)
    rates = {"sums": (0.9, 0.9, 0.2), "verses": (0.9, 0.3, 0.2)}
    rows = []
    for number in range(questions):
        kind = list(KINDS)[number % 2]
        models = {
            name: {"scores": [float(rng.random() < rate)], "characters": [400]}
            for name, rate in zip((dear, "cheap", "poor"), rates[kind], strict=True)
        }
        text = KINDS[kind].format(number, number * 7)
        rows.append({"question_id": f"q{number}", "task": kind, "question": text, "models": models})
    file = path / "graded.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


PRICES = {name: {"input": 0.0, "output": price} for name, price in (("dear", 10.0), ("cheap", 1.0), ("poor", 1.0))}


def test_a_cost_limit_is_kept_and_spent_where_it_pays(tmp_path: Path) -> None:
    found = replayed(graded(tmp_path, 120), prices={name: Price(**price) for name, price in PRICES.items()}, limit=0.6)
    lines = {line.name: line for line in found.lines}
    limited, best = lines[LIMITED], lines[BEST]
    assert limited.cost is not None
    assert best.cost is not None
    assert limited.cost <= 0.62 * best.cost
    assert limited.right > best.right - 0.12
    assert limited.right > 0.6 * best.right + 0.4 * 0.6
    told = lines[LIMITED_TOLD].cost
    assert told is not None
    assert told <= 0.62 * best.cost


def test_a_limit_holds_where_the_best_arm_lacks_a_sample(tmp_path: Path) -> None:
    file = graded(tmp_path, 60)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[0]["models"]["dear"] = {"scores": [], "characters": []}
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = replayed(file, prices={name: Price(**price) for name, price in PRICES.items()}, limit=1.0)
    lines = {line.name: line for line in found.lines}
    assert lines[LIMITED_TOLD].right > lines[WITHOUT].right + 0.1
    assert found.best_within_limit == pytest.approx(0.9, abs=0.1)


def test_given_prices_come_before_list_prices(tmp_path: Path) -> None:
    prices = {name: Price(**price) for name, price in PRICES.items()} | {"openai_o3-mini": Price(input=0, output=1_000)}
    found = replayed(graded(tmp_path, 20, dear="openai_o3-mini"), prices=prices)
    assert next(line.cost for line in found.lines if line.name == BEST) == pytest.approx(20 * 100 * 1_000 / 1e6)


def test_what_the_limit_allows_with_all_rates_and_costs_known(tmp_path: Path) -> None:
    file, prices = graded(tmp_path, 120), {name: Price(**price) for name, price in PRICES.items()}
    allowed = {limit: replayed(file, prices=prices, limit=limit).best_within_limit for limit in (0.1, 0.325, 0.6)}
    assert allowed[0.1] == pytest.approx(0.6, abs=0.07)  # the cheap model for everything
    assert allowed[0.325] == pytest.approx(0.75, abs=0.07)  # the dear one for half of the verses
    assert allowed[0.6] == pytest.approx(0.9, abs=0.07)  # the dear one for all verses
    assert replayed(file).best_within_limit is None


def test_the_command_with_prices(tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps(PRICES))
    file = str(graded(tmp_path, 20))
    shown = metascale(file, "--orders", "2", "--processes", "1", "--prices", str(prices), COLUMNS="300")
    assert shown.exit_code == 0, shown.stderr
    assert LIMITED in shown.stdout
    assert "hidden reasoning only as prices include it" in shown.stdout
    for broken in ("no json", json.dumps({"dear": PRICES["dear"]})):
        prices.write_text(broken)
        assert metascale(file, "--processes", "1", "--prices", str(prices)).exit_code == 2


def test_processes_change_nothing(tmp_path: Path) -> None:
    file = record(tmp_path, questions=10)
    assert replayed(file) == replayed(file, processes=2)


def metascale(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["bench", "memory", *arguments], env=environment)


def test_the_command(tmp_path: Path) -> None:
    file = str(record(tmp_path, questions=20))
    shown = metascale(file, "--orders", "2", "--processes", "1", "--judge-accuracy", "0.8", "--samples", "2")
    assert shown.exit_code == 0, shown.stderr
    assert "SIMULATED judge" in shown.stdout
    told = json.loads(metascale(file, "--orders", "2", "--processes", "1", "--arm", "arm0", "--json").stdout)
    assert told["arms"] == ["arm0"]


def test_the_command_says_where_nothing_is_simulated_and_what_the_record_lacks(tmp_path: Path) -> None:
    file = str(record(tmp_path, texts=False, questions=20))
    shown = metascale(file, "--orders", "2", "--processes", "1", "--judge-accuracy", "1", COLUMNS="300")
    assert "SIMULATED" not in shown.stdout
    assert "feedback reveals correctness" in shown.stdout
    assert "The record has no texts, so all questions look alike to the memory" in shown.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--arm", "arm9"),
        ("--embeddings", "word2vec"),
        ("--orders", "1"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = metascale(str(record(tmp_path, questions=4)), "--processes", "1", *arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.stderr


def test_a_question_that_no_arm_answered_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "record.jsonl"
    file.write_text('{"question_id": "q", "task": "t", "correct": {"a": [], "b": [1]}}\n')
    with pytest.raises(ReplayError, match="no recorded sample under a"):
        replayed(file, arms=["a"])
    with pytest.raises(ReplayError, match="orders"):
        replayed(file, orders=1)
