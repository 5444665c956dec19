"""`max_cost_usd`: no request is sent beyond it, whatever fails, stops or resumes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from metascale import MetaScaleSettings, SettingError, create_metascale, grant
from metascale.budget.limits import calls_paid_for
from metascale.errors import OutOfMoneyError
from metascale.interrupts import AnswerError, granted_by
from metascale.models.purse import Purse
from metascale.rewards import JudgeReward
from metascale.settings import Price
from metascale.usage import no_usage
from tests.command_line import invoke
from tests.conftest import THREAD, ServerFactory, ask, chat_model
from tests.ledgers import ledger, spent
from tests.openai_server import Fault, OpenAIServer

PRICE = Price(input=100.0, output=400.0, cached=50.0)
"""So high that a few requests cost dollars."""


def charged_by(server: OpenAIServer) -> float:
    """What the server charges for every completion that it sent, cached tokens at their price."""
    return sum(PRICE.of(one.input_tokens, one.output_tokens, one.cached_tokens) for one in server.served)


def limited(**settings: Any) -> MetaScaleSettings:
    drawn: dict[str, Any] = {"budget": 64, "stop_on_agreement": None, "reward": "judge", "seed": 1}
    return MetaScaleSettings.model_validate({**drawn, "prices": {"loopback": PRICE}, **settings})


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_no_request_is_sent_beyond_the_limit(start_server: ServerFactory, batch_size: int) -> None:
    server = start_server()
    settings = limited(max_cost_usd=3.0, batch_size=batch_size)
    result = create_metascale(chat_model(server), settings=settings).invoke(ask())["result"]
    dearest = max(PRICE.of(one.input_tokens, one.output_tokens) for one in server.served)
    assert result["stop_reason"] == "max_cost_usd"
    assert result["usage"]["cost_usd"] == pytest.approx(charged_by(server))
    assert 1.5 < charged_by(server) < 3.0 + batch_size * dearest
    assert server.requests.total() == result["usage"]["calls"]
    assert result["answer"]


def test_requests_in_flight_are_all_that_goes_beyond() -> None:
    purse = Purse(1.0)
    for _ in range(3):
        purse.ask()
    assert purse.pay(0.6) + purse.pay(0.6) == pytest.approx(1.2)
    with pytest.raises(OutOfMoneyError, match="max_cost_usd"):
        purse.ask()
    purse.pay(None)
    assert purse.usd == pytest.approx(1.8), "a lost request counts as the dearest one"


def test_a_purse_inside_another_pays_out_of_both() -> None:
    together = Purse(1.0, max_calls=3)
    first, second = Purse(inside=together), Purse(0.2, inside=together)
    for purse, usd in ((first, 0.5), (second, 0.3)):
        purse.ask()
        purse.pay(usd)
    first.ask()
    with pytest.raises(OutOfMoneyError, match="max_calls"):
        first.ask()
    assert together.usd == pytest.approx(0.8)
    assert second.is_limited
    assert first.is_limited


def test_lost_requests_count_so_that_the_limit_holds(start_server: ServerFactory) -> None:
    def every_other_reply_breaks(kind: str, number: int, _: dict[str, Any]) -> Fault | None:
        return Fault(breaks="half") if kind == "solve" and number % 2 else None

    server = start_server(script=every_other_reply_breaks)
    settings = limited(max_cost_usd=2.0, batch_size=1, max_failures=50, max_retries=0)
    result = create_metascale(chat_model(server, max_retries=0), settings=settings).invoke(ask())["result"]
    assert result["stop_reason"] == "max_cost_usd"
    assert result["usage"]["cost_usd"] is None
    dearest = max(PRICE.of(one.input_tokens, one.output_tokens) for one in server.served)
    assert server.requests.total() * dearest < 2 * (2.0 + dearest), "lost requests were counted"
    assert charged_by(server) < 2.0 + dearest


def test_a_model_without_a_price_is_an_error_before_the_first_request(start_server: ServerFactory) -> None:
    server, judge = start_server(), start_server()
    graph = create_metascale(chat_model(server), settings=MetaScaleSettings(budget=4, max_cost_usd=1.0))
    with pytest.raises(SettingError, match="no price of the model 'loopback' is known; set it: prices="):
        graph.invoke(ask())
    own = chat_model(judge).model_copy(update={"model_name": "own-judge"})
    graph = create_metascale(chat_model(server), reward=JudgeReward(own), settings=limited(max_cost_usd=1.0))
    with pytest.raises(SettingError, match="'own-judge'"):
        graph.invoke(ask())
    assert server.requests.total() + judge.requests.total() == 0


def test_a_person_is_asked_for_dollars_and_the_bill_goes_on(start_server: ServerFactory) -> None:
    server = start_server()
    settings = limited(budget=128, max_cost_usd=2.0, ask_for_budget=True, confirm=0)
    graph = create_metascale(chat_model(server), settings=settings, checkpointer=InMemorySaver())
    (asked,) = graph.invoke(ask(), THREAD)["__interrupt__"]
    assert (asked.value["stop_reason"], asked.value["max_cost_usd"]) == ("max_cost_usd", 2.0)
    before = charged_by(server)
    (again,) = graph.invoke(Command(resume=2.0), THREAD)["__interrupt__"]
    assert again.value["max_cost_usd"] == 4.0
    assert before + 1.0 < charged_by(server) < 5.0
    result = graph.invoke(Command(resume=0), THREAD)["result"]
    assert result["stop_reason"] == "max_cost_usd"
    more = graph.invoke(grant(usd=1.0), THREAD)
    assert "__interrupt__" in more
    assert charged_by(server) > 4.0 - 0.5


@pytest.mark.parametrize("more", [{"granted_usd": 1.0}, {"granted": 2}])
def test_granted_dollars_are_spent_though_the_answers_agree(more: dict[str, Any]) -> None:
    usage = spent(6, 12, cost_usd=0.5)
    book = ledger(6, usage=usage, budget=8, max_cost_usd=2.0, confirm=0)
    agreeing = replace(book, candidates=[{**one, "extracted": "7"} for one in book.candidates])
    assert agreeing.stop_reason == "agreement"
    assert replace(agreeing, **more).stop_reason is None
    hopeless: Any = {"outlook": "hopeless", "length": 100}
    capped = ledger(6, usage=usage, budget=64, max_cost_usd=2.0)
    assert replace(capped, foresight=hopeless).limits.budget == 32
    assert replace(capped, foresight=hopeless, **more).limits.budget >= 64


def test_what_was_spent_before_a_stop_counts_after_it(start_server: ServerFactory) -> None:
    server = start_server()
    saver = InMemorySaver()
    settings = limited(max_cost_usd=3.0, batch_size=2)
    begun: RunnableConfig = {"configurable": {"thread_id": "t"}}
    for _ in range(30):
        graph = create_metascale(chat_model(server), settings=settings, checkpointer=saver)
        given = None if graph.get_state(begun).next else ask()
        out = graph.invoke(given, begun, interrupt_after=["score"])
        if out.get("result"):
            break
    assert out["result"]["stop_reason"] == "max_cost_usd"
    assert 1.5 < charged_by(server) < 3.5


def test_rounds_shrink_to_what_the_money_pays_for() -> None:
    usage = spent(4, 8, cost_usd=0.8)
    book = ledger(4, usage=usage, budget=64, max_cost_usd=1.2, confirm=0)
    assert book.samples_left() == 2, "four more requests at ten cents each"
    assert ledger(4, usage=usage, budget=64, max_cost_usd=0.85, confirm=0).stop_reason == "max_cost_usd"
    assert ledger(4, usage=usage, budget=64, max_cost_usd=0.85, max_calls=8).stop_reason == "max_calls"
    assert calls_paid_for(1.0, no_usage()) is None


def test_answers_about_dollars() -> None:
    assert granted_by(0.5, "max_cost_usd").usd == 0.5
    assert granted_by("0.5", "max_cost_usd").usd == 0.5
    assert granted_by(4, "budget").samples == 4
    assert granted_by({"samples": 2, "usd": 1}, "budget").usd == 1
    for wrong in (-1, True, "many", {"dollars": 1}, float("inf")):
        with pytest.raises(AnswerError):
            granted_by(wrong, "max_cost_usd")
    with pytest.raises(AnswerError):
        grant()


def test_the_command_line_takes_the_limit() -> None:
    told = invoke("solve", "What is 2 + 2?", "--model", "simulated", "--max-cost-usd", "1")
    assert told.exit_code == 2
    assert "no price of the model 'simulated'" in told.stderr
    assert invoke("solve", "What is 2 + 2?", "--model", "simulated", "--max-cost-usd", "0").exit_code == 2
