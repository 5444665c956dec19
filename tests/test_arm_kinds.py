"""What answers are worth by where their meta-thought came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.arm_kinds import main
from benchmarks.table import keep
from metascale.evals.report.records import AnswerGiven, SampleRecord
from metascale.records import MetaThought, Origin

TOP = Path(__file__).parents[1]


def thought(name: str, origin: Origin) -> MetaThought:
    return {"id": name, "mindset": "", "strategy": name, "origin": origin, "parents": [], "generation": 0}


POOL = [thought("chain_of_thought", "fixed"), thought("m1", "self_composed"), thought("m2", "evolved")]


def run(question: str, rights: dict[str, list[bool | None]], pool: list[MetaThought]) -> AnswerGiven:
    drawn = [(name, right) for name, found in rights.items() for right in found]
    return AnswerGiven(
        task="recorded",
        method="metascale",
        budget=len(drawn),
        model="small",
        simulated=False,
        question_id=question,
        epoch=1,
        score=1.0,
        usage=None,
        reward=None,
        winner=0,
        pool=pool,
        samples=[SampleRecord(i, 1, name, "ok", None, right, "4", 9, 9) for i, (name, right) in enumerate(drawn)],
    )


def rows(printed: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()[2:]]
    return {name.strip("`"): cells for name, *cells in lines}


def test_every_question_counts_once_and_kinds_are_compared_on_common_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kept.jsonl.gz"
    keep(
        [
            run("q1", {"chain_of_thought": [True, True, True, False], "m1": [False, None]}, POOL),
            run("q2", {"chain_of_thought": [False], "m1": [True], "m2": [True]}, POOL),
            run("q3", {"m2": [False]}, POOL),
            run("q4", {"chain_of_thought": [True]}, []),
        ],
        file,
    )
    assert main([str(file)]) == 0
    found = rows(capsys.readouterr().out)
    assert {name: cells[:2] for name, cells in found.items()} == {
        "chain_of_thought": ["5", "2"],
        "self_composed": ["2", "2"],
        "evolved": ["2", "2"],
    }
    assert {name: cells[2].partition(" ")[0] for name, cells in found.items()} == {
        "chain_of_thought": "37.5",
        "self_composed": "50.0",
        "evolved": "50.0",
    }
    assert found["chain_of_thought"][3] == "–"
    assert found["self_composed"][3].startswith("+12.5 (-75.0 to +100.0) =")
    assert found["evolved"][3].startswith("+100.0")


def test_the_page_shows_what_the_results_say(capsys: pytest.CaptureFixture[str]) -> None:
    page = (TOP / "docs/reference/real-model.md").read_text(encoding="utf-8")
    assert main([str(TOP / "benchmarks/results/gsm8k_qwen15_live.jsonl.gz")]) == 0
    assert capsys.readouterr().out in page


def test_results_without_pools_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "kept.jsonl.gz"
    keep([run("q1", {"chain_of_thought": [True]}, []), run("q2", {"chain_of_thought": [None]}, POOL)], file)
    assert main([str(file)]) == 1
    assert capsys.readouterr().err == "no run kept its pool and samples that are known to be right or wrong\n"
    assert main([str(tmp_path / "none.jsonl")]) == 1
