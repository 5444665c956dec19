"""The table of methods: made from results, printed in pages, and made again from what the repository keeps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.table import AT_AS_MANY, HEAD, SIMULATION, MixedResultsError, keep, main, read, table, wrong_lines
from metascale.answers import extract
from metascale.errors import UnknownNameError
from metascale.evals.report.labels import method_label
from metascale.evals.report.records import AnswerGiven, SampleRecord

TOP = Path(__file__).parent.parent
PAGES = sorted([TOP / "README.md", *(TOP / "docs").rglob("*.md")])


def answer(method: str, budget: int, question: int, score: float | None, calls: int, **other: Any) -> AnswerGiven:
    usage: Any = {
        "samples": budget,
        "calls": calls,
        "input_tokens": 1000 * calls,
        "cached_input_tokens": 0,
        "output_tokens": 300 * calls,
        "seconds": 1.0,
        "cost_usd": None,
    }
    known: dict[str, Any] = {"task": "gsm8k", "model": "small", "simulated": False, "epoch": 1, "reward": None}
    known |= {"winner": None if score is None else 0, "usage": usage, "problem": None if score is not None else "cut"}
    sample = SampleRecord(0, 1, "chain_of_thought", "ok", None, score == 1, "4", 900, 300)
    chosen = {**known, "samples": [sample], "text": "#### 4", "gold": "4", **other}
    return AnswerGiven(method=method, budget=budget, question_id=f"q{question}", score=score, **chosen)


@pytest.fixture
def answers() -> list[AnswerGiven]:
    return [
        *[answer("direct", 1, q, float(q < 1), 1) for q in range(4)],
        *[answer("self_consistency", 8, q, float(q < 2), 8) for q in range(4)],
        *[answer("self_consistency", 16, q, float(q < 3), 16) for q in range(4)],
        *[answer("metascale", 8, q, None if q == 3 else 1.0, 19) for q in range(4)],
        *[answer("rsa", 8, q, 1.0, 8) for q in range(4)],
    ]


def test_methods_are_compared_with_self_consistency_at_as_many_calls(answers: list[AnswerGiven]) -> None:
    made = table(answers)
    head, rule, *lines = made.splitlines()
    assert f"{head}\n{rule}" == HEAD.format(AT_AS_MANY)
    by_method = {(row[0], row[1]): row for row in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)}
    assert list(by_method) == [
        ("`direct`", "1"),
        ("`metascale`", "8"),
        ("`rsa`", "8"),
        ("`self_consistency`", "8"),
        ("`self_consistency`", "16"),
    ]
    assert by_method["`self_consistency`", "8"][2:] == ["4", "50.0 (15.0 to 85.0)", "8.0", "8,000", "2,400", "–"]
    assert by_method["`metascale`", "8"][2] == "3 of 4"
    assert by_method["`metascale`", "8"][-1] == "+0.0 (+0.0 to +0.0) =, N = 16"
    assert by_method["`rsa`", "8"][-1] == "+50.0 (+0.0 to +100.0) =, N = 8"
    assert by_method["`direct`", "1"][-1].endswith("N = 8")
    assert by_method["`direct`", "1"][-1].startswith("-25.0")


def test_methods_are_compared_with_a_named_one_at_the_same_size(answers: list[AnswerGiven]) -> None:
    lines = table(answers, rival="rsa").splitlines()
    assert "against rsa (95 %)" in lines[0]
    last = {line.split("`")[1] + line.split("|")[2].strip(): line.split("|")[-2].strip() for line in lines[2:]}
    assert last == {
        "direct1": "–",
        "metascale8": "+0.0 (+0.0 to +0.0) =, N = 8",
        "rsa8": "–",
        "self_consistency8": "-50.0 (-100.0 to +0.0) =, N = 8",
        "self_consistency16": "–",
    }
    with pytest.raises(UnknownNameError, match=r"rsaa.*rsa"):
        table(answers, rival="rsaa")


def test_kept_results_make_the_same_table_and_the_same_bytes(answers: list[AnswerGiven], tmp_path: Path) -> None:
    keep(answers, tmp_path / "one.jsonl.gz")
    keep(answers[::-1], tmp_path / "two.jsonl.gz")
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()
    assert table(read([tmp_path / "one.jsonl.gz"])) == table(answers)


def test_methods_are_compared_with_self_consistency_that_was_run_apart(answers: list[AnswerGiven]) -> None:
    apart = [one for one in answers if one.method != "self_consistency"]
    votes = [AnswerGiven(**{**vars(one), "model": "recorded"}) for one in answers if one.method == "self_consistency"]
    together = [line for line in table(answers).splitlines() if "self_consistency`" not in line]
    assert table(apart, votes).splitlines() == together
    assert table(apart).splitlines()[-1].endswith("| – |")
    played = [AnswerGiven(**{**vars(one), "simulated": True}) for one in votes]
    assert table(apart, played).startswith(SIMULATION)
    with pytest.raises(MixedResultsError, match="no self_consistency"):
        table(apart, [one for one in apart if one.method == "rsa"])
    first, second = ([AnswerGiven(**{**vars(one), "question": text}) for one in apart + votes] for text in ("A?", "B?"))
    with pytest.raises(MixedResultsError, match="other questions"):
        table(first[: len(apart)], second[len(apart) :])
    with pytest.raises(MixedResultsError, match="gsm8k, recorded; gsm8k, small"):
        table(apart, [*votes, *answers])


def test_what_all_methods_share_stands_above_the_table(answers: list[AnswerGiven]) -> None:
    shared = {"temperature": "0.7"}
    labelled = {
        "direct": shared,
        "metascale": {**shared, "evolution": "off"},
        "rsa": shared,
        "self_consistency": shared,
    }
    given = [
        AnswerGiven(**{**vars(one), "method": method_label(one.method, changes), "changes": changes})
        for one in answers
        for changes in [labelled[one.method]]
    ]
    above, _, *lines = table(given).splitlines()
    assert above == "All methods: `temperature=0.7`."
    assert [line.split("`")[1] for line in lines[2:4]] == ["direct", "metascale (evolution=off)"]
    assert lines == table(answers).replace("`metascale`", "`metascale (evolution=off)`").splitlines()


def test_a_simulation_says_so(answers: list[AnswerGiven]) -> None:
    played = [AnswerGiven(**{**vars(one), "simulated": True}) for one in answers]
    assert table(played).startswith(SIMULATION)
    assert table(answers).startswith(HEAD.format(AT_AS_MANY))
    with pytest.raises(MixedResultsError, match="gsm8k, small"):
        table([*played, *answers])


@pytest.mark.parametrize("simulated", [False, True])
def test_a_printed_figure_that_differs_is_found(
    answers: list[AnswerGiven],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    simulated: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    played = [AnswerGiven(**{**vars(one), "simulated": simulated}) for one in answers]
    keep(played, tmp_path / "results" / "r.jsonl.gz")
    assert main(["results/r.jsonl.gz"]) == 0
    printed = capsys.readouterr().out
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n<!-- table results/r.jsonl.gz -->\n\n{printed}\nAfter it.\n")
    assert wrong_lines(page, tmp_path) == []
    assert main(["--check", "page.md"]) == 0
    page.write_text(page.read_text().replace("50.0 (15.0", "51.0 (15.0"))
    (wrong,) = wrong_lines(page, tmp_path)
    assert "51.0" in wrong
    assert "50.0" in wrong
    assert main(["--check", "page.md"]) == 1
    page.write_text(page.read_text().replace(printed.splitlines()[-2] + "\n", ""))
    assert len(wrong_lines(page, tmp_path)) == 2
    page.write_text("<!-- table results/r.jsonl.gz -->\n\nNo table.\n")
    assert wrong_lines(page, tmp_path) == ["a marker has no table below it"]


def test_every_table_in_the_documentation_is_made_again_from_the_results() -> None:
    assert [line for page in PAGES for line in wrong_lines(page, TOP)] == []


def test_the_readme_gives_the_live_search_as_its_table_does() -> None:
    results = TOP / "benchmarks" / "results"
    made = table(read([results / "gsm8k_qwen15_live.jsonl.gz"]), read([results / "gsm8k_qwen15.jsonl.gz"]))
    row = r"^\| `metascale \(preset=paper\)` \| 8 \| (\d+) \|.* -([\d.]+) \((\S+) to (\S+)\)"
    (line,) = re.findall(row, made, re.MULTILINE)
    questions, less = (f"{float(figure):.0f}" for figure in line[:2])
    low, high = (f"{float(figure):+.0f}" for figure in line[2:])
    readme = " ".join((TOP / "README.md").read_text(encoding="utf-8").split())
    assert f"[{less} points less](" in readme
    assert f"({low} to {high}, {questions} questions)" in readme


def misjudged(answers: list[AnswerGiven]) -> list[tuple[str, int, str]]:
    """Answers to GSM8K whose score is not what their text says."""
    return [
        (one.method, one.budget, one.question_id)
        for one in answers
        if one.task == "gsm8k" and one.score is not None
        if one.score != float(extract(one.text, "number") == extract(one.gold, "number"))
    ]


def test_kept_answers_are_as_right_as_their_texts_say(answers: list[AnswerGiven]) -> None:
    assert misjudged(answers)[:3] == [("direct", 1, "q1"), ("direct", 1, "q2"), ("direct", 1, "q3")]
    for path in (TOP / "benchmarks" / "results").glob("*.jsonl.gz"):
        assert misjudged(read([path])) == [], path
