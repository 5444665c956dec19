"""One graph under several event loops, Ctrl-C during a run, and loops that take no signal handlers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import PrivateAttr

from metascale import MetaScaleSettings, create_metascale
from metascale.cli.session import Session
from metascale.result import troubles
from tests.conftest import QUESTION, ServerFactory, ask, chat_model
from tests.openai_server import FOR_EVER, OpenAIServer
from tests.scripted import ScriptedModel, TimedModel, sensible
from tests.waiting import CEILING

SETTINGS = MetaScaleSettings(budget=6, batch_size=3, pool_size=4, confirm=0, stop_on_agreement=None)


def same_as_first(graph: Any, server: OpenAIServer, runs: int = 3) -> None:
    """Ask in loops of their own, and check that every run goes as the first."""
    calls = []
    for _ in range(runs):
        before = server.requests.total()
        result = asyncio.run(graph.ainvoke(ask()))["result"]
        calls.append((server.requests.total() - before, result["usage"]["calls"]))
        assert result["usage"]["samples"] == 6
        assert troubles(result["notes"]) == []
    assert calls == [(13, 13)] * runs


@pytest.mark.parametrize("options", [{"max_retries": 0}, {}], ids=["retries here", "retries in the client"])
def test_a_second_loop_is_as_good_as_the_first(start_server: ServerFactory, options: dict[str, Any]) -> None:
    server = start_server()
    same_as_first(create_metascale(chat_model(server, **options), settings=SETTINGS), server)


def test_another_model_of_the_same_address_shares_the_connections(start_server: ServerFactory) -> None:
    server = start_server()
    for _ in range(3):
        same_as_first(create_metascale(chat_model(server, max_retries=0), settings=SETTINGS), server, runs=1)


def test_a_loop_is_used_after_the_model_itself_was(start_server: ServerFactory) -> None:
    server = start_server()
    model = chat_model(server, max_retries=0)
    graph = create_metascale(model, settings=SETTINGS)
    same_as_first(graph, server, runs=1)
    assert troubles(graph.invoke(ask())["result"]["notes"]) == []
    same_as_first(graph, server, runs=2)


def test_two_loops_at_the_same_time(start_server: ServerFactory) -> None:
    server = start_server(latency=0.02)
    graph = create_metascale(chat_model(server, max_retries=0), settings=SETTINGS)
    results: list[Any] = []

    def run() -> None:
        results.append(asyncio.run(graph.ainvoke(ask()))["result"])

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(CEILING)
    assert [(result["usage"]["samples"], troubles(result["notes"])) for result in results] == [(6, [])] * 3


def test_a_client_of_the_users_own_that_belongs_to_a_closed_loop_is_helped_out(start_server: ServerFactory) -> None:
    from openai import DefaultAsyncHttpxClient  # noqa: PLC0415

    server = start_server()
    model = chat_model(server, max_retries=0, http_async_client=DefaultAsyncHttpxClient())
    graph = create_metascale(model, settings=SETTINGS)
    for _ in range(3):
        before = server.requests.total()
        result = asyncio.run(graph.ainvoke(ask()))["result"]
        assert (result["usage"]["samples"], troubles(result["notes"])) == (6, [])
        assert result["usage"]["calls"] == server.requests.total() - before <= 13 + 3


class LoopBound(ScriptedModel):
    """A model whose asynchronous client serves only the loop that it served first."""

    _loop: Any = PrivateAttr(default=None)

    async def _agenerate(self, *given: Any, **options: Any) -> ChatResult:
        self._loop = self._loop or asyncio.get_running_loop()
        if self._loop is not asyncio.get_running_loop():
            try:
                raise RuntimeError("Event loop is closed")
            except RuntimeError as error:
                raise ConnectionError("Connection error.") from error
        return await super()._agenerate(*given, **options)


def test_a_model_of_any_class_answers_in_a_second_loop() -> None:
    graph = create_metascale(LoopBound(write=sensible), settings=SETTINGS)
    for _ in range(2):
        result = asyncio.run(graph.ainvoke(ask()))["result"]
        assert result["usage"]["samples"] == 6
        assert troubles(result["notes"]) == ["the server reported no token usage"]


@pytest.fixture(autouse=True)
def _python_handles_interrupts() -> Iterator[None]:
    """Python's own handler, which is missing where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


INTERRUPTED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from langchain_openai import ChatOpenAI
from metascale import MetaScaleSettings, create_metascale
model = ChatOpenAI(model="loopback", base_url={url!r}, api_key="none", max_retries=0)
graph = create_metascale(model, settings=MetaScaleSettings(budget=8, batch_size={batch_size}, pool_size=2))
try:
    graph.invoke({{"messages": [{{"role": "user", "content": "Why?"}}]}})
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_interrupt_of_invoke_surfaces_at_once(start_server: ServerFactory, batch_size: int) -> None:
    server = start_server(latency=lambda kind, _: FOR_EVER if kind == "solve" else 0.0)
    program = INTERRUPTED.format(url=server.url, batch_size=batch_size)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + CEILING
    while server.requests["solve"] < min(2, batch_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=CEILING)
    assert out == "interrupted\n", "the server never answers, so only the interrupt can have ended it"
    assert process.returncode == 0


def test_the_handler_of_a_program_is_left_alone() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    handler = signal.getsignal(signal.SIGINT)
    try:
        create_metascale("simulated", settings=SETTINGS).invoke(ask())
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    create_metascale("simulated", settings=SETTINGS).invoke(ask())
    assert signal.getsignal(signal.SIGINT) is before


class RefusingLoop(asyncio.SelectorEventLoop):
    """A loop that takes no signal handlers, as on Windows."""

    def add_signal_handler(self, *_: Any) -> None:
        raise NotImplementedError

    def remove_signal_handler(self, *_: Any) -> bool:
        raise NotImplementedError


def solved(watch: Any, takes: float = 0.0) -> Any:
    """A session's end, on a loop that takes no signal handlers."""

    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
        said = sensible(kind, number, messages)
        return AIMessage(str(said), usage_metadata={"input_tokens": 9, "output_tokens": 9, "total_tokens": 18})

    model = TimedModel(write=write, takes=lambda kind, number: takes if (kind, number) == ("solve", 3) else 0.0)
    settings = MetaScaleSettings(budget=6, batch_size=1, pool_size=2, confirm=0, evolution="off")
    graph = create_metascale(model, settings=settings, checkpointer=InMemorySaver())
    with asyncio.Runner(loop_factory=RefusingLoop) as runner:
        return runner.run(Session(graph, settings, "t").solve(QUESTION, watch))


def test_a_question_is_answered_where_the_loop_takes_no_signal_handlers() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert solved(lambda _: None).result["stop_reason"] == "budget"
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_gives_the_best_answer_where_the_loop_takes_no_signal_handlers() -> None:
    def interrupt_at_three(state: Any) -> None:
        if len(state["candidates"]) == 3 and state["candidates"][-1]["reward"] is not None:
            os.kill(os.getpid(), signal.SIGINT)

    ended = solved(interrupt_at_three, takes=FOR_EVER)
    assert ended.result["stop_reason"] == "interrupted"
    assert ended.result["answer"]


def test_outside_the_main_thread_a_question_is_answered_too() -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(solved(lambda _: None)))
    thread.start()
    thread.join(CEILING)
    assert found[0].result["stop_reason"] == "budget"
