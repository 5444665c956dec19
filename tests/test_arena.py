"""Arena-Hard by its definition: two battles a question, missing verdicts, one baseline answer, and sound intervals."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.scorer import Score

from metascale.evals.report import tables
from metascale.evals.report.logs import read_logs
from metascale.evals.report.records import AnswerGiven, Battle
from metascale.evals.report.style import share_won
from metascale.settings import Price
from tests.conftest import ServerFactory
from tests.openai_server import Fault, OpenAIServer

FIGHT = """
import json, sys
from pathlib import Path
from inspect_ai import eval
from metascale.journal.database import journal_in
from metascale.evals.harness.solvers import SOLVERS
from metascale.evals.harness.tasks import arena_hard

questions, folder, fights = sys.argv[1:]
models = {"baseline_model": "openai-api/local/base", "judge_model": "openai-api/local/judge"}
with journal_in(Path(folder)):
    for method, epochs, options in json.loads(fights):
        eval(arena_hard(path=questions, **models), model="openai-api/local/ours", solver=SOLVERS[method](**options),
             epochs=epochs, log_dir=folder, display="none")
"""
"""Evaluates methods as a benchmark does, with the journal of the folder. Inspect keeps models as long as a process."""
OURS, THEIRS = "An answer of the method.", "An answer of the baseline."
CHEAP, DEAR = Price(input=1.0, output=2.0), Price(input=30.0, output=60.0)


@pytest.mark.parametrize(
    ("verdicts", "share"),
    [
        (["A>B", "B>A"], 0.5),
        (["A>>B", "B>A"], 0.75),
        (["A>B", "B>>A"], 0.25),
        (["A=B", "A>>B"], 3.5 / 4),
        (["A>B", None], 1.0),
        ([None, "B>A"], 0.0),
        ([None, None], None),
    ],
)
def test_a_strong_verdict_counts_three_times_and_an_unread_one_never(verdicts: list[Any], share: float | None) -> None:
    assert share_won(verdicts) == share


def judging(verdicts: Mapping[str, tuple[str, str]]) -> Callable[[str, int, dict[str, Any]], Fault | None]:
    """A server's script: all answer the same. The judge says the first text where our answer comes first."""

    def script(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        said = body["messages"][-1]["content"]
        if kind == "arena_judge":
            ours_first = said.index(OURS) < said.index(THEIRS)
            return Fault(text=next(texts[not ours_first] for about, texts in verdicts.items() if about in said))
        return Fault(text=THEIRS if body["model"] == "base" else OURS) if kind == "solve" else None

    return script


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    rows = [{"question_id": f"q{n}", "prompt": f"Request number {n}: write a poem."} for n in range(4)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def fight(server: OpenAIServer, questions: Path, folder: Path, *fights: tuple[str, int, dict[str, Any]]) -> None:
    """Evaluate methods, each with a number of epochs and options, in a process of their own."""
    command = [sys.executable, "-c", FIGHT, str(questions), str(folder), json.dumps(fights)]
    at = {**os.environ, "LOCAL_BASE_URL": server.url, "LOCAL_API_KEY": "none"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=at)
    assert done.returncode == 0, done.stdout + done.stderr


def logs(folder: Path) -> list[EvalLog]:
    """The logs in a folder in order."""
    return [read_eval_log(str(path)) for path in sorted(folder.glob("*.eval"))]


def paid(server: OpenAIServer) -> Counter[str]:
    """The replies of the baseline and of the arena's judge."""
    return Counter(one.body["model"] for one in server.served if one.body["model"] != "ours")


def scores(log: EvalLog) -> dict[str, Score]:
    """The scores of an evaluation, by question and epoch."""
    return {f"{one.id}/{one.epoch}": score for one in log.samples or [] for score in (one.scores or {}).values()}


def test_unreadable_verdicts_are_missing_and_not_lost(
    start_server: ServerFactory, questions: Path, tmp_path: Path
) -> None:
    said = {
        "number 0": ("[[A>>B]]", "[[A>B]]"),
        "number 1": ("I cannot say.", "[[B>A]]"),
        "number 2": ("No verdict.", "[[A>B]] or [[B>A]]"),
        "number 3": ("[[A=B]]", "[[A=B]]"),
    }
    server = start_server(script=judging(said))
    prices = {"judge": DEAR.model_dump(), "openai/base": CHEAP.model_dump()}
    fight(server, questions, tmp_path, ("direct", 1, {"settings": {"prices": prices}}))
    (log,) = logs(tmp_path)
    values = {question: score.as_float() for question, score in scores(log).items()}
    assert math.isnan(values.pop("q2/1"))
    assert values == {"q0/1": 0.75, "q1/1": 1.0, "q3/1": 0.5}
    assert log.results is not None
    assert log.results.scores[0].metrics["mean"].value == pytest.approx(0.75)

    answers = read_logs([tmp_path])
    ((player,),) = [found.players for found in tables.arena(answers)]
    assert (player.questions, player.missing, player.battles, player.unread) == (3, 1, 5, 3)
    assert player.rate == pytest.approx((3 + 1 + 0.5 + 0.5) / (3 + 1 + 1 + 1 + 1), abs=0.001)
    (row,) = tables.summary(answers)
    assert (row.answered, row.score) == (3, pytest.approx(0.75))

    for role, model, price in (("judge", "judge", DEAR), ("baseline", "base", CHEAP)):
        served = [one for one in server.served if one.body["model"] == model]
        bills = [(score.metadata or {})[f"{role}_bill"] for score in scores(log).values()]
        cost = sum(price.of(one.input_tokens, one.output_tokens) for one in served)
        assert sum(bill["cost_usd"] for bill in bills) == pytest.approx(cost)
        assert sum(bill["calls"] for bill in bills) == len(served)


def test_all_methods_fight_one_answer_and_no_reply_is_paid_for_twice(
    start_server: ServerFactory, questions: Path, tmp_path: Path
) -> None:
    answer, is_down = judging({"Request": ("[[A>B]]", "[[A>B]]")}), [True]

    def script(kind: str, number: int, body: dict[str, Any]) -> Fault | None:
        return Fault(401, "{}") if is_down[0] and body["model"] == "base" else answer(kind, number, body)

    server = start_server(script=script)
    fight(server, questions, tmp_path / "logs", ("direct", 1, {}))
    assert scores(*logs(tmp_path / "logs")) == {}

    is_down[0] = False
    server.served.clear()
    options = {"settings": {"confirm": 0}}
    fights = [("direct", 2, {}), ("best_of_n", 1, {"budget": 2, **options}), ("best_of_n", 1, {"budget": 3, **options})]
    fight(server, questions, tmp_path / "logs", *fights)
    assert paid(server) == {"base": 4, "judge": 8}
    found = [score.metadata or {} for log in logs(tmp_path / "logs") for score in scores(log).values()]
    assert [one["baseline"] for one in found] == [{"model": "openai-api/local/base", "answer": THEIRS}] * 16
    assert {one["judge"] for one in found} == {"openai-api/local/judge"}
    assert {battle["judgement"] for one in found for battle in one["battles"]} == {"[[A>B]]"}

    fight(server, questions, tmp_path / "logs", ("direct", 1, {}))
    assert paid(server) == {"base": 4, "judge": 8}
    assert {score.value for score in scores(logs(tmp_path / "logs")[-1]).values()} == {0.5}


def won(verdicts: Sequence[Any], method: str = "metascale") -> list[AnswerGiven]:
    """One answer a question, with the same verdict in both orders."""
    nothing: dict[str, Any] = {"score": 1.0, "usage": None, "reward": None, "winner": None}
    who = {"task": "arena_hard", "method": method, "budget": 4, "model": "m", "simulated": False}
    return [
        AnswerGiven(
            **who,
            **nothing,
            question_id=f"q{number}",
            epoch=1,
            battles=[Battle(verdict, swapped, (0.0,) * 4) for swapped in (False, True)],
        )
        for number, verdict in enumerate(verdicts)
    ]


@pytest.mark.parametrize("verdict", ["A>B", "A>>B"])
def test_thirty_questions_won_are_no_certainty(verdict: str) -> None:
    ((player,),) = [found.players for found in tables.arena(won([verdict] * 30))]
    for rate, interval in ((player.rate, player.interval), (player.styled_rate, player.styled_interval)):
        assert rate == pytest.approx(1, abs=0.001)
        assert 0.88 < interval.low < 0.95
        assert interval.high > 0.999
    ((lost,),) = [found.players for found in tables.arena(won(["B>A"] * 30))]
    assert 0.05 < lost.interval.high < 0.12


def test_both_battles_of_a_question_count_as_one_observation() -> None:
    ((player,),) = [found.players for found in tables.arena(won(["A>B", "B>A"] * 20))]
    assert player.rate == pytest.approx(0.5, abs=0.001)
    assert player.interval.high - player.interval.low == pytest.approx(2 * 1.96 * (0.25 / 40) ** 0.5, rel=0.15)
