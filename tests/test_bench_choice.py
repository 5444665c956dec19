"""`metascale bench choice`: files of recorded answers, rules of the choice, and weights of judges without labels."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metascale.evals.choice.rows import ChoiceFileError, read_questions
from metascale.evals.choice.rules import EACH, MAJORITY, VOTES
from metascale.evals.choice.trial import Outcome, Trial, try_rules
from metascale.stats.dawid_skene import judge_weights
from tests.command_line import invoke
from tests.recordings import whole

Row = dict[str, Any]


def written(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def simulated(questions: int = 40, answers: int = 12, told: float = 0.4, seed: int = 0) -> list[Row]:
    """Questions of varying difficulty, and a judge whose scores are `told` higher for right answers."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(questions):
        easy = rng.random()
        drawn = [
            "4" if rng.random() < easy else str(5 + int(rng.integers(6))) if rng.random() < 0.9 else None
            for _ in range(answers)
        ]
        scores = [[float(np.clip(rng.normal(0.4 + told * (a == "4"), 0.15), 0, 1)), None] for a in drawn]
        rows.append({"question_id": number, "gold": "4", "answers": drawn, "verdicts": scores})
    return rows


def of(found: Trial, rule: str, n: int) -> Outcome:
    return next(one for one in found.at_samples if (one.rule, one.n) == (rule, n))


def test_answers_are_read_in_canonical_form_and_verdicts_may_be_missing(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"gold": "B", "answers": ["B.**", "(b)", "C", None, "", "[invalidanswer]"], "verdicts": [[1, None], None, []]},
        {
            "gold": "18",
            "answers": ["18.0", "$18", "x + 1", "17"],
            "certainty": [-0.1, None, -1, 0],
            "arms": list("abab"),
        },
        {"gold": r"\frac{1}{2}", "answers": ["1/2", "0.5"], "judges": {"a": [[0.5], [1]], "b": [0.25, None]}},
        {"quality": [0.5, 1], "answers": ["one text", "another"], "judges": [[[0.5], [1]], [[0], [1]]]},
        {"quality": [1, 1, 0], "answers": ["7", "7", "8"]},
    ]
    plain = written(tmp_path / "rows.jsonl", rows)
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        first, second, third, free, counted = read_questions(path)
        assert first.finals == ["B", "B", "C", None, None, None]
        assert first.quality.tolist() == [1, 1, 0, 0, 0, 0]
        assert first.verdicts == {"verdicts": [[1.0], [], [], [], [], []]}
        assert second.quality.tolist() == [1, 1, 0, 0]
        assert second.arms == ["a", "b", "a", "b"]
        assert third.quality.tolist() == [1, 1]
        assert third.verdicts == {"a": [[0.5], [1.0]], "b": [[0.25], []]}
        assert not free.is_comparable
        assert list(free.verdicts) == ["judge 1", "judge 2"]
        assert counted.is_comparable


GOOD: Row = {"gold": "1", "answers": ["1", "2"]}


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("{", "line 2"),
        ("[]", "a row is a JSON object"),
        ({"gold": "1"}, "no 'answers'"),
        ({"gold": "1", "answers": []}, "answers is empty"),
        ({"gold": "1", "answers": "12"}, "answers is no list"),
        ({"gold": "1", "answers": [["1"]]}, "a string or null"),
        ({"answers": ["1"]}, "neither gold nor quality"),
        ({**GOOD, "quality": [1]}, "quality has 1 items for 2 answers"),
        ({**GOOD, "quality": [1, 2]}, r"no number in \[0, 1\]"),
        ({**GOOD, "verdicts": [[0.5], [7]]}, r"verdicts holds 7"),
        ({**GOOD, "verdicts": [[0.5], [float("nan")]]}, r"verdicts holds NaN"),
        ({**GOOD, "verdicts": [[0.5]] * 3}, "verdicts has 3 items for 2 answers"),
        ({**GOOD, "judges": {"a": "x"}}, "a is no list"),
        ({**GOOD, "judges": 3}, "judges is no list"),
        ({**GOOD, "certainty": ["high", 1]}, "certainty"),
        ({**GOOD, "arms": ["a"]}, "arms has 1 items for 2 answers"),
    ],
)
def test_a_bad_row_is_one_error_with_its_line(tmp_path: Path, bad: Row | str, says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{bad if isinstance(bad, str) else json.dumps(bad)}\n", encoding="utf-8")
    with pytest.raises(
        ChoiceFileError, match=rf"rows.jsonl, line 2: .*{says}|line 2: .*" if bad == "{" else says
    ) as raised:
        read_questions(path)
    assert "line 2" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_command_prints_tables_and_json_and_refuses_bad_files(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", simulated(12))
    done = invoke("bench", "choice", str(path), "--n", "4", "--n", "8", "--repeats", "2", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {one["rule"] for one in found["at_samples"]} > {MAJORITY, VOTES, EACH}
    assert {one["n"] for one in found["at_samples"]} == {4, 8}
    assert all(0 <= one["value"] <= 1 for one in found["at_samples"] + found["at_calls"])
    shown = invoke("bench", "choice", str(path), "--n", "4", "--repeats", "1")
    assert "Confidence" in shown.stdout
    path.write_text('{"answers": []}\n', encoding="utf-8")
    refused = invoke("bench", "choice", str(path))
    assert refused.exit_code == 2
    assert "line 1" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_verdicts_that_tell_are_used_and_stopping_saves(tmp_path: Path) -> None:
    found = try_rules(read_questions(written(tmp_path / "rows.jsonl", simulated())), (4, 12), repeats=2)
    assert of(found, EACH, 4).value > of(found, MAJORITY, 4).value + 0.02
    for n in (4, 12):
        assert of(found, VOTES, n).value >= of(found, MAJORITY, n).value - 0.02
        each = of(found, EACH, n)
        assert each.confidence is not None
        assert 0.3 < each.confidence < 0.95
        assert each.calls >= 2 * n
    assert {one.batch for one in found.stopping} == {1, 4}
    for one in found.stopping:
        assert 0 < one.drawn < 1
        assert one.difference > -0.05
    assert all(one.calls <= one.n + 0.5 * (one.rule == EACH) * one.n for one in found.at_calls)


def test_free_texts_are_measured_by_their_quality(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(30):
        quality = rng.uniform(0.2, 0.8, 6)
        scores = [[float(np.clip(one + rng.normal(0, 0.1), 0, 1)) for _ in range(3)] for one in quality]
        rows.append({"answers": [f"text {i}" for i in range(6)], "quality": quality.tolist(), "verdicts": scores})
    found = try_rules(read_questions(written(tmp_path / "rows.jsonl", rows)), (6,), repeats=2)
    assert found.measure == "quality"
    assert found.stopping == []
    each = of(found, EACH, 6)
    assert each.value > of(found, "one sample", 6).value + 0.15
    assert each.confidence == pytest.approx(each.right, abs=0.3)


def test_a_real_judge_of_its_own_answers_on_gpqa() -> None:
    """Llama-3.3-70B: our choice is no worse than any simple rule, its gains are as predicted, its samples fewer."""
    found = try_rules(read_questions(whole("verdicts_gpqa_llama70b.jsonl")), (16,), repeats=5)
    each = of(found, EACH, 16)
    for one in found.at_samples:
        assert each.value >= one.value - 0.005, one.rule
    assert each.value > of(found, MAJORITY, 16).value + 0.01
    assert each.predicted_gain == pytest.approx(each.realised_gain, abs=0.02)
    assert each.predicted_gain_of_verdicts == pytest.approx(each.realised_gain_of_verdicts, abs=0.03)
    assert each.confidence is not None
    assert each.confidence < 0.65
    own = next(one for one in found.stopping if one.batch == 4 and one.rule.startswith("gain"))
    assert own.drawn < 0.6


# --- weights of judges ---------------------------------------------------------------------------------------------


def said(rng: np.random.Generator, right: Any, accuracy: float) -> Any:
    return np.where(rng.random(len(right)) < accuracy, right, 1 - right)


def test_good_judges_weigh_more_than_bad_ones_without_any_label() -> None:
    rng = np.random.default_rng(0)
    right = (rng.random(600) < 0.5).astype(float)
    table = np.stack([said(rng, right, accuracy) for accuracy in (0.9, 0.75, 0.75, 0.5)], axis=1)
    weights = judge_weights(table)
    assert weights[0] > weights[1] > weights[3]
    assert weights[0] > weights[2] > weights[3]
    assert weights[3] < 0.4
    assert weights.mean() == pytest.approx(1)


def test_judges_that_err_alike_share_their_weight() -> None:
    rng = np.random.default_rng(1)
    right = (rng.random(600) < 0.5).astype(float)
    first, second = said(rng, right, 0.8), said(rng, right, 0.8)
    weights = judge_weights(np.stack([first, first, first, second, said(rng, right, 0.8)], axis=1))
    assert weights[:3].max() < 0.7 * weights[3:].min()


@pytest.mark.parametrize("answers", [1, 2, 4, 8])
def test_a_few_answers_leave_the_weights_nearly_equal(answers: int) -> None:
    rng = np.random.default_rng(answers)
    weights = judge_weights((rng.random((answers, 4)) < 0.5).astype(float))
    assert weights.min() > 0.6
    assert weights.max() < 1.5


def test_missing_scores_count_for_nothing() -> None:
    rng = np.random.default_rng(2)
    right = (rng.random(400) < 0.5).astype(float)
    table = np.stack([said(rng, right, a) for a in (0.9, 0.7, 0.7)], axis=1)
    table[rng.random(table.shape) < 0.3] = np.nan
    weights = judge_weights(table)
    assert weights[0] == weights.max()
    assert np.isfinite(judge_weights(np.full((3, 2), np.nan))).all()
