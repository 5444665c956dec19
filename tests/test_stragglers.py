"""A request that is far slower than its kind is sent once more, and no request outlives its time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, BaseMessage

from metascale import MetaScaleSettings, create_metascale
from metascale.errors import NoAnswerError
from metascale.models.hedging import first_reply
from metascale.models.latencies import Latencies
from tests.conftest import ServerFactory, ask, chat_model
from tests.openai_server import FOR_EVER, Latency, OpenAIServer
from tests.scripted import TimedModel, sensible
from tests.virtual_time import VirtualTimeLoop, in_virtual_time
from tests.waiting import CEILING

pytestmark = pytest.mark.stragglers
HEDGE = {"stragglers": "hedge"}
PRICES = {"scripted": {"input": 1.0, "output": 1.0}}


def hanging(*requests: tuple[str, int], otherwise: float = 0.05) -> Latency:
    """Hang at these requests, by kind and number."""
    return lambda kind, number: FOR_EVER if (kind, number) in requests else otherwise


def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
    said = sensible(kind, number, messages)
    return AIMessage(str(said), usage_metadata={"input_tokens": 9, "output_tokens": 9, "total_tokens": 18})


def timed(model: TimedModel, **chosen: Any) -> dict[str, Any]:
    """The result of a run in virtual time, and the seconds that it `took`."""
    whole = {"pool_size": 4, "confirm": 0, "stop_on_agreement": None, "prices": PRICES, **HEDGE}
    settings = MetaScaleSettings.model_validate({**whole, **chosen})
    graph = create_metascale(model, settings=settings)

    async def run() -> dict[str, Any]:
        clock = asyncio.get_running_loop().time
        started = clock()
        out = await graph.ainvoke(ask())
        return {**out["result"], "took": clock() - started}

    return in_virtual_time(run)


def at_server(server: OpenAIServer, *, is_sync: bool, **chosen: Any) -> dict[str, Any]:
    """The result of a run at a real server."""
    whole = {"pool_size": 4, "confirm": 0, "stop_on_agreement": None, **HEDGE}
    settings = MetaScaleSettings.model_validate({**whole, **chosen})
    graph = create_metascale(chat_model(server, max_retries=0), settings=settings)
    out = graph.invoke(ask()) if is_sync else asyncio.run(graph.ainvoke(ask()))
    return dict(out["result"])


def test_a_straggler_is_sent_once_more_and_billed() -> None:
    chosen = {"budget": 16, "batch_size": 8, "seed": 3}
    model = TimedModel(write=write, takes=hanging(("solve", 9), ("judge", 13)))
    usage = timed(model, **chosen)["usage"]
    assert usage["samples"] == 16
    assert usage["calls"] == len(model.asked) == 1 + 2 * (16 + 1)
    assert usage["cost_usd"] is None, "nobody knows what a cancelled request costs"
    undisturbed = TimedModel(write=write, takes=hanging())
    usage = timed(undisturbed, **chosen)["usage"]
    assert usage["calls"] == len(undisturbed.asked) == 1 + 2 * 16
    assert usage["cost_usd"] > 0
    assert set(model.asked) == set(undisturbed.asked), "what is sent again is the same request"


def test_what_was_sent_twice_is_in_the_notes() -> None:
    result = timed(TimedModel(write=write, takes=hanging(("solve", 9))), budget=16, batch_size=8, seed=3)
    assert [note for note in result["notes"] if "sent twice" in note] == [
        "the request 'sample 9' took far longer than the others, so it was sent twice; both are in the bill's calls, "
        "and the cost is unknown"
    ]


@pytest.mark.parametrize("stragglers", ["wait", "hedge"])
def test_long_answers_are_not_billed_twice_after_quick_questions(stragglers: str) -> None:
    """Sixteen quick questions, then one whose answers take forty times as long."""
    longer = [0.05]
    model = TimedModel(write=write, takes=lambda _, number: longer[0] * (1 + 0.1 * (number % 4)))
    settings = MetaScaleSettings(budget=4, pool_size=2, confirm=0, stragglers=stragglers)  # type: ignore[arg-type]
    graph = create_metascale(model, settings=settings)

    async def ask_seventeen() -> dict[str, Any]:
        for _ in range(16):
            await graph.ainvoke(ask())
        longer[0] = 40 * 0.05
        before = len(model.requests("solve"))
        out = await graph.ainvoke(ask())
        return {**out["result"], "solved": len(model.requests("solve")) - before}

    result = in_virtual_time(ask_seventeen)
    assert result["solved"] == 4
    assert not [note for note in result["notes"] if "twice" in note]


@pytest.mark.parametrize("budget", [4, 8, 16])
def test_hedging_keeps_its_allowance_and_cancels_nothing_without_a_winner(budget: int) -> None:
    """The first answers are quick, and all later ones honestly slow."""
    model = TimedModel(write=write, takes=lambda kind, number: 100.0 if kind == "solve" and number >= 4 else 0.05)
    result = timed(model, budget=budget, batch_size=4, pool_size=2, evolution="off")
    usage = result["usage"]
    assert usage["samples"] == budget
    assert len(model.requests("solve")) <= budget + 1 + budget // 10
    assert usage["calls"] == len(model.asked)
    assert len([note for note in result["notes"] if "twice" in note]) == len(model.requests("solve")) - budget


@pytest.mark.parametrize("is_sync", [True, False])
def test_a_run_at_a_server_that_hangs_at_some_requests_ends(start_server: ServerFactory, *, is_sync: bool) -> None:
    server = start_server(latency=hanging(("solve", 9), ("judge", 13), otherwise=0.0))
    usage = at_server(server, is_sync=is_sync, budget=16, batch_size=8)["usage"]
    assert usage["samples"] == 16
    assert usage["calls"] >= 1 + 2 * (16 + 1)


def test_where_the_repetition_hangs_too_both_are_waited_for_until_the_timeout_and_retried() -> None:
    model = TimedModel(write=write, takes=hanging(("solve", 9), ("solve", 16)))
    result = timed(model, budget=16, batch_size=8, call_timeout=50.0)
    assert result["took"] > 50
    usage = result["usage"]
    assert usage["samples"] == 16
    assert usage["calls"] == len(model.asked) == 1 + 2 * 16 + 2


def test_stragglers_are_waited_for_where_that_is_set() -> None:
    model = TimedModel(write=write, takes=lambda kind, number: 60.0 if (kind, number) == ("solve", 7) else 0.05)
    result = timed(model, budget=8, batch_size=8, stragglers="wait")
    assert result["took"] > 60
    assert result["usage"]["calls"] == len(model.asked) == 1 + 2 * 8


def test_a_request_that_takes_too_long_is_retried() -> None:
    model = TimedModel(write=write, takes=hanging(("solve", 1), ("judge", 0)))
    usage = timed(model, budget=4, call_timeout=2.0, stragglers="wait")["usage"]
    assert usage["samples"] == 4
    assert usage["calls"] == len(model.asked) == 1 + 2 * (4 + 1)


@pytest.mark.parametrize("is_sync", [True, False])
def test_a_request_that_a_server_does_not_answer_is_retried(start_server: ServerFactory, *, is_sync: bool) -> None:
    server = start_server(latency=hanging(("solve", 1), otherwise=0.0))
    usage = at_server(server, is_sync=is_sync, budget=4, call_timeout=4.0, stragglers="wait")["usage"]
    assert usage["samples"] == 4
    assert usage["calls"] >= 1 + 2 * 4 + 1


def test_the_run_ends_with_its_time_and_keeps_what_was_finished() -> None:
    model = TimedModel(write=write, takes=hanging(("solve", 5)))
    result = timed(model, budget=64, batch_size=4, max_seconds=2.0, stragglers="wait", max_retries=2)
    assert result["took"] == pytest.approx(2.0)
    assert result["stop_reason"] == "max_seconds"
    assert result["answer"]
    assert result["usage"]["samples"] == 7
    assert any("max_seconds was reached before a reply came" in note for note in result["notes"])


@pytest.mark.parametrize("is_sync", [True, False])
def test_a_run_ends_with_its_time_though_its_server_hangs(start_server: ServerFactory, *, is_sync: bool) -> None:
    server = start_server(latency=lambda kind, number: FOR_EVER if kind == "solve" and number > 1 else 0.0)
    result = at_server(server, is_sync=is_sync, budget=64, batch_size=2, max_seconds=5.0, stragglers="wait")
    assert result["stop_reason"] == "max_seconds"
    assert 1 <= result["usage"]["samples"] <= 2
    assert result["answer"]


@pytest.mark.parametrize("kind", ["judge", "compose"])
def test_time_ends_judging_and_composing_too(kind: str) -> None:
    model = TimedModel(write=write, takes=lambda asked, _: FOR_EVER if asked == kind else 0.05)
    result = timed(model, budget=4, max_seconds=2.0)
    assert result["took"] <= 2.0 + 1e-6
    assert result["answer"]
    assert result["usage"]["samples"] == 4
    if kind == "compose":
        assert result["reward"] is not None, "the pool leaves time for samples"


def test_no_pause_outlives_the_time() -> None:
    request = httpx.Request("POST", "http://server/v1")
    busy = httpx.HTTPStatusError(
        "busy", request=request, response=httpx.Response(503, headers={"retry-after": "50"}, request=request)
    )
    settings = MetaScaleSettings(budget=4, max_seconds=1.0)
    graph = create_metascale(TimedModel(write=lambda *_: busy, takes=hanging()), settings=settings)

    async def run() -> float:
        clock = asyncio.get_running_loop().time
        started = clock()
        with pytest.raises(NoAnswerError):
            await graph.ainvoke(ask())
        return clock() - started

    assert in_virtual_time(run) <= 1.0 + 1e-6


def test_a_process_ends_though_its_server_hangs(start_server: ServerFactory) -> None:
    server = start_server(latency=FOR_EVER)
    program = (
        "from langchain_openai import ChatOpenAI\n"
        "from metascale import MetaScaleSettings, create_metascale\n"
        f"model = ChatOpenAI(model='loopback', base_url={server.url!r}, api_key='none', max_retries=0)\n"
        "graph = create_metascale(model, settings=MetaScaleSettings(budget=4, max_seconds=1))\n"
        "graph.invoke({'messages': [{'role': 'user', 'content': 'Why?'}]})\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=CEILING, check=False
    )
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

    return await first_reply(99.0, asyncio.create_task(first), send_again, latencies)


def known(limit_of_medians: float = 0.01) -> Latencies:
    latencies = Latencies()
    for _ in range(16):
        latencies.observe(limit_of_medians)
    return latencies


def test_the_first_reply_counts_and_the_other_is_cancelled() -> None:
    async def races() -> None:
        ends: list[str] = []
        latencies = known()
        won = await race(say("first", 8, ends), lambda: say("second", 0.01), latencies)
        await asyncio.sleep(0)
        assert (won, ends) == ("second", ["first"])
        won = await race(say("first", 0.6), lambda: say("second", 8, ends), latencies)
        await asyncio.sleep(0)
        assert (won, ends) == ("first", ["first", "second"])

    in_virtual_time(races)


def test_an_error_counts_only_where_nothing_better_comes() -> None:
    async def races() -> None:
        latencies = known()
        assert await race(fail(0.55), lambda: say("late", 0.3), latencies) == "late"
        assert await race(say("late", 0.8), lambda: fail(0.01), latencies) == "late"
        with pytest.raises(ConnectionError):
            await race(fail(0.55), lambda: fail(0.1), latencies)

    in_virtual_time(races)


def test_nothing_is_sent_again_where_there_is_no_room() -> None:
    asked: list[int] = []

    def no_room() -> None:
        asked.append(1)

    assert in_virtual_time(lambda: race(say("first", 1.2), no_room, known())) == "first"
    assert 1 <= len(asked) < 5


def test_a_reply_that_only_waits_to_be_read_is_not_taken_for_a_straggler() -> None:
    asked: list[int] = []

    def no_room() -> None:
        asked.append(1)

    async def busy_race() -> str:
        racing = asyncio.create_task(race(say("first", 0.6), no_room, known()))
        await asyncio.sleep(0.01)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.now += 0.9  # this process is busy
        return await racing

    assert in_virtual_time(busy_race) == "first"
    assert not asked


def test_cancelling_the_wait_cancels_both_requests() -> None:
    async def cancelled() -> list[str]:
        ends: list[str] = []
        work = asyncio.create_task(race(say("first", 50, ends), lambda: say("second", 50, ends), known()))
        await asyncio.sleep(0.8)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await asyncio.sleep(0)
        return ends

    assert sorted(in_virtual_time(cancelled)) == ["first", "second"]
