"""Files of questions: each is answered once, on one budget, whatever stops it."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from metascale import MetaScaleSettings, SettingError
from metascale.batches import Answer, Progress, QuestionsError, abatch, batch, read_questions
from metascale.budget.shared import expected_gain
from metascale.cli.batch import ProgressLines
from metascale.data import gsm8k
from metascale.settings import Price
from tests.command_line import invoke
from tests.conftest import ServerFactory, chat_model
from tests.openai_server import Fault, OpenAIServer
from tests.scripted import ScriptedModel, sensible
from tests.waiting import wait_until

QUESTIONS = [row["question"] for row in gsm8k()[:8]]
PRICE = Price(input=100.0, output=400.0)
FAST = MetaScaleSettings(pool_size=3, confirm=0, seed=1, prices={"loopback": PRICE})


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("q.jsonl", '{"id": "a", "question": "One?"}\n\n{"question": "Two?"}\n', [("a", "One?"), (2, "Two?")]),
        ("q.jsonl", '"One?"\n{"messages": [["system", "Be brief."], ["user", "Two?"]]}', [(1, "One?"), (2, "Two?")]),
        ("q.csv", 'id,question,gold\n7,"One, or more?",x\n,Two?,y\n', [("7", "One, or more?"), (2, "Two?")]),
        ("q.txt", "One?\n\n  Two?  \n", [(1, "One?"), (2, "Two?")]),
        (None, '{"question": "One?"}', [(1, "One?")]),
        (None, "One?\nTwo?", [(1, "One?"), (2, "Two?")]),
    ],
)
def test_questions_are_read_in_every_form(name: str | None, text: str, found: Sequence[Any]) -> None:
    asked = read_questions(Path(name) if name else None, text)
    assert [(one.id, one.text) for one in asked] == found


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("q.jsonl", '{"question": "One?"}\n{oops', "line 2 is no JSON"),
        ("q.jsonl", '{"text": "One?"}', "no 'question' and no 'messages'"),
        ("q.jsonl", '{"id": 1, "question": "a"}\n{"id": "1", "question": "b"}', "given twice"),
        ("q.csv", "text\nOne?\n", "question 1 has no 'question'"),
        ("q.txt", "\n \n", "there is no question"),
    ],
)
def test_what_is_no_question_is_named(name: str, text: str, says: str) -> None:
    with pytest.raises(QuestionsError, match=says):
        read_questions(Path(name), text)


async def test_every_question_is_answered_in_order_and_nothing_is_asked_again(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    server = start_server()
    settings = FAST.overlaid_by(MetaScaleSettings(budget=2))
    asked = [{"id": f"q{place}", "question": text} for place, text in enumerate([*QUESTIONS, QUESTIONS[0]])]
    rows = await abatch(asked, chat_model(server), settings=settings, journal=tmp_path)
    assert [row["id"] for row in rows] == [one["id"] for one in asked]
    assert all(row["answer"] and row["error"] is None and row["samples"] == 2 for row in rows)
    assert sum(row["calls"] for row in rows) == server.requests.total()
    costs = [row["cost_usd"] for row in rows]
    assert sum(cost for cost in costs if cost) == pytest.approx(PRICE.of(server.input_tokens, server.output_tokens))
    paid = server.requests.total()
    again = await abatch(asked, chat_model(server), settings=settings, journal=tmp_path)
    assert (again, server.requests.total()) == (rows, paid)


async def test_a_question_that_fails_is_told_and_asked_again(start_server: ServerFactory, tmp_path: Path) -> None:
    def refuses(kind: str, _: int, body: dict[str, Any]) -> Fault | None:
        is_third = QUESTIONS[2][:40] in json.dumps(body["messages"][0]["content"] + body["messages"][-1]["content"])
        return Fault(500, '{"error": {"message": "out of order"}}') if kind == "solve" and is_third else None

    server = start_server(script=refuses)
    settings = FAST.overlaid_by(MetaScaleSettings(budget=2, max_failures=2, max_retries=0))
    model = chat_model(server, max_retries=0)
    rows = await abatch(QUESTIONS, model, settings=settings, journal=tmp_path)
    failed = [row for row in rows if row["error"] is not None]
    assert [row["id"] for row in failed] == [3]
    assert "out of order" in str(failed[0]["error"])
    paid, server.script = server.requests.total(), None
    rows = await abatch(QUESTIONS, model, settings=settings, journal=tmp_path)
    assert all(row["answer"] for row in rows)
    assert server.requests.total() - paid <= 4, "only the third question is asked again"


class Counting:
    """A model's script that counts what is asked, and fails as a list of numbers says."""

    def __init__(self, fails: Sequence[int] = ()) -> None:
        self.asked, self.fails = 0, fails

    def __call__(self, kind: str, number: int, messages: Any) -> Any:
        self.asked += 1
        return ValueError("no luck") if self.asked in self.fails else sensible(kind, number, messages)


def bills_of(rows: Sequence[Answer]) -> int:
    return sum(row["calls"] for row in rows)


async def test_what_failed_requests_cost_is_never_forgotten(tmp_path: Path) -> None:
    told: list[Progress] = []
    script = Counting(fails=[2, 3, 5, 7, 8, 9, 10])
    settings = FAST.overlaid_by(MetaScaleSettings(budget=2, max_failures=2, max_retries=0, reward="agreement"))
    for _ in range(4):
        rows = await abatch(
            QUESTIONS[:3],
            ScriptedModel(write=script),
            settings=settings,
            journal=tmp_path,
            at_once=1,
            on_progress=told.append,
        )
        assert bills_of(rows) == told[-1].calls == script.asked
    assert all(row["answer"] for row in rows)
    assert script.asked == 6 + 7


async def test_a_question_that_no_limit_lets_go_on_keeps_its_bill_and_its_answer(tmp_path: Path) -> None:
    script = Counting()
    settings = FAST.overlaid_by(MetaScaleSettings(budget=4, max_failures=2, reward="agreement", stop_on_agreement=None))

    async def answered(max_calls: int) -> list[Answer]:
        model = ScriptedModel(write=script)
        return await abatch(QUESTIONS[:2], model, settings=settings, journal=tmp_path, max_calls=max_calls, at_once=1)

    first = await answered(4)
    assert (script.asked, bills_of(first)) == (4, 4)
    assert await answered(4) == first, "nothing is lost by asking again"
    more = await answered(10)
    assert bills_of(more) == script.asked <= 10
    assert all(row["answer"] for row in more)


async def test_replies_that_are_given_again_take_no_room_under_a_limit(tmp_path: Path) -> None:
    settings = MetaScaleSettings(budget=2, max_failures=2, max_retries=0, reward="judge", seed=1)
    script = Counting()
    for most in (3, 4, 8):
        rows = await abatch(
            QUESTIONS[:2], ScriptedModel(write=script), settings=settings, journal=tmp_path, max_calls=most, at_once=1
        )
        assert bills_of(rows) == script.asked <= most
    assert script.asked == 8
    assert all(row["answer"] for row in rows)


def disagreeing(kind: str, number: int, messages: Any) -> Any:
    """The first question gets one answer as often as another, every other question always the same one."""
    if kind == "solve":
        return f"#### {number % 2 + 1 if QUESTIONS[0][:40] in messages[-1].text else 7}"
    return sensible(kind, number, messages)


async def test_samples_go_to_the_question_whose_answers_disagree() -> None:
    rows = await abatch(QUESTIONS[:4], ScriptedModel(write=disagreeing), settings=FAST, budget_total=24)
    samples = [row["samples"] for row in rows]
    assert sum(samples) == 24
    assert samples[0] > 2 * max(samples[1:])
    assert all(row["stop_reason"] == "budget" for row in rows)


async def test_money_holds_over_all_questions(start_server: ServerFactory) -> None:
    server = start_server()
    rows = await abatch(QUESTIONS, chat_model(server), settings=FAST, max_cost_usd=12.0, at_once=2)
    charged = PRICE.of(server.input_tokens, server.output_tokens)
    assert all(row["answer"] for row in rows)
    assert 8.0 < charged < 12.5
    server = start_server()
    rows = await abatch(QUESTIONS, chat_model(server), settings=FAST, max_calls=90, at_once=2)
    assert 70 <= server.requests.total() <= 90
    assert all(row["answer"] for row in rows)


async def test_a_batch_that_is_cut_off_goes_on_and_pays_once(start_server: ServerFactory, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    server = start_server()
    for stop in (2, 5, 9):
        ended = 0

        def count(_: int, row: Any, stop: int = stop) -> None:
            nonlocal ended
            ended += row is not None
            if ended >= stop - 1:
                raise StopError

        with pytest.raises(StopError):
            await abatch(QUESTIONS, chat_model(server), settings=FAST, budget_total=40, journal=tmp_path, on_row=count)
    rows = await abatch(QUESTIONS, chat_model(server), settings=FAST, budget_total=40, journal=tmp_path)
    assert sum(row["samples"] for row in rows) <= 40
    assert sum(row["calls"] for row in rows) == server.requests.total()


async def test_an_ended_batch_goes_on_with_more_and_pays_only_for_what_is_new(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    server = start_server()

    async def answered(**limits: Any) -> Any:
        return await abatch(QUESTIONS[:4], chat_model(server), settings=FAST, journal=tmp_path, **limits)

    first = await answered(budget_total=10)
    assert sum(row["samples"] for row in first) == 10
    paid = server.requests.total()
    assert await answered(budget_total=10) == first
    assert server.requests.total() == paid
    more = await answered(budget_total=20)
    assert sum(row["samples"] for row in more) == 20
    assert all(row["samples"] >= before["samples"] for row, before in zip(more, first, strict=True))
    assert sum(row["calls"] for row in more) == server.requests.total()
    spent = PRICE.of(server.input_tokens, server.output_tokens)
    dearer = await answered(max_cost_usd=spent + 5)
    assert sum(row["samples"] for row in dearer) > 20
    assert sum(row["calls"] for row in dearer) == server.requests.total()
    assert spent + 2 < PRICE.of(server.input_tokens, server.output_tokens) < spent + 5.5
    paid = server.requests.total()
    assert sum(row["samples"] for row in await answered(budget_total=12)) > 20, "nothing is given back"
    assert server.requests.total() == paid


async def test_only_runs_that_a_limit_ended_are_reopened(tmp_path: Path) -> None:
    settings = FAST.overlaid_by(MetaScaleSettings(budget=8, stop_on_agreement=None, target_reward=0.1))
    model = ScriptedModel(write=sensible)
    first = await abatch(QUESTIONS[:3], model, settings=settings, journal=tmp_path, budget_total=24)
    assert {row["stop_reason"] for row in first} == {"target_reward"}
    assert await abatch(QUESTIONS[:3], model, settings=settings, journal=tmp_path, budget_total=60) == first


async def test_money_that_ran_out_leaves_runs_that_more_money_continues(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    server = start_server()

    async def answered(max_cost_usd: float) -> Any:
        return await abatch(
            QUESTIONS, chat_model(server), settings=FAST, journal=tmp_path, max_cost_usd=max_cost_usd, at_once=2
        )

    first = await answered(1.5)
    assert any(row["error"] for row in first), "the money does not open all questions"
    more = await answered(6.0)
    assert all(row["answer"] and row["samples"] >= before["samples"] for row, before in zip(more, first, strict=True))
    assert PRICE.of(server.input_tokens, server.output_tokens) < 6.5


def test_a_reopened_batch_that_is_killed_goes_on(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server(latency=0.05)
    file, out = tmp_path / "questions.txt", tmp_path / "answers.jsonl"
    file.write_text("\n".join(QUESTIONS[:4]))
    given = ["batch", str(file), "--out", str(out), "--set", "pool_size=3", "--quiet", *options_of(server)]
    assert invoke(*given, "--budget-total", "8").exit_code == 0
    paid = len(server.served)
    process = subprocess.Popen([sys.executable, "-m", "metascale.cli", *given, "--budget-total", "24"])
    wait_until(lambda: len(server.served) >= paid + 5, process)
    process.kill()
    process.wait()
    wait_until(lambda: server.working == 0)
    assert invoke(*given, "--budget-total", "24").exit_code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert sum(row["samples"] for row in rows) == 24
    assert all(row["answer"] and row["error"] is None for row in rows)
    billed = sum(row["calls"] for row in rows)
    assert billed <= len(server.served) <= billed + 12, "no more is paid twice than was in flight or unread"


def test_limits_that_cannot_be_kept_are_refused(start_server: ServerFactory) -> None:
    model = chat_model(start_server())
    for options, says in (
        ({"budget_total": 3}, "too low for 8 questions"),
        ({"max_calls": 0}, "max_calls must be above 0"),
        ({"budget_total": 80, "method": "best_of_n"}, "cannot share a budget"),
        ({"max_cost_usd": 1.0, "settings": MetaScaleSettings()}, "no price of the model 'loopback'"),
        ({"settings": MetaScaleSettings(review_pool=True)}, "asks nobody"),
    ):
        with pytest.raises(SettingError, match=says):
            batch(QUESTIONS, model, **options)  # type: ignore[arg-type]


def test_more_votes_and_a_clear_lead_leave_less_to_gain() -> None:
    assert expected_gain("ab") > expected_gain("aabb") > expected_gain("aaabbb")
    assert expected_gain("aab") > expected_gain("aaab") > expected_gain("aaaab") > expected_gain("aaaaaaaa") > 0
    assert expected_gain("aabb") > expected_gain("aaaaaabbbb")
    assert expected_gain([]) > expected_gain("a")
    assert 0 < expected_gain(["a", None, None]) < 1


def options_of(server: OpenAIServer) -> list[str]:
    prices = json.dumps({"loopback": PRICE.model_dump()})
    return ["--model", "openai:loopback", "--base-url", server.url, "--set", f"prices={prices}", "--seed", "1"]


def test_the_command_line_answers_a_file(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server()
    file, out = tmp_path / "questions.csv", tmp_path / "answers.jsonl"
    file.write_text("id,task\n" + "".join(f'q{place},"{text}"\n' for place, text in enumerate(("1 + 1?", "2 + 2?"))))
    given = ["batch", str(file), "--out", str(out), "--column", "task", "--budget-total", "6", *options_of(server)]
    done = invoke(*given)
    assert done.exit_code == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["id"], row["question"]) for row in rows] == [("q0", "1 + 1?"), ("q1", "2 + 2?")]
    assert {"answer", "confidence", "reward", "arm", "cost_usd", "calls", "notes"} <= rows[0].keys()
    estimate, first, *_, progress, last = done.stderr.splitlines()
    assert estimate.startswith("likely ")
    assert first.startswith("0/2 answered · ")
    assert progress.startswith("2/2 answered · 6 samples · ")
    assert last.startswith("2 of 2 questions answered: 6 samples")
    assert done.stdout == ""
    assert invoke(*given, "--quiet").stderr == ""
    paid = server.requests.total()
    assert invoke(*given).exit_code == 0
    assert server.requests.total() == paid
    assert invoke("batch", str(tmp_path / "none.txt"), "--out", str(out), *options_of(server)).exit_code == 2
    assert invoke("batch", str(file), "--out", str(tmp_path), *options_of(server)).exit_code == 2


def test_a_log_file_gets_about_twenty_lines_of_a_batch_and_one_after_a_silence() -> None:
    console = Console(file=io.StringIO(), width=40)
    lines = ProgressLines(console)
    for seconds in range(400):
        answered = min(1_000, 10 * seconds) if seconds < 200 else 1_000
        lines(Progress(1_000, answered, 0, 4 * answered, 0, 0.0, float(seconds)))
    said = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    times = [int(found.group(1)) for line in said if (found := re.search(r" (\d+) s\b", line))]
    assert said[0] == "0/1,000 answered · 0 samples · 0 calls · 0 s"
    assert len([time for time in times if time <= 100]) == 21
    assert times[21:] == [160, 220, 280, 340]


def test_a_failed_question_is_the_exit_code(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server(script=lambda kind, *_: Fault(401, "{}") if kind == "solve" else None)
    file, out = tmp_path / "questions.txt", tmp_path / "answers.jsonl"
    file.write_text("\n".join(QUESTIONS))
    done = invoke("batch", str(file), "--out", str(out), "--at-once", "1", *options_of(server))
    assert done.exit_code == 1
    assert "8 questions of 8 failed; question 1: " in done.stderr
    assert len(out.read_text().splitlines()) == 8
    assert server.requests["solve"] <= 4, "a wrong key is the same for every question"
