"""A command says what it will cost before its first request, and the bill agrees."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from metascale import MetaScaleSettings, batch
from metascale.batches.estimate import Estimate, PricedModels, estimate
from metascale.batches.limits import SharedLimits
from metascale.data import gsm8k
from metascale.models import MeteredModel, resolve_models
from metascale.models.simulated import SimulatedChatModel
from metascale.settings import Price
from tests.command_line import invoke
from tests.conftest import ServerFactory

QUESTIONS = [row["question"] for row in gsm8k()[:6]]
PRICE = Price(input=1.0, output=4.0)
SETTINGS = MetaScaleSettings(pool_size=3, seed=1)
NOWHERE = "http://127.0.0.1:9"


def estimated(settings: MetaScaleSettings = SETTINGS, method: str = "metascale", **limits: Any) -> Estimate:
    models = PricedModels("solver", "judge", {"solver": PRICE, "judge": PRICE})
    return estimate(QUESTIONS, settings, SharedLimits(**limits), method, models)


def calls(found: Estimate) -> int:
    return sum(part.calls for part in found.likely)


@pytest.mark.parametrize("samples", [24, 60, 96])
def test_a_batch_takes_no_more_requests_than_told_and_about_as_many_as_are_likely(samples: int) -> None:
    found = estimated(samples=samples)
    rows = batch(QUESTIONS, SimulatedChatModel(), settings=SETTINGS, budget_total=samples)
    asked = sum(row["calls"] for row in rows)
    assert found.most_calls is not None
    assert asked <= found.most_calls < 3 * asked
    assert asked / 1.5 < calls(found) < asked * 1.5


def test_limits_bound_what_is_told() -> None:
    free = estimated()
    assert free.most_calls is not None
    assert free.most_usd is not None
    assert free.likely_usd is not None
    assert calls(free) < free.most_calls
    assert free.likely_usd < free.most_usd
    by_money, by_calls = estimated(max_cost_usd=0.5), estimated(max_calls=90)
    assert (by_money.most_usd, by_money.most_calls) == (0.5, None)
    assert by_money.likely_usd is not None
    assert 0.3 < by_money.likely_usd <= 0.5
    assert by_calls.most_calls == 90
    assert 60 < calls(by_calls) <= 90
    assert estimated(SETTINGS.overlaid_by(MetaScaleSettings(max_calls=10))).most_calls == 60
    assert calls(estimated(method="direct")) == len(QUESTIONS)


def test_answers_that_may_be_longer_cost_more_at_most() -> None:
    long = estimated(SETTINGS.overlaid_by(MetaScaleSettings(max_tokens=8_000)))
    assert long.most_usd is not None
    assert long.most_usd > 2 * (estimated().most_usd or 0)
    assert long.likely_usd == estimated().likely_usd


def test_a_dry_run_says_what_it_costs_and_asks_nothing(start_server: ServerFactory, tmp_path: Path) -> None:
    server, file, out = start_server(), tmp_path / "questions.txt", tmp_path / "answers.jsonl"
    file.write_text("\n".join(QUESTIONS))
    given = ["--model", "openai:loopback", "--base-url", server.url]
    priced = ["--set", f"prices={json.dumps({'loopback': PRICE.model_dump()})}"]
    asking = ["batch", str(file), "--out", str(out), "--budget-total", "24", *given]
    done = invoke(*asking, *priced, "--dry-run")
    assert (done.exit_code, done.stdout, server.requests.total(), out.exists()) == (0, "", 0, False)
    said = r"likely \d+ model requests and [\d,]+ tokens, \$0\.\d\d; at most \d+ model requests and \$0\.\d\d"
    assert re.search(said, done.stderr)
    assert "the cost is unknown: no price of loopback (solver)" in invoke(*asking, "--dry-run").stderr
    one = invoke("solve", QUESTIONS[0], *given, *priced, "--dry-run")
    assert (one.exit_code, one.stdout, server.requests.total()) == (0, "", 0)
    assert "likely" in one.stderr
    assert "likely" in invoke(*asking, *priced).stderr
    assert "free" in invoke("solve", QUESTIONS[0], "--model", "simulated", "--dry-run").stderr
    assert invoke("batch", str(file), "--out", str(out), "--remote", "http://127.0.0.1:9", "--dry-run").exit_code == 2


def test_a_judge_that_is_named_is_part_of_what_is_likely(tmp_path: Path) -> None:
    file = tmp_path / "questions.txt"
    file.write_text("\n".join(QUESTIONS))
    given = ["--model", "openai:solver", "--base-url", NOWHERE, "--dry-run"]
    for command in (["solve", QUESTIONS[0]], ["batch", str(file), "--out", str(tmp_path / "answers.jsonl")]):
        assert "(judge)" not in invoke(*command, *given).stderr
        assert "judge (judge)" in invoke(*command, *given, "--judge-model", "openai:judge").stderr


def test_of_several_models_the_dearest_bounds_the_cost() -> None:
    models = [MeteredModel(model) for model in resolve_models("openai:cheap,openai:dear,openai:fair", base_url=NOWHERE)]
    prices = {"cheap": PRICE, "dear": Price(input=10.0, output=40.0), "fair": Price(input=2.0, output=8.0)}
    found = PricedModels.of(models, (), MetaScaleSettings(prices=prices))
    assert (found.solver, found.judge) == ("dear", "cheap")
    assert PricedModels.of(models, (), MetaScaleSettings(prices={"cheap": PRICE, "dear": PRICE})).solver == "fair"
