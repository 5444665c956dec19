"""What a model composed, counted from the rows that ship."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.compositions import main

TOP = Path(__file__).parents[1]
RESULTS = TOP / "benchmarks/results"


def counts(capsys: pytest.CaptureFixture[str], *files: str) -> list[list[str]]:
    assert main(files) == 0
    return [line.strip("| ").split(" | ")[1:] for line in capsys.readouterr().out.splitlines()[2:]]


def test_the_page_shows_what_the_rows_say(capsys: pytest.CaptureFixture[str]) -> None:
    page = (TOP / "docs/reference/real-model.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| \w+ \| before \| today \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    for table, name in zip(tables, ("compositions", "evolutions"), strict=True):
        shown = [line.strip("| ").split(" | ")[1:] for line in table.splitlines()]
        before, today = counts(capsys, str(RESULTS / f"{name}_before.jsonl"), str(RESULTS / f"{name}.jsonl"))
        made = [list(pair) for pair in zip(before, today, strict=True)]
        assert shown == [*made[:6], made[7]], "all but the requests"


def test_names_and_numbers_of_the_task_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The question begins: If Marcy works for the same company for 40 years."""
    thoughts = [
        {"origin": "self_composed", "mindset": "You are a friend of Marcy.", "strategy": "Divide by 40."},
        {"origin": "self_composed", "mindset": "You are a runner.", "strategy": "Multiply what is given."},
        {"origin": "builtin", "mindset": "Marcy", "strategy": "40"},
        {"origin": "evolved", "mindset": "Think of Marcy.", "strategy": "Add what is given."},
    ]
    row = {"question_id": "gsm8k-test/62", "meta_thoughts": thoughts, "calls": 2, "tokens": 90}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (found,) = counts(capsys, str(path))
    assert found == ["1", "3.0", "3.0", "67 %", "67 %", "33 %", "2.0", "90"]


def test_a_file_of_another_form_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question_id": "q1", "meta_thoughts": [], "calls": 1, "tokens": 1}\n', encoding="utf-8")
    assert main([str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
