"""A request that is far slower than its kind is sent once more, and no request outlives its time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from metascale import MetaScaleSettings, create_metascale
from metascale.errors import NoAnswerError
from metascale.models.hedging import first_reply
from metascale.models.latencies import Latencies
from tests.conftest import ServerFactory, ask, chat_model
from tests.openai_server import Fault, Latency, OpenAIServer

LONG = 60.0
PRICES = {"loopback": {"input": 1.0, "output": 1.0}}


def hanging(*requests: tuple[str, int]) -> Latency:
    """A server that hangs at these requests, by kind and number."""
    return lambda kind, number: LONG if (kind, number) in requests else 0.05


def run(server: OpenAIServer, *, is_sync: bool = False, max_retries: int = 0, **chosen: Any) -> dict[str, Any]:
    settings = MetaScaleSettings.model_validate({"pool_size": 4, "confirm": 0, "prices": PRICES, **chosen})
    graph = create_metascale(chat_model(server, max_retries=max_retries), settings=settings)
    started = time.monotonic()
    out = graph.invoke(ask()) if is_sync else asyncio.run(graph.ainvoke(ask()))
    return {**out["result"], "took": time.monotonic() - started}


def sampled_seeds(server: OpenAIServer) -> set[int]:
    return {served.body["seed"] for served in server.served if served.kind == "solve"}


@pytest.mark.parametrize("is_sync", [True, False])
def test_a_straggler_is_sent_once_more_and_billed(start_server: ServerFactory, *, is_sync: bool) -> None:
    server = start_server(latency=hanging(("solve", 9), ("judge", 13)))
    result = run(server, is_sync=is_sync, budget=16, batch_size=8, seed=3)
    usage = result["usage"]
    assert result["took"] < 10
    assert usage["samples"] == 16
    assert usage["calls"] == server.requests.total() == 1 + 2 * (16 + 1)
    assert usage["cost_usd"] is None, "nobody knows what a cancelled request costs"
    undisturbed = start_server()
    run(undisturbed, budget=16, batch_size=8, seed=3)
    assert sampled_seeds(server) == sampled_seeds(undisturbed), "what is sent again is the same request"


def test_without_stragglers_nothing_is_sent_twice(start_server: ServerFactory) -> None:
    server = start_server(latency=0.05)
    usage = run(server, budget=16, batch_size=8)["usage"]
    assert usage["calls"] == server.requests.total() == 1 + 2 * 16
    assert usage["cost_usd"] > 0


def test_where_the_repetition_hangs_too_both_are_given_up_and_retried(start_server: ServerFactory) -> None:
    server = start_server(latency=hanging(("solve", 9), ("solve", 16)))
    result = run(server, budget=16, batch_size=8)
    assert result["took"] < 15
    assert result["usage"]["samples"] == 16
    assert result["usage"]["calls"] == server.requests.total() == 1 + 2 * 16 + 2


def test_stragglers_are_waited_for_where_that_is_set(start_server: ServerFactory) -> None:
    server = start_server(latency=lambda kind, number: 2.0 if (kind, number) == ("solve", 7) else 0.05)
    result = run(server, budget=8, batch_size=8, stragglers="wait")
    assert result["took"] > 2
    assert result["usage"]["calls"] == server.requests.total() == 1 + 2 * 8


@pytest.mark.parametrize("is_sync", [True, False])
def test_a_request_that_takes_too_long_is_retried(start_server: ServerFactory, *, is_sync: bool) -> None:
    server = start_server(latency=hanging(("solve", 1), ("judge", 0)))
    result = run(server, is_sync=is_sync, budget=4, call_timeout=2.0, stragglers="wait")
    assert result["took"] < 10
    assert result["usage"]["samples"] == 4
    assert result["usage"]["calls"] == server.requests.total() == 1 + 2 * (4 + 1)


@pytest.mark.parametrize("is_sync", [True, False])
def test_the_run_ends_with_its_time_and_keeps_what_was_finished(start_server: ServerFactory, *, is_sync: bool) -> None:
    server = start_server(latency=hanging(("solve", 5)))
    result = run(server, is_sync=is_sync, budget=64, max_seconds=2.0, stragglers="wait", max_retries=2)
    assert 2.0 <= result["took"] < 4.0
    assert result["stop_reason"] == "max_seconds"
    assert result["answer"]
    assert result["usage"]["samples"] == 7
    assert any("max_seconds was reached before a reply came" in note for note in result["notes"])


@pytest.mark.parametrize("kind", ["judge", "compose"])
def test_time_ends_judging_and_composing_too(start_server: ServerFactory, kind: str) -> None:
    server = start_server(latency=lambda asked, _: LONG if asked == kind else 0.05)
    result = run(server, budget=4, max_seconds=2.0)
    assert result["took"] < 4.0
    assert result["answer"]
    assert result["usage"]["samples"] == 4
    if kind == "compose":
        assert result["reward"] is not None, "the pool leaves time for samples"


def test_no_pause_outlives_the_time(start_server: ServerFactory) -> None:
    server = start_server(script=lambda *_: Fault(503, "{}", headers={"retry-after": "50"}))
    started = time.monotonic()
    with pytest.raises(NoAnswerError):
        run(server, budget=4, max_seconds=1.0)
    assert time.monotonic() - started < 5


def test_a_process_ends_though_its_server_hangs(start_server: ServerFactory) -> None:
    server = start_server(latency=LONG)
    program = (
        "from langchain_openai import ChatOpenAI\n"
        "from metascale import MetaScaleSettings, create_metascale\n"
        f"model = ChatOpenAI(model='loopback', base_url={server.url!r}, api_key='none', max_retries=0)\n"
        "graph = create_metascale(model, settings=MetaScaleSettings(budget=4, max_seconds=1))\n"
        "graph.invoke({'messages': [{'role': 'user', 'content': 'Why?'}]})\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert "NoAnswerError" in ended.stderr


async def say(text: str, after: float, ends: list[str] | None = None) -> str:
    try:
        await asyncio.sleep(after)
    except asyncio.CancelledError:
        (ends if ends is not None else []).append(text)
        raise
    return text


async def fail(after: float) -> str:
    await asyncio.sleep(after)
    raise ConnectionError("gone")


async def race(
    first: Coroutine[Any, Any, str], again: Callable[[], Coroutine[Any, Any, str] | None], latencies: Latencies
) -> str:
    def send_again() -> asyncio.Task[str] | None:
        sending = again()
        return sending and asyncio.create_task(sending)

    return await first_reply(99.0, asyncio.create_task(first), send_again, latencies, gives_up=True)


def known(limit_of_medians: float = 0.01) -> Latencies:
    latencies = Latencies()
    for _ in range(16):
        latencies.observe(limit_of_medians)
    return latencies


async def test_the_first_reply_counts_and_the_other_is_cancelled() -> None:
    ends: list[str] = []
    latencies = known()
    won = await race(say("first", 8, ends), lambda: say("second", 0.01), latencies)
    await asyncio.sleep(0)
    assert (won, ends) == ("second", ["first"])
    won = await race(say("first", 0.6), lambda: say("second", 8, ends), latencies)
    await asyncio.sleep(0)
    assert (won, ends) == ("first", ["first", "second"])


async def test_an_error_counts_only_where_nothing_better_comes() -> None:
    latencies = known()
    assert await race(fail(0.55), lambda: say("late", 0.3), latencies) == "late"
    assert await race(say("late", 0.8), lambda: fail(0.01), latencies) == "late"
    with pytest.raises(ConnectionError):
        await race(fail(0.55), lambda: fail(0.1), latencies)


async def test_nothing_is_sent_again_where_there_is_no_room() -> None:
    asked: list[int] = []

    def no_room() -> None:
        asked.append(1)

    assert await race(say("first", 1.2), no_room, known()) == "first"
    assert 1 <= len(asked) < 5


async def test_a_reply_that_only_waits_to_be_read_is_not_taken_for_a_straggler() -> None:
    asked: list[int] = []

    def no_room() -> None:
        asked.append(1)

    racing = asyncio.create_task(race(say("first", 0.6), no_room, known()))
    await asyncio.sleep(0.01)
    time.sleep(0.9)  # noqa: ASYNC251  this process is busy
    assert await racing == "first"
    assert not asked


async def test_who_is_cancelled_cancels_both() -> None:
    ends: list[str] = []
    work = asyncio.create_task(race(say("first", 50, ends), lambda: say("second", 50, ends), known()))
    await asyncio.sleep(0.8)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await asyncio.sleep(0)
    assert sorted(ends) == ["first", "second"]
