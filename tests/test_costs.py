"""What a benchmark costs: told before it starts, and billed afterwards, by the same prices of the same models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metascale import MetaScaleSettings
from metascale.costs import ANSWER_TOKENS, INSTRUCTIONS, cost, unpriced
from metascale.evals.harness.bench import BenchPlan, plan
from metascale.evals.report.logs import read_logs
from metascale.graphs import METHODS
from metascale.settings import Price, price_of
from tests.bench_process import bench
from tests.command_line import invoke
from tests.conftest import ServerFactory, ask, chat_model
from tests.openai_server import OpenAIServer

CHEAP, DEAR = Price(input=0.15, output=0.6), Price(input=30.0, output=60.0)


@pytest.mark.parametrize(
    "model",
    ["gpt-4o-mini", "openai:gpt-4o-mini", "openai/gpt-4o-mini", "openai-api/local/gpt-4o-mini"],
)
@pytest.mark.parametrize("key", ["gpt-4o-mini", "openai:gpt-4o-mini", "openai/gpt-4o-mini"])
def test_a_price_is_found_by_any_spelling(model: str, key: str) -> None:
    assert price_of({key: CHEAP, "gpt-4o": DEAR}, model, "openai") == CHEAP


def test_the_longest_fitting_name_has_the_price() -> None:
    prices = {"llama": CHEAP, "meta/llama": DEAR, "groq/meta/llama:free": Price(input=0, output=0)}
    assert price_of(prices, "groq:meta/llama") == DEAR
    assert price_of(prices, "together/llama") == CHEAP
    assert price_of(prices, "groq/meta/llama:free") == Price(input=0, output=0)
    assert price_of(prices, "meta/llama-guard") is None


def test_no_other_model_and_no_other_provider_lends_its_price() -> None:
    assert price_of({"azure/own-4o": DEAR, "own-4o-mini": CHEAP, "4o": CHEAP}, "openai/own-4o") is None
    assert price_of({"a/b": CHEAP, "a:b": DEAR}, "x/a/b") is None
    assert price_of({"a/b": CHEAP, "a:b": DEAR}, "a:b") == DEAR
    assert price_of({}, "gpt-4o") is None


@pytest.mark.parametrize("key", ["loopback", "openai:loopback", "openai/loopback"])
def test_a_run_is_billed_by_any_spelling(start_server: ServerFactory, key: str) -> None:
    settings = MetaScaleSettings(budget=2, prices={key: CHEAP})
    usage = METHODS["best_of_n"].create(chat_model(start_server()), settings=settings).invoke(ask())["result"]["usage"]
    assert usage["cost_usd"] == pytest.approx(CHEAP.of(usage["input_tokens"], usage["output_tokens"]))


def laid(**changes: Any) -> BenchPlan:
    given = {"tasks": ["gsm8k"], "methods": ["best_of_n"], "budgets": [4], "task_args": {}, "limit": 10}
    return plan(**{"model": "openai:gpt-4o-mini", "judge_model": "openai:gpt-4", **given, **changes})


def test_the_judge_is_priced_as_the_judge() -> None:
    prices = {"gpt-4o-mini": CHEAP, "openai/gpt-4": DEAR}
    solver, judge = laid(settings={"confirm": 1}).parts
    assert (solver.role, solver.models, solver.calls) == ("solver", ("openai/gpt-4o-mini",), 40)
    assert (judge.role, judge.models, judge.calls) == ("judge", ("openai/gpt-4",), 50)
    written = 50 * INSTRUCTIONS["judgement"].output * DEAR.output / 1e6
    assert judge.cost(prices) == pytest.approx(written + judge.tokens.input * DEAR.input / 1e6)
    assert solver.cost(prices) == pytest.approx(CHEAP.of(solver.tokens.input, 40 * ANSWER_TOKENS))
    judged = laid(judge_model="openai:own-judge").parts
    assert cost(judged, {"gpt-4o-mini": CHEAP}) is None
    assert unpriced(judged, {"gpt-4o-mini": CHEAP}) == ["openai/own-judge (judge)"]


def test_members_of_a_panel_and_reward_models_have_their_own_prices() -> None:
    panel = [{"model": None}, {"model": "simulated"}]
    parts = laid(settings={"reward": "panel", "panel": panel, "confirm": 2}).parts
    assert [(part.models, part.calls) for part in parts[1:]] == [
        (("openai/gpt-4",), 40),
        (("simulated",), 40),
        (("openai/gpt-4", "simulated"), 20),
    ]
    dear = {"gpt-4o-mini": CHEAP, "gpt-4": DEAR}
    assert parts[2].cost(dear) == 0
    assert parts[3].cost(dear) == pytest.approx(DEAR.of(*parts[3].tokens))
    served = {"api": "vllm_classify", "model": "skywork", "url": "http://localhost:1"}
    (_, reward) = laid(judge_model=None, settings={"reward": "reward_model", "reward_model": served}).parts
    assert reward.models == ("skywork",)


def test_the_arena_asks_for_the_baseline_once() -> None:
    arena = {"judge_model": "openai/gpt-4.1", "baseline_model": "openai/gpt-4-0314"}
    found = laid(tasks=["arena_hard"], methods=["direct", "mrp"], epochs=3, task_args=arena)
    assert [(part.role, part.models[0], part.calls) for part in found.parts] == [
        ("solver", "openai/gpt-4o-mini", 90),
        ("arena's judge", "openai/gpt-4.1", 120),
        ("arena's baseline", "openai/gpt-4-0314", 10),
    ]
    assert found.calls == 220


def test_an_estimate_names_the_price_that_is_missing(tmp_path: Path) -> None:
    options = ["--model", "openai/gpt-4o-mini", "--judge-model", "openai:own-judge", "--method", "best_of_n"]
    options += ["--budget", "4", "--limit", "5", "--log-dir", str(tmp_path / "logs")]
    prices = {"gpt-4o-mini": CHEAP.model_dump()}
    said = invoke("bench", *options, "--set", f"prices={json.dumps(prices)}").stderr
    assert "the cost is unknown: no price of openai/own-judge (judge)" in said
    said = invoke(
        "bench", *options, "--set", f"prices={json.dumps(prices | {'openai:own-judge': DEAR.model_dump()})}"
    ).stderr
    assert "unknown" not in said
    told = {line.split()[0]: line.split()[-1] for line in said.splitlines() if "$" in line}
    assert told["solver"] == "$0.01"
    assert told["judge"].startswith("$1.")
    assert said.count("about $1.") == 1


def bill_by_model(server: OpenAIServer, prices: dict[str, Price]) -> float:
    return sum(prices[one.body["model"]].of(one.input_tokens, one.output_tokens) for one in server.served)


def test_the_bill_is_the_servers_and_within_the_estimate(tmp_path: Path, start_server: ServerFactory) -> None:
    server = start_server()
    prices = {"small": CHEAP, "large": DEAR}
    stated = json.dumps({"openai:small": CHEAP.model_dump(), "openai/large": DEAR.model_dump()})
    options = ["--model", "openai:small", "--judge-model", "openai:large", "--base-url", server.url]
    options += ["--method", "metascale", "--budget", "4", "--limit", "3", "--set", f"prices={stated}"]
    done = bench(tmp_path, *options)
    assert done.code == 0, done.said
    bills = [answer.usage for answer in read_logs([tmp_path / "logs"]) if answer.usage]
    paid = sum(bill["cost_usd"] or 0.0 for bill in bills)
    assert paid == pytest.approx(bill_by_model(server, prices))
    assert {one.body["model"] for one in server.served} == set(prices)
    assert server.count("compose") == 3
    given = {"model": "openai:small", "judge_model": "openai:large", "base_url": server.url, "methods": ["metascale"]}
    most = cost(laid(**given, limit=3).parts, prices)
    assert most is not None
    assert paid <= most < 20 * paid
