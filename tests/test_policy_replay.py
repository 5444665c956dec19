"""Policies replayed on recorded correctness."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from metascale.bandits import POLICIES, UCB, Arm, Single
from metascale.cli.app import app
from metascale.errors import ModelSetupError
from metascale.evals.policies.replay import (
    ALWAYS_COT,
    EntrantResult,
    ReplayError,
    draw,
    find_chain_of_thought,
    judged,
    replay,
)


def write(path: Path, *answers: dict[str, str]) -> Path:
    rows = [{"question_id": f"q{i}", "task": "t", "gold": "A", "answers": own} for i, own in enumerate(answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Sixty questions: chain of thought is right 3 times in 10, another arm always, a third hardly ever."""
    rng = np.random.default_rng(0)
    questions = [
        {
            "direct": "".join(rng.choice(list("BC-A"), 10, p=[0.5, 0.3, 0.15, 0.05])),
            "chain_of_thought": "".join(rng.choice(list("AB"), 10, p=[0.3, 0.7])),
            "other": "A" * 10,
        }
        for _ in range(60)
    ]
    return write(tmp_path / "record.jsonl", *questions)


def of(found: Sequence[EntrantResult], name: str, samples: int, accuracy: float) -> EntrantResult:
    return next(f for f in found if (f.name, f.samples, f.judge_accuracy) == (name, samples, accuracy))


@dataclass
class Watching:
    """Draws at random, and remembers what it was shown."""

    shown: list[tuple[int, ...]]

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:
        assert left >= size == 1
        self.shown.append(tuple(arm.pulls for arm in arms))
        return [int(rng.integers(len(arms)))]


@pytest.mark.parametrize("name", POLICIES)
def test_no_sample_is_drawn_twice(name: str) -> None:
    rewards = [[0.9, 0.8], [0.1], [], [0.5, 0.6, 0.7]]
    drawn = draw(POLICIES[name](), rewards, 100, np.random.default_rng(0))
    assert [drawn.count(arm) for arm in range(4)] == [2, 1, 0, 3]


def test_rewards_come_in_the_order_of_the_draws() -> None:
    drawn: list[Arm] = []

    class Second(Watching):
        def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:  # noqa: ARG002
            drawn[:] = arms
            return [1]

    assert draw(Second([]), [[0.1], [0.2, 0.3, 0.4]], 3, np.random.default_rng(0)) == [1, 1, 1]
    assert drawn == [Arm(), Arm(2, (0.2, 0.3))]


def test_an_arm_that_ran_dry_is_not_shown() -> None:
    watching = Watching([])
    draw(watching, [[0.5], [0.5]], 2, np.random.default_rng(0))
    assert watching.shown == [(0, 0), (0,)]


@pytest.mark.parametrize("accuracy", [0.5, 0.6, 0.7, 0.85, 0.99])
def test_a_judge_is_as_accurate_as_stated(accuracy: float) -> None:
    rng, pairs = np.random.default_rng(1), 40_000
    right = judged(np.ones(pairs), rng.standard_normal(pairs), accuracy)
    wrong = judged(np.zeros(pairs), rng.standard_normal(pairs), accuracy)
    assert (right > wrong).mean() == pytest.approx(accuracy, abs=4 * math.sqrt(accuracy * (1 - accuracy) / pairs))
    assert 0 <= wrong.min() <= right.max() <= 1


def test_a_perfect_judge_finds_a_right_answer_if_one_was_drawn(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.jsonl", {"cot": "BBBA", "x": "BB"}, {"cot": "BBBB", "x": "BB"}, {"cot": "BBBB", "x": "AB"}
    )
    found = replay(path, accuracies=[1.0], samples=[4, 6], policies=["ucb", "round_robin"], repeats=3).found
    assert of(found, ALWAYS_COT, 4, 1.0).right == pytest.approx(1 / 3)
    for name in ("ucb", "round_robin"):
        everything = of(found, name, 6, 1.0)
        assert everything.right == pytest.approx(2 / 3)
        assert everything.difference == pytest.approx(1 / 3)


def test_always_chain_of_thought_is_a_policy_that_only_draws_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    path = write(
        tmp_path / "r.jsonl",
        *({"chain_of_thought": "".join(rng.choice(list("AB"), 6)), "direct": "AB"} for _ in range(30)),
    )
    found = replay(path, accuracies=[0.7], samples=[2, 4], policies=["single"], repeats=2).found
    for samples in (2, 4):
        alone = of(found, "single", samples, 0.7)
        assert (alone.difference, alone.low, alone.high, alone.tie) == (0, 0, 0, True)
        assert alone.right == of(found, ALWAYS_COT, samples, 0.7).right


def test_a_policy_finds_the_better_arm(record: Path) -> None:
    result = replay(record, accuracies=[0.85], samples=[8, 16], repeats=2)
    assert (result.questions, result.left_out, result.most_under_cot) == (60, 0, 10)
    assert result.chain_of_thought == "chain_of_thought"
    better = of(result.found, "ucb", 8, 0.85)
    assert better.low > 0
    assert not better.tie
    assert of(result.found, ALWAYS_COT, 16, 0.85).right >= of(result.found, ALWAYS_COT, 8, 0.85).right - 0.1


def test_it_is_repeatable_and_more_processes_change_nothing(record: Path) -> None:
    options = {"accuracies": [0.7], "samples": [4], "policies": ["ucb"], "repeats": 1}
    alone = replay(record, **options)
    assert replay(record, **options, processes=2) == alone
    assert replay(record, **options, seed=1) != alone


def test_what_is_not_recorded_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", {"cot": "A?", "x": "AAA"}, {"cot": "??", "x": "AAA"}, {"cot": "-B", "x": "???"})
    result = replay(path, accuracies=[1.0], samples=[8], policies=["ucb"], repeats=1)
    assert (result.questions, result.left_out, result.most_under_cot) == (2, 1, 2)
    assert of(result.found, "ucb", 8, 1.0).right == 0.5


def test_chain_of_thought_is_found_or_named() -> None:
    assert find_chain_of_thought(["direct", "zero_shot_cot"]) == "zero_shot_cot"
    assert find_chain_of_thought(["direct", "mine"], "mine") == "mine"
    with pytest.raises(ReplayError, match="--cot"):
        find_chain_of_thought(["direct", "mine"])


def test_what_makes_no_sense_is_refused(tmp_path: Path, record: Path) -> None:
    for options in ({"accuracies": [0.4]}, {"samples": [0]}, {"repeats": 0}, {"chain_of_thought": "none"}):
        with pytest.raises(ReplayError):
            replay(record, **options)
    with pytest.raises(ReplayError, match="nothing is recorded"):
        replay(write(tmp_path / "a.jsonl", {"cot": "??", "x": "A"}))
    bad = tmp_path / "b.jsonl"
    for row in (
        '{"question_id": 1, "task": "t", "correct": [1]}',
        '{"question_id": 1, "task": "t", "correct": {"cot": [2]}}',
    ):
        bad.write_text(row + "\n", encoding="utf-8")
        with pytest.raises(ReplayError, match=r"b\.jsonl"):
            replay(bad)
    with pytest.raises(ModelSetupError):
        replay(tmp_path / "none.jsonl")


def test_the_arm_that_single_draws_from_is_the_first_with_samples() -> None:
    assert draw(Single(), [[], [0.5, 0.5]], 2, np.random.default_rng(0)) == [1, 1]
    assert len(draw(UCB(), [[], [0.5]], 2, np.random.default_rng(0))) == 1


def test_the_command(record: Path) -> None:
    small = [str(record), "--policy", "ucb", "--repeats", "1", "--processes", "1", "--judge-accuracy", "0.85"]
    done = CliRunner().invoke(
        app, ["bench", "replay", *small, "--budget", "4", "--budget", "16"], env={"COLUMNS": "200"}
    )
    assert (done.exit_code, done.stderr) == (0, "")
    assert "real answers, SIMULATED judge" in done.stdout
    assert "SIMULATED judge, right 85% of pairs" in done.stdout
    assert "for a larger N always CoT is the best of 10" in done.stdout
    told = json.loads(CliRunner().invoke(app, ["bench", "replay", *small, "--budget", "4", "--json"]).stdout)
    assert told["simulated_judge"] is True
    assert [one["name"] for one in told["found"]] == [ALWAYS_COT, "ucb"]


def test_what_the_command_leaves_out_it_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", {"cot": "AAAA", "x": "AAA"}, {"cot": "????", "x": "AAA"})
    options = ["--policy", "ucb", "--repeats", "1", "--processes", "1", "--judge-accuracy", "1", "--budget", "4"]
    done = CliRunner().invoke(app, ["bench", "replay", str(path), *options], env={"COLUMNS": "200"})
    assert "1 questions have no sample under cot and are left out" in done.stdout
    assert "for a larger N" not in done.stdout


@pytest.mark.parametrize("further", [["--cot", "none"], ["--judge-accuracy", "2"], ["--policy", "ucbb"]])
def test_wrong_usage_of_the_command(record: Path, further: list[str]) -> None:
    done = CliRunner().invoke(app, ["bench", "replay", str(record), "--processes", "1", *further])
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_a_record_that_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "replay", str(tmp_path / "none.jsonl")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "none.jsonl" in done.stderr
