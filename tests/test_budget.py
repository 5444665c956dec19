"""The budget is kept and the bill is right."""

from __future__ import annotations

import time
from typing import Any

import pytest

from metascale import MetaScaleSettings, create_metascale
from tests.conftest import ServerFactory, ask, chat_model
from tests.openai_server import Fault
from tests.scripted import ScriptedModel, sensible, verdict


@pytest.mark.parametrize("batch_size", [1, 4, 8, 16])
@pytest.mark.parametrize("budget", [1, 2, 7, 16, 33])
def test_server_and_usage_agree(start_server: ServerFactory, budget: int, batch_size: int) -> None:
    server = start_server()
    settings = MetaScaleSettings(stop_on_agreement=None, budget=budget, batch_size=batch_size, stragglers="wait")
    graph = create_metascale(chat_model(server), settings=settings)
    result = graph.invoke(ask())["result"]
    usage = result["usage"]
    assert server.count("solve") == usage["samples"] == budget
    assert usage["calls"] == server.requests.total()
    assert (usage["input_tokens"], usage["output_tokens"]) == (server.input_tokens, server.output_tokens)
    assert result["stop_reason"] == "budget"
    assert usage["cost_usd"] is None


async def test_a_round_runs_in_parallel_and_seconds_are_wall_clock(start_server: ServerFactory) -> None:
    server = start_server(latency=0.2, ready=lambda kind, _: kind != "solve" or server.requests["solve"] >= 8)
    settings = MetaScaleSettings(budget=8, batch_size=8, reward="judge")
    started = time.time()
    usage = (await create_metascale(chat_model(server), settings=settings).ainvoke(ask()))["result"]["usage"]
    assert server.count("solve") == 8, "none was answered before all had come"
    assert 3 * 0.2 <= usage["seconds"] <= time.time() - started


def test_a_synchronous_round_is_as_wide(start_server: ServerFactory) -> None:
    server = start_server(ready=lambda kind, _: kind == "compose" or server.requests[kind] >= 16)
    settings = MetaScaleSettings(budget=16, batch_size=16, confirm=0)
    create_metascale(chat_model(server), settings=settings).invoke(ask())
    assert (server.count("solve"), server.count("judge")) == (16, 16), "none was answered before all had come"


async def test_max_concurrency_of_the_caller_holds(start_server: ServerFactory) -> None:
    server = start_server(latency=0.05)
    settings = MetaScaleSettings(budget=8, batch_size=8, reward="judge")
    graph = create_metascale(chat_model(server), settings=settings)
    await graph.ainvoke(ask(), {"max_concurrency": 2})
    for kind in ("solve", "judge"):
        spans = [(s.started, s.finished) for s in server.served if s.kind == kind]
        assert max(sum(a <= start < b for a, b in spans) for start, _ in spans) <= 2


def test_prices_give_the_cost(start_server: ServerFactory) -> None:
    server = start_server()
    prices = {"loopback": {"input": 2.0, "output": 8.0}}
    settings = MetaScaleSettings.model_validate({"budget": 4, "prices": prices})
    usage = create_metascale(chat_model(server), settings=settings).invoke(ask())["result"]["usage"]
    assert usage["cost_usd"] == pytest.approx((2 * server.input_tokens + 8 * server.output_tokens) / 1e6)


@pytest.mark.parametrize(
    ("limit", "reason", "check"),
    [
        ({"max_calls": 11}, "max_calls", lambda usage: usage["calls"] <= 11),
        ({"max_tokens_total": 2_000}, "max_tokens_total", lambda usage: usage["input_tokens"] < 8_000),
        ({"target_reward": 0.5}, "target_reward", lambda usage: usage["samples"] == 4),
    ],
)
def test_other_limits_stop_at_round_boundaries(
    start_server: ServerFactory, limit: dict[str, Any], reason: str, check: Any
) -> None:
    server = start_server(script=lambda kind, *_: Fault(text=verdict(6)) if kind == "judge" else None)
    settings = MetaScaleSettings.model_validate({"stop_on_agreement": None, "budget": 64, **limit})
    result = create_metascale(chat_model(server), settings=settings).invoke(ask())["result"]
    assert result["stop_reason"] == reason
    assert check(result["usage"])
    assert result["usage"]["samples"] < 64


def test_failed_samples_cost_no_budget_and_are_reported(start_server: ServerFactory) -> None:
    def every_third_fails(kind: str, number: int, _: dict[str, Any]) -> Fault | None:
        return Fault(400, '{"error": {"message": "no luck"}}') if kind == "solve" and number % 3 == 0 else None

    server = start_server(script=every_third_fails)
    graph = create_metascale(chat_model(server), settings=MetaScaleSettings(budget=12, stop_on_agreement=None))
    result = graph.invoke(ask())["result"]
    assert server.count("solve") == result["usage"]["samples"] == 12
    assert result["usage"]["calls"] == server.requests.total()
    assert any("samples failed" in note and "no luck" in note for note in result["notes"])


def test_a_run_gives_up_when_nothing_but_failures_come() -> None:
    def dies_after_four(kind: str, number: int, messages: Any) -> Any:
        return ConnectionError("gone") if kind == "solve" and number >= 4 else sensible(kind, number, messages)

    settings = MetaScaleSettings(budget=100, max_failures=6, max_retries=0)
    result = create_metascale(ScriptedModel(write=dies_after_four), settings=settings).invoke(ask())["result"]
    assert result["stop_reason"] == "failures"
    assert result["usage"]["samples"] == 4
    assert result["answer"].startswith("Answer")


def test_transient_failures_are_retried_and_billed(start_server: ServerFactory) -> None:
    def hiccup(_: str, number: int, __: dict[str, Any]) -> Fault | None:
        return Fault(503, "{}", headers={"retry-after": "0"}) if number % 4 == 0 else None

    server = start_server(script=hiccup)
    model = chat_model(server, max_retries=0)
    result = create_metascale(
        model, settings=MetaScaleSettings(budget=6, reward="judge", stop_on_agreement=None)
    ).invoke(ask())["result"]
    assert result["usage"]["samples"] == server.count("solve") == 6
    assert result["usage"]["calls"] == server.requests.total() > 14


def test_a_tight_recursion_limit_ends_early_and_says_so() -> None:
    settings = MetaScaleSettings(budget=64, batch_size=1)
    graph = create_metascale(ScriptedModel(write=sensible), settings=settings)
    result = graph.invoke(ask(), {"recursion_limit": 25})["result"]
    assert result["stop_reason"] == "step_limit"
    assert 1 <= result["usage"]["samples"] < 64
