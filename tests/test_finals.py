"""Final answers: the search, the scorer and the report read them alike, and unreadable gold answers are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import CORRECT, Scorer, Target
from inspect_ai.solver import TaskState

from metascale.evals.harness import tasks
from metascale.evals.harness.finals import FinalAnswers, GoldError
from metascale.evals.harness.scorers import final_answer
from metascale.evals.report.logs import read_logs
from tests.inspect_runs import evaluated
from tests.recordings import Place, few, rows_of, whole

UNITS = ["18 dollars a day", "$18 per day", "18", "#### 18 dollars a day", "She makes it daily.\n\n**Answer:** $18/day"]


async def scored(text: str, gold: str, kind: Any = "number", by: Scorer | None = None, **metadata: Any) -> bool:
    state = TaskState(
        model="x",  # type: ignore[arg-type]
        sample_id="q1",
        epoch=1,
        input="?",
        messages=[],
        output=ModelOutput.from_content("x", text),
        metadata=metadata,
    )
    score = await (by or final_answer(kind))(state, Target(gold))
    return score is not None and score.value == CORRECT


@pytest.mark.parametrize("place", [few, whole])
@pytest.mark.parametrize("name", ["extraction_gsm8k_openai.jsonl", "extraction_gsm8k_json.jsonl"])
async def test_the_scorer_the_report_and_the_record_agree_on_real_replies(place: Place, name: str) -> None:
    rows = rows_of(place(name))
    form = FinalAnswers("number")
    for row in rows:
        right = await scored(row["output_text"], str(row["gold"]))
        assert right == form.is_right(row["output_text"], form.golds(str(row["gold"]), row["question_id"]))
        assert right == row["correct"]


@pytest.mark.parametrize("reply", UNITS)
async def test_units_do_not_make_an_answer_wrong(reply: str) -> None:
    assert await scored(reply, "18")
    assert not await scored(reply, "19")


async def test_what_another_model_answers_to_recorded_questions_is_scored_by_the_gold_answer(tmp_path: Path) -> None:
    row = {"question_id": "q1", "question": "?", "text": "It is 7.", "correct": True, "gold": 0}
    path = tmp_path / "record.jsonl"
    path.write_text(json.dumps(row))
    by_record = tasks.recorded(str(path))
    gold, scorer = by_record.dataset[0].target, by_record.scorer
    assert isinstance(gold, str)
    assert scorer is not None
    (by,) = scorer
    assert await scored("It is 7.", gold, by=by)
    assert await scored("So **$0**.", gold, by=by)
    assert not await scored("It is 8.", gold, by=by)
    assert not await scored("", gold, by=by)
    with pytest.raises(GoldError, match="question 'q1': there is none"):
        await scored("It is 8.", "", by=by)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, EvalLog]:
    """Runs on scripted replies, and refused ones."""
    votes = "says('The answer is A', '18 dollars a day', '#### 18', 'The answer is A')"
    runs = {
        "vote": f"asks('18', 'number'), 'self_consistency', {votes}",
        "options": "asks('K', 'choice', metadata={'choices': 12}), 'direct', says('The answer is (K).')",
        "several": "asks(['18', '19'], 'number'), 'direct', says('19 dollars')",
        "refused": "asks('no number', 'number'), 'best_of_n', says('#### 18')",
    }
    folder = tmp_path_factory.mktemp("finals")
    return dict(zip(runs, evaluated(folder, *runs.values()), strict=True))


def written(log: EvalLog) -> Any:
    return read_logs([Path(log.location.removeprefix("file://"))])


def test_the_kind_of_answer_reaches_the_search_of_any_task_with_the_scorer(logs: dict[str, EvalLog]) -> None:
    (answer,) = written(logs["vote"])
    assert answer.score == 1.0
    assert [sample.extracted for sample in answer.samples] == [None, "18", "18", None]
    assert [sample.right for sample in answer.samples] == [False, True, True, False]


@pytest.mark.parametrize("name", ["vote", "options", "several"])
def test_the_chosen_sample_is_right_exactly_where_the_scorer_says_so(logs: dict[str, EvalLog], name: str) -> None:
    (answer,) = written(logs[name])
    chosen = next(sample for sample in answer.samples if sample.id == answer.winner)
    assert (chosen.right, answer.score) == (True, 1.0)


def test_an_unreadable_gold_answer_is_an_error_before_any_request(logs: dict[str, EvalLog]) -> None:
    log = logs["refused"]
    assert log.status == "error"
    assert log.error is not None
    assert "gold answer of question 'q': 'no number' is no number" in log.error.message
    assert log.stats.model_usage == {}


def test_a_task_with_an_unreadable_gold_answer_is_not_built(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"question_id": "q7", "question": "1 + 1?", "gold": "two apples"}))
    with pytest.raises(GoldError, match="question 'q7': 'two apples' is no number"):
        tasks.gsm8k(path=str(path))
    path.write_text(json.dumps({"question_id": "q8", "question": "?", "options": ["a", "b"], "answer": "C"}))
    with pytest.raises(GoldError, match="question 'q8': 'C' is no choice"):
        tasks.mmlu_pro(path=str(path))


ROWS: dict[str, list[dict[str, Any]]] = {
    "gsm8k": [{"question": f"{n} + 1?", "answer": f"So #### {n + 1}"} for n in (1, 2, 3, 1)],
    "mmlu_pro": [{"question_id": n, "question": "?", "options": ["a", "b"], "answer": "A"} for n in (70, 71)],
    "arena_hard": [{"question_id": f"{n}", "turns": [{"content": "Why?"}]} for n in (1, 2)],
}


@pytest.mark.parametrize("name", ROWS)
def test_questions_of_the_hub_have_ids_that_no_order_and_no_subset_changes(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def ids(rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        def read(*_: Any, sample_fields: Any, **__: Any) -> list[Sample]:
            return [sample_fields(row) for row in rows]

        monkeypatch.setattr(tasks, "hf_dataset", read)
        return {str(sample.id): sample.input for sample in getattr(tasks, name)(hub=True, **options).dataset}

    rows = ROWS[name]
    known = ids(rows)
    assert len(known) == len(rows)
    assert set(ids(rows[::-1])) == set(known)
    assert all(name.replace("_", "-") in one for one in known)
    assert set(ids(rows, subset=1, seed=3)) < set(known)
