"""The gate: it limits the requests in flight to a server, and every waiting request gets its turn."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.rate_limiters import InMemoryRateLimiter

from metascale import MetaScaleSettings, create_metascale
from metascale.models import SimulatedChatModel
from metascale.models import gate as gate_module
from metascale.models.gate import Gate, gate_of
from metascale.models.retries import LONGEST_WAIT, retry_after
from tests.conftest import ServerFactory, ask, chat_model
from tests.openai_server import Fault
from tests.waiting import CEILING


def refusal(status: int = 429, **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://server/v1")
    response = httpx.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return httpx.HTTPStatusError("refused", request=request, response=response)


async def work(seconds: float = 0.0, error: Exception | None = None) -> None:
    await asyncio.sleep(seconds)
    if error is not None:
        raise error


async def through(gate: Gate, at_most: int, seconds: float = 0.0, error: Exception | None = None) -> None:
    place = await gate.enter(at_most)
    await place.task(work(seconds, error))


@given(st.integers(1, 5), st.lists(st.sampled_from(["goes well", "is refused", "is cancelled"]), max_size=30))
@settings(deadline=None, max_examples=60)
def test_all_requests_come_through_and_never_too_many_at_once(at_most: int, fates: list[str]) -> None:
    gate, most = Gate(), 0

    async def one(fate: str) -> str:
        nonlocal most
        place = await gate.enter(at_most)
        most = max(most, gate.inside)
        task = place.task(work(0.0, refusal() if fate == "is refused" else None))
        if fate == "is cancelled":
            task.cancel()
        await asyncio.wait([task])
        return fate

    async def everybody() -> list[str]:
        return await asyncio.wait_for(asyncio.gather(*(one(fate) for fate in fates)), CEILING)

    assert asyncio.run(everybody()) == fates
    assert most <= at_most
    assert gate.inside == 0


def test_many_threads_and_loops_lose_no_place_and_no_wake_up() -> None:
    gate, done, most = Gate(), [], [0]

    async def one(rng: random.Random) -> None:
        entering = asyncio.create_task(through(gate, 3, rng.random() / 500))
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() / 200)
            entering.cancel()
        most[0] = max(most[0], gate.inside)
        await asyncio.wait([entering])
        done.append(1)

    async def many(seed: int) -> None:
        rng = random.Random(seed)
        await asyncio.gather(*(one(rng) for _ in range(60)))

    threads = [threading.Thread(target=asyncio.run, args=(many(seed),), daemon=True) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(CEILING)
    assert len(done) == 8 * 60
    assert gate.inside == 0
    assert most[0] <= 3


async def test_requests_enter_in_order_and_retries_enter_first() -> None:
    gate, order = Gate(), []

    async def one(name: str, *, is_retry: bool = False) -> None:
        place = await gate.enter(1, is_retry=is_retry)
        order.append(name)
        await place.task(work(0.01))

    begun = asyncio.create_task(one("first"))
    await asyncio.sleep(0)
    await asyncio.gather(begun, one("second"), one("third"), one("again", is_retry=True))
    assert order == ["first", "again", "second", "third"]


async def test_a_cancelled_wait_leaves_its_place_to_the_next() -> None:
    gate = Gate()
    place = await gate.enter(1)
    leaving, next_one = asyncio.create_task(gate.enter(1)), asyncio.create_task(through(gate, 1))
    await asyncio.sleep(0.01)
    leaving.cancel()
    await place.task(work())
    await asyncio.wait_for(next_one, CEILING)
    assert gate.inside == 0


async def test_a_wait_in_a_closed_loop_blocks_no_other() -> None:
    gate = Gate()
    place = await gate.enter(1)

    def wait_in_vain() -> None:
        loop = asyncio.new_event_loop()
        waiting = loop.create_task(gate.enter(1))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        waiting._log_destroy_pending = False  # type: ignore[attr-defined]

    await asyncio.to_thread(wait_in_vain)
    await place.task(work())
    await asyncio.wait_for(through(gate, 1), CEILING)
    gc.collect()
    assert gate.inside == 0


async def test_refusals_narrow_the_gate_once_in_a_round_trip_and_successes_widen_it() -> None:
    gate = Gate()
    places = [await gate.enter(64) for _ in range(32)]
    assert gate.width == math.inf
    await asyncio.wait([place.task(work(0.0, refusal() if n < 4 else None)) for n, place in enumerate(places)])
    assert 16 <= gate.width < 18
    gate.width = 16
    await asyncio.gather(*(through(gate, 64) for _ in range(16)))
    assert gate.width == pytest.approx(17, abs=0.5)
    places = [await gate.enter(64) for _ in range(16)]
    await asyncio.wait([place.task(work(0.0, refusal() if n < 12 else None)) for n, place in enumerate(places)])
    assert 4 <= gate.width < 6, "as many as were let through"
    for _ in range(20):
        await asyncio.wait([asyncio.create_task(through(gate, 64, error=refusal()))])
    assert gate.width == 1


class Alarm:
    """A timer that goes off when the test says so."""

    set_to: ClassVar[list[float]] = []

    def __init__(self, seconds: float, act: Callable[[], None]) -> None:
        self.set_to.append(seconds)
        self.daemon = False
        Alarm.go_off = staticmethod(act)

    def start(self) -> None:
        assert self.daemon, "it would keep the process alive"

    @staticmethod
    def go_off() -> None:
        """Do what the latest alarm was set for."""


@pytest.mark.parametrize("status", [429, 503])
async def test_no_request_enters_before_retry_after_is_over(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(gate_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(threading, "Timer", Alarm)
    Alarm.set_to.clear()
    gate = Gate()
    with pytest.raises(httpx.HTTPStatusError):
        await through(gate, 64, error=refusal(status, retry_after="7"))
    assert gate.try_enter(64) is None
    entering = [asyncio.create_task(through(gate, 64)) for _ in range(5)]
    await asyncio.sleep(0)
    now[0] += 6.9
    assert (gate.try_enter(64), gate.inside, Alarm.set_to) == (None, 0, [7.0])
    now[0] += 0.2
    Alarm.go_off()
    await asyncio.wait_for(asyncio.gather(*entering), CEILING)
    assert gate.inside == 0


def test_retry_after_is_read_in_all_its_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    assert retry_after(refusal(retry_after="7")) == 7
    assert retry_after(refusal(retry_after_ms="250", retry_after="7")) == 0.25
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    assert retry_after(refusal(retry_after=formatdate(1_000_000_020, usegmt=True))) == 20
    assert retry_after(refusal(retry_after=formatdate(999_999_980, usegmt=True))) == 0
    assert retry_after(refusal(retry_after="9999")) == LONGEST_WAIT
    for nonsense in ("soon", "", "Fri, 99 Foo 2026"):
        assert retry_after(refusal(retry_after=nonsense)) is None
    assert retry_after(refusal()) is None
    assert retry_after(ConnectionError("gone")) is None


def test_clients_of_one_server_share_its_gate(start_server: ServerFactory) -> None:
    one, other = start_server(), start_server()
    gate = gate_of(chat_model(one), "loopback")
    assert gate is not None
    assert gate_of(chat_model(one, temperature=0.5), "loopback") is gate
    assert gate_of(chat_model(other), "loopback") is not gate
    assert gate_of(chat_model(one), "another") is not gate
    assert gate_of(SimulatedChatModel(), "simulated") is None


def in_flight(server: Any) -> int:
    """The most requests that a server worked on at once."""
    spans = [(served.started, served.finished) for served in server.served]
    return max(sum(begun <= start < ended for begun, ended in spans) for start, _ in spans)


async def test_graphs_in_one_process_share_a_servers_limit(start_server: ServerFactory) -> None:
    server = start_server(latency=0.05)
    chosen = MetaScaleSettings(budget=8, batch_size=8, pool_size=2, confirm=0, max_in_flight=3)
    graphs = [create_metascale(chat_model(server, max_retries=0), settings=chosen) for _ in range(3)]
    outs = await asyncio.gather(*(graph.ainvoke(ask()) for graph in graphs))
    assert in_flight(server) <= 3
    assert all(out["result"]["usage"]["samples"] == 8 for out in outs)
    assert server.requests.total() == sum(out["result"]["usage"]["calls"] for out in outs)
    in_thread = await asyncio.gather(*(asyncio.to_thread(graph.invoke, ask()) for graph in graphs))
    assert in_flight(server) <= 3
    assert all(out["result"]["usage"]["samples"] == 8 for out in in_thread)


async def test_a_server_that_refuses_some_requests_refuses_few(start_server: ServerFactory) -> None:
    at_once = 8
    refused: list[str] = []

    def limited(kind: str, *_: Any) -> Fault | None:
        if server.working <= at_once:
            return None
        refused.append(kind)
        return Fault(429, '{"error": {"message": "slow down"}}', headers={"retry-after": "0.02"})

    server = start_server(
        script=limited, ready=lambda kind, _: kind == "compose" or bool(refused) or server.working > at_once
    )
    chosen = MetaScaleSettings(budget=16, batch_size=16, pool_size=2, confirm=0, max_retries=20)
    graph = create_metascale(chat_model(server, max_retries=0), settings=chosen)
    outs = await asyncio.gather(*(graph.ainvoke(ask()) for _ in range(4)))
    assert [out["result"]["usage"]["samples"] for out in outs] == [16] * 4
    assert all("failed" not in note for out in outs for note in out["result"]["notes"])
    assert server.requests.total() == sum(out["result"]["usage"]["calls"] for out in outs)
    in_vain = server.requests.total() - len(server.served)
    assert 0 < in_vain < len(server.served)


class CountingLimiter(InMemoryRateLimiter):
    let_through = 0

    async def aacquire(self, *, blocking: bool = True) -> bool:
        is_through = await super().aacquire(blocking=blocking)
        self.let_through += is_through
        return is_through


async def test_a_models_own_rate_limiter_is_shared_by_parallel_samples(start_server: ServerFactory) -> None:
    server = start_server()
    limiter = CountingLimiter(requests_per_second=1000, check_every_n_seconds=0.001, max_bucket_size=1)
    model = chat_model(server, rate_limiter=limiter)
    chosen = MetaScaleSettings(budget=8, batch_size=8, pool_size=2, confirm=0)
    await create_metascale(model, settings=chosen).ainvoke(ask())
    assert server.requests.total() == limiter.let_through == 16
