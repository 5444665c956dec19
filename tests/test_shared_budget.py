"""One budget over recorded questions: every form is read, and the curves say what sharing brings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from metascale.evals.policies.sharing import Question, SharingError, compare_sharing, read_answers, shared_out
from tests.command_line import invoke
from tests.recordings import FEW


def written(folder: Path, *rows: object) -> Path:
    file = folder / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_answers_are_read_in_every_form(tmp_path: Path) -> None:
    rows = [
        {"question_id": "a", "gold": "B", "answers": ["B", "B.**", None, "c "]},
        {"question_id": "b", "gold": "A", "answers": "AB-?"},
        {"question_id": "c", "gold": "A", "answers": {"direct": "AB", "chain_of_thought": ["A", None]}},
    ]
    assert read_answers(written(tmp_path, {"canary": "x"}, *rows)) == [
        Question(["b", "b", None, "c"], "b"),
        Question(["a", "b", None], "a"),
        Question(["a", "b", "a", None], "a"),
    ]
    samples = [
        {"question_id": "a", "arm": "direct", "gold": "7", "answer": answer} for answer in ("7", "8", None, "7.0", "7")
    ]
    (found,) = read_answers(written(tmp_path, *samples))
    assert [answer == found.gold for answer in found.answers] == [True, False, False, True, True]
    with pytest.raises(SharingError, match="list or a string"):
        read_answers(written(tmp_path, {"question_id": "a", "gold": "A", "answers": 3}))


def test_samples_are_shared_out_to_the_last_and_never_beyond_what_is_recorded() -> None:
    orders = [["a"] * 20, ["a", "b"] * 10, ["a", "b"]]
    for total, counts in zip((6, 12, 60), shared_out(orders, (6, 12, 60)), strict=True):
        assert sum(counts) == min(total, 42)
        assert all(count <= len(order) for count, order in zip(counts, orders, strict=True))
    assert next(shared_out(orders, [12]))[1] > 6


def test_sharing_beats_the_same_for_everybody_where_questions_differ(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    shares = [0.98] * 40 + [0.7] * 20
    rows = [
        {"question_id": str(number), "gold": "A", "answers": list(np.where(generator.random(40) < share, "A", "B"))}
        for number, share in enumerate(shares)
    ]
    found = compare_sharing(written(tmp_path, *rows), repeats=20)
    at = {(point.rule, round(point.samples, 1)): point for point in found.points}
    assert at["shared", 5.3].right > at["uniform", 5.3].right + 0.01
    assert at["shared", 16.0].right >= at["uniform", 16.0].right
    assert at["uniform", 16.0].difference == 0.0
    assert [point.samples for point in found.points if point.rule == "one by one"] == sorted(
        point.samples for point in found.points if point.rule == "one by one"
    )


def test_the_command_reports_the_curves() -> None:
    file = str(FEW / "matrix_renze_gpt35.jsonl")
    done = invoke("bench", "budget", file, "--repeats", "2", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert {point["rule"] for point in found["points"]} == {"shared", "uniform", "one by one"}
    assert (found["reference"], found["questions"] > 20) == (16, True)
    assert "against 16 for everybody" in invoke("bench", "budget", file, "--repeats", "1").stdout
    assert invoke("bench", "budget", file, "--samples", "500").exit_code == 2
