"""A benchmark that is interrupted or killed: it says what is left, and asks nothing again that was paid for."""

from __future__ import annotations

import random
import signal
from collections import Counter
from pathlib import Path

from metascale.evals.report.logs import logs_in
from tests.bench_process import BenchProcess, bench
from tests.conftest import ServerFactory
from tests.openai_server import OpenAIServer
from tests.waiting import wait_until

METHODS = ("direct", "self_consistency", "metascale")
QUESTIONS = 6


def options_of(server: OpenAIServer, *methods: str) -> list[str]:
    named = [part for method in methods for part in ("--method", method)]
    options = ["--model", "openai:local", "--base-url", server.url, "--budget", "4", "--limit", str(QUESTIONS)]
    return [*options, "--set", "pool_size=3", "--set", "confirm=0", *named]


def test_an_interrupt_says_what_is_left_and_the_same_command_goes_on(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    server = start_server()
    server.ready = lambda _, number: number < 20  # held until the interrupt
    process = BenchProcess(tmp_path, *options_of(server, "direct", "self_consistency"))
    wait_until(lambda: server.requests.total() > 20, process)
    process.send_signal(signal.SIGINT)
    ended = process.end()
    assert ended.code == 130
    assert ended.last.startswith("metascale: interrupted: ")
    assert "of 12 questions are left, in " in ended.last
    assert ended.last.endswith("of 2 evaluations; repeat the command to go on")

    paid = len(server.served)
    server.ready = None
    rest = bench(tmp_path, *options_of(server, "direct", "self_consistency"))
    assert rest.code == 0
    assert "gsm8k-self_consistency-4: 6 of 6 questions answered\n" in rest.said
    assert "Completed all tasks" not in rest.said, "there is no terminal for Inspect's display"
    assert len(server.served) - paid == QUESTIONS * (1 + 4) - paid


def test_what_was_paid_before_kills_at_random_moments_is_not_paid_again(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    generator = random.Random(7)
    server = start_server(latency=lambda *_: generator.uniform(0.0, 0.05))
    in_flight, kills = 0, 0
    options = options_of(server, *METHODS)
    for paid in sorted(generator.sample(range(5, 60), 10)):
        process = BenchProcess(tmp_path, *options)
        wait_until(lambda paid=paid, process=process: len(server.served) >= paid or process.poll() is not None)  # type: ignore[misc]
        if process.poll() is None:
            kills += 1
            process.send_signal(signal.SIGKILL)
            process.end()
            wait_until(lambda: server.working == 0)
            in_flight += 8 * 2
    assert kills
    ended = bench(tmp_path, *options)
    assert ended.code == 0, ended.said
    samples = [
        sample for log in logs_in([tmp_path / "logs"]) for sample in log.samples or [] if log.status == "success"
    ]
    assert len(samples) == QUESTIONS * len(METHODS)
    billed = sum(sample.store["metascale"]["usage"]["calls"] for sample in samples)
    repeated = Counter((served.kind, str(served.body)) for served in server.served)
    assert billed <= len(server.served) <= billed + in_flight
    assert max(repeated.values()) <= len(METHODS) + kills

    paid = len(server.served)
    for log in (tmp_path / "logs").glob("*.eval"):
        log.unlink()
    assert bench(tmp_path, *options).code == 0
    assert len(server.served) == paid
