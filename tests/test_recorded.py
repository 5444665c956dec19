"""Recorded answers and recorded correctness: served as they were, never invented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from metascale import MetaScaleSettings, ModelSetupError, Score, create_metascale
from metascale.evals.policies.matrix import CorrectnessMatrix
from metascale.graphs import create_best_of_n, create_self_consistency
from metascale.models import RecordDryError, RecordedChatModel, RecordError
from tests.conftest import ask
from tests.recordings import few, whole


def record(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in ({"canary": "…"}, *rows)) + "\n")
    return path


def row(strategy: str, sample: int, text: str, question: str = "How many?") -> dict[str, Any]:
    return {"question": question, "strategy": strategy, "sample": sample, "output_text": text}


@pytest.fixture
def recorded(tmp_path: Path) -> RecordedChatModel:
    rows = [
        row("standard", 1, "The answer is 8."),
        row("standard", 0, "The answer is 7."),
        row("expert", 0, "It is 9."),
    ]
    return RecordedChatModel(path=record(tmp_path / "record.jsonl", *rows))


def test_answers_are_served_in_order_once_and_then_it_is_dry(recorded: RecordedChatModel) -> None:
    question = [HumanMessage("How   many?")]
    assert [recorded.invoke(question).text for _ in range(2)] == ["The answer is 7.", "The answer is 8."]
    with pytest.raises(RecordDryError, match="all 2 answers of strategy 'standard' are served"):
        recorded.invoke(question)
    assert recorded.served == {"standard": 2}
    assert recorded.dry == {"standard": 1}


def test_the_rows_of_recorded_samples_are_served_with_their_tokens_and_ends(tmp_path: Path) -> None:
    one = {"question": "How many?", "arm": "no_strategy", "sample": 0, "text": "So ma", "finish": "length"}
    path = record(tmp_path / "samples.jsonl", {**one, "tokens": 2, "prompt_tokens": 9, "logprobs": [-0.1, -0.4]})
    reply = RecordedChatModel(path=path).invoke("How many?")
    assert reply.text == "So ma"
    assert reply.usage_metadata == {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
    assert reply.response_metadata["finish_reason"] == "length"


@pytest.mark.parametrize(
    "broken",
    [
        {"question": 5},
        {"output_text": None},
        {"yes": 1.2},
        {"logprobs": ["low"]},
        {"logprobs": "many"},
        {"pieces": 7},
        {"sample": "first"},
    ],
)
def test_a_row_of_another_form_is_named_by_its_line(tmp_path: Path, broken: dict[str, Any]) -> None:
    path = record(
        tmp_path / "record.jsonl", row("standard", 0, "It is 7."), {**row("standard", 1, "It is 8."), **broken}
    )
    with pytest.raises(ModelSetupError, match=rf"record.jsonl, line 3: {next(iter(broken))}"):
        RecordedChatModel(path=path)


def test_nothing_is_invented(recorded: RecordedChatModel) -> None:
    with pytest.raises(RecordDryError, match="no answer of strategy 'standard' to this question"):
        recorded.invoke("Another?")
    with pytest.raises(RecordError, match="has no strategy for 'chain_of_thought'"):
        recorded.invoke(
            [
                SystemMessage("Think step by step, and write each step down before you conclude."),
                HumanMessage("How many?"),
            ]
        )
    with pytest.raises(RecordError, match="no answers under such a meta-thought"):
        recorded.invoke([SystemMessage("You are a pirate."), HumanMessage("How many?")])
    with pytest.raises(RecordError, match="cannot serve the prompt 'judge'"):
        recorded.invoke([SystemMessage("You judge one answer. …"), HumanMessage("…")])
    assert not recorded.served


class Likes:
    """A reward that likes one text."""

    def calls(self, new: int, earlier: int = 0) -> int:  # noqa: ARG002
        return 0

    def __init__(self, text: str) -> None:
        self.text = text

    async def score(self, question: str, answers: Any, settings: Any, *, place: Any) -> list[Score]:  # noqa: ARG002
        return [Score(float(self.text in answer)) for answer in answers]


def test_metascale_searches_among_recorded_strategies(recorded: RecordedChatModel) -> None:
    settings = MetaScaleSettings(budget=3, batch_size=3, max_retries=0, max_failures=9, evolve_every=0)
    result = create_metascale(recorded, reward=Likes("9"), settings=settings).invoke(ask("How many?"))["result"]
    assert result["answer"] == "It is 9."
    assert "`expert`" in result["meta_thought"]["strategy"]
    assert recorded.served["expert"] == 1


def test_a_dry_record_ends_the_run_with_what_there_was(recorded: RecordedChatModel) -> None:
    settings = MetaScaleSettings(budget=16, max_retries=0)
    result = create_best_of_n(recorded, reward=Likes("8"), settings=settings).invoke(ask("How many?"))["result"]
    assert result["answer"] == "The answer is 8."
    assert result["stop_reason"] == "failures"
    assert result["usage"]["samples"] == 2
    assert any("run dry" in note for note in result["notes"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no row"),
        ("{\n", "line 1: not JSON"),
        ("[1]\n", "line 1: not a JSON object"),
        ('{"question": "Q", "strategy": "s"}\n', "line 1: the key 'output_text' is missing"),
    ],
)
def test_a_broken_record_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text(text)
    with pytest.raises(ModelSetupError, match=complaint):
        create_self_consistency(f"recorded:{path}")
    with pytest.raises(ModelSetupError, match="cannot read"):
        create_self_consistency(f"recorded:{tmp_path / 'nothing'}")


def matrix(path: Path) -> CorrectnessMatrix:
    rows = [
        {"question_id": "1", "task": "a", "correct": {"x": [1], "y": [0]}},
        {"question_id": "2", "task": "a", "correct": {"x": [1], "y": [1]}},
        {"question_id": "3", "task": "b", "correct": {"x": [0], "y": [1]}},
        {"question_id": "4", "task": "b", "correct": {"x": [0], "y": [0]}},
        {"question_id": "5", "task": "b", "correct": {"x": [None], "y": [1]}},
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return CorrectnessMatrix.load(path)


def test_a_matrix_by_hand(tmp_path: Path) -> None:
    found = matrix(tmp_path / "matrix.jsonl")
    assert found.correct.shape == (5, 2, 1)
    assert found.uniform() == pytest.approx((0.5 + 1 + 0.5 + 0 + 1) / 5)
    assert found.best_single() == ("y", pytest.approx(3 / 5))
    assert found.best_per_question() == pytest.approx(4 / 5)
    assert found.only(["x"]).uniform() == pytest.approx(2 / 4)
    with pytest.raises(KeyError, match="no recorded strategy 'z'"):
        found.only(["z"])


def test_letters_become_marks(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    path.write_text(json.dumps({"question_id": "1", "task": "a", "gold": "C", "answers": {"x": "CA-?", "y": "CC"}}))
    marks = CorrectnessMatrix.load(path).correct[0]
    assert np.array_equal(marks, [[1, 0, 0, np.nan], [1, 1, np.nan, np.nan]], equal_nan=True)
    path.write_text(json.dumps({"question_id": "1", "task": "a"}))
    with pytest.raises(ModelSetupError, match="none of 'correct', 'models', and 'gold' with 'answers'"):
        CorrectnessMatrix.load(path)


@pytest.mark.parametrize(
    ("name", "shape"), [("matrix_metaprompting_gpt4.jsonl", (48, 7, 1)), ("matrix_renze_gpt35.jsonl", (66, 4, 10))]
)
def test_a_few_rows_of_real_matrices_are_read(name: str, shape: tuple[int, ...]) -> None:
    found = CorrectnessMatrix.load(few(name))
    assert found.correct.shape == shape
    per_task = [found.best_per_task(np.random.default_rng(seed)) for seed in range(4)]
    ceiling = found.best_per_question()
    assert found.uniform() < found.best_single()[1] < ceiling
    assert max(per_task) < ceiling
    if shape[2] > 1:
        assert found.uniform() < found.best_per_question(np.random.default_rng(0)) < ceiling


def test_the_best_of_each_task_is_chosen_on_other_questions(tmp_path: Path) -> None:
    path = tmp_path / "matrix.jsonl"
    rows = [{"question_id": str(n), "task": "ab"[n % 2], "correct": {"x": [n % 2], "y": [1 - n % 2]}} for n in range(8)]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = CorrectnessMatrix.load(path)
    assert (found.uniform(), found.best_single()[1]) == (0.5, 0.5)
    assert found.best_per_task(np.random.default_rng(0)) == 1
    odd = [{"question_id": str(n), "task": "a", "correct": {"x": [n], "y": [1 - n]}} for n in range(2)]
    path.write_text("\n".join(map(json.dumps, odd)))
    assert CorrectnessMatrix.load(path).best_per_task(np.random.default_rng(0)) == 0


@pytest.mark.parametrize("name", ["matrix_metaprompting_gpt4.jsonl", "matrix_renze_gpt35.jsonl"])
def test_whole_matrices_rank_the_ways_of_choosing(name: str) -> None:
    """Choosing by kind of task beats the best single strategy, which beats chance; far from the ceiling."""
    found = CorrectnessMatrix.load(whole(name))
    if "metaprompting" in name:
        found = found.only([strategy for strategy in found.strategies if not strategy.endswith("python")])
    per_task = np.mean([found.best_per_task(np.random.default_rng(seed)) for seed in range(40)])
    assert found.uniform() + 0.01 < found.best_single()[1] < per_task - 0.01 < found.best_per_question() - 0.05
    if found.correct.shape[2] > 1:
        assert per_task < found.best_per_question(np.random.default_rng(0)) < found.best_per_question() - 0.03
