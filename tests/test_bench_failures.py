"""A benchmark on a failing server: failures are reported, counted apart, and asked again by the same command."""

from __future__ import annotations

import json
import socket
from collections import Counter
from pathlib import Path
from typing import Any

from metascale.evals.report.logs import logs_in
from tests.bench_process import Ended
from tests.bench_process import bench as run_bench
from tests.conftest import ServerFactory
from tests.openai_server import Fault, OpenAIServer

WRONG_KEY = Fault(401, json.dumps({"error": {"message": "Incorrect API key provided: sk-none"}}))
OVERLOADED = Fault(503, json.dumps({"error": {"message": "out of memory"}}))
TOO_LONG = Fault(400, json.dumps({"error": {"message": "the prompt is too long"}}))


def given(server: OpenAIServer, *methods: str) -> list[str]:
    named = [part for method in methods for part in ("--method", method)]
    return ["--model", "openai:local", "--base-url", server.url, *named]


def bench(server: OpenAIServer, folder: Path, *methods: str, limit: int = 4, more: tuple[str, ...] = ()) -> Ended:
    return run_bench(folder, *given(server, *methods), "--limit", str(limit), "--budget", "2", *more)


def counts_in(said: str) -> list[list[int]]:
    """Answered, failed and left of every evaluation, by the table at the end."""
    lines = said.partition("score (95 %)")[2].splitlines()
    return [[int(part) for part in line.split()[-5:-2]] for line in lines if line.startswith(" gsm8k ")]


def question_of(body: dict[str, Any]) -> str:
    return str([message["content"] for message in body["messages"] if message["role"] == "user"][-1])


def errors_in(folder: Path) -> Counter[str]:
    return Counter(
        sample.error.message for log in logs_in([folder / "logs"]) for sample in log.samples or [] if sample.error
    )


def test_a_wrong_key_ends_every_evaluation_at_once_with_the_servers_reason(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    server = start_server(script=lambda *_: WRONG_KEY, latency=0.05)
    ended = bench(server, tmp_path, "direct", "chain_of_thought", "best_of_n", limit=12)
    assert server.requests.total() <= 24  # two evaluations run at a time: the third asks nothing
    assert ended.code == 1
    assert "Incorrect API key" in ended.last
    assert ended.last.endswith("36 of 36 questions are not answered; repeat the command to go on")
    assert {log.status for log in logs_in([tmp_path / "logs"])} == {"error"}
    assert all("Incorrect API key" in error for error in errors_in(tmp_path))

    server.script = None
    ended = bench(server, tmp_path, "direct", "chain_of_thought", "best_of_n", limit=12)
    assert (ended.code, counts_in(ended.said)) == (0, [[12, 0, 0]] * 3)


def test_questions_that_fail_are_counted_apart_and_asked_again(start_server: ServerFactory, tmp_path: Path) -> None:
    bad: set[str] = set()

    def script(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        asked = question_of(body)
        if len(bad) < 2:
            bad.add(asked)
        return TOO_LONG if asked in bad else None

    server = start_server(script=script)
    ended = bench(server, tmp_path, "direct", limit=12)
    assert (ended.code, counts_in(ended.said)) == (1, [[10, 2, 0]])
    assert ended.last.startswith("metascale: 2 of 12 questions failed: ")
    assert "the prompt is too long" in ended.last
    assert ended.last.endswith("repeat the command to ask them again")
    samples = [sample for log in logs_in([tmp_path / "logs"]) for sample in log.samples or []]
    assert sum(1 for sample in samples if sample.error and not sample.scores) == 2

    before = server.requests.total()
    server.script = None
    assert bench(server, tmp_path, "direct", limit=12).code == 0
    assert server.requests.total() - before == 2


def test_a_failed_judge_is_no_wrong_answer_and_samples_are_not_drawn_again(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    server = start_server(script=lambda kind, *_: TOO_LONG if kind == "judge" else None)
    ended = bench(server, tmp_path, "best_of_n", more=("--set", "confirm=0"))
    assert (ended.code, counts_in(ended.said)) == (1, [[0, 4, 0]])
    assert "nothing was scored: " in ended.last
    server.script = None
    assert bench(server, tmp_path, "best_of_n", more=("--set", "confirm=0")).code == 0
    assert server.count("solve") == 8


def test_a_refusal_midway_keeps_what_was_paid(start_server: ServerFactory, tmp_path: Path) -> None:
    spent = Fault(402, json.dumps({"error": {"message": "insufficient balance"}}))
    server = start_server(script=lambda kind, number, _: spent if kind == "solve" and number >= 9 else None)
    methods = ("metascale", "self_consistency")
    more = ("--set", "confirm=0", "--set", "pool_size=3", "--budget", "4")
    ended = run_bench(tmp_path, *given(server, *methods), "--limit", "3", *more)
    assert ended.code == 1
    assert "insufficient balance" in ended.last
    server.script = None
    assert run_bench(tmp_path, *given(server, *methods), "--limit", "3", *more).code == 0
    drawn = Counter(served.body["seed"] for served in server.served if served.kind == "solve")
    assert len(drawn) == 12
    assert set(drawn.values()) == {2}  # a sample has the same seed in both methods


def test_a_dead_server_is_told_at_once_and_ends_the_benchmark(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    more = ("--set", "max_retries=20")  # so that no question is given up before the benchmark is
    ended = bench(server, tmp_path, "direct", "chain_of_thought", limit=12, more=more)
    assert ended.code == 1
    (told,) = [line for line in ended.said.splitlines() if line.startswith("note: ")]
    assert told.startswith("note: a request failed and is retried: APIConnectionError")
    assert "nothing listens there; is the server running?" in told
    assert ended.last.startswith("metascale: no request was answered for 10 seconds: APIConnectionError")


def test_retries_do_not_multiply(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server(script=lambda *_: OVERLOADED)
    ended = bench(server, tmp_path, "direct", limit=1, more=("--set", "max_failures=1"))
    assert server.requests.total() == 3
    assert "out of memory" in ended.last
    bench(server, tmp_path, "direct", limit=1, more=("--set", "max_failures=1", "--set", "max_retries=0"))
    assert server.requests.total() == 4


def test_verdicts_are_asked_in_the_servers_json_schema_mode(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server()
    assert bench(server, tmp_path, "best_of_n", limit=1).code == 0
    verdicts = [served.body for served in server.served if served.kind == "judge"]
    assert verdicts
    assert all("score" in json.dumps(body["response_format"]["json_schema"]["schema"]) for body in verdicts)


def test_verdicts_are_asked_in_words_where_the_server_knows_no_other_form(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    server = start_server(forms=frozenset())
    assert bench(server, tmp_path, "best_of_n", limit=1).code == 0
    assert all("response_format" not in served.body for served in server.served)


def test_max_in_flight_decides_how_many_requests_are_in_flight(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server()
    server.ready = lambda kind, _: server.requests[kind] == 30
    ended = bench(server, tmp_path, "direct", limit=30, more=("--set", "max_in_flight=30"))
    assert (ended.code, counts_in(ended.said)) == (0, [[30, 0, 0]])


def test_max_in_flight_holds_for_a_judge_of_its_own(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server()
    server.ready = lambda kind, _: kind != "judge" or server.requests["judge"] >= 30
    more = ("--judge-model", "openai:judge", "--set", "confirm=0", "--set", "max_in_flight=30")
    ended = bench(server, tmp_path, "best_of_n", limit=15, more=more)
    assert (ended.code, counts_in(ended.said)) == (0, [[15, 0, 0]])


def test_a_judge_of_its_own_on_the_same_server(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server()
    ended = bench(server, tmp_path, "best_of_n", more=("--judge-model", "openai:judge", "--set", "confirm=0"))
    assert ended.code == 0
    asked = Counter((served.kind, served.body["model"]) for served in server.served)
    assert asked == {("solve", "local"): 8, ("judge", "judge"): 8}
