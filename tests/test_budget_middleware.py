"""An agent with a budget ends with what it has, or asks; it never raises, and never forgets its bill."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from metascale import MetaScaleSettings, Price, SettingError
from metascale.integrations import BudgetMiddleware, MetaScaleMiddleware
from tests.conftest import THREAD, ServerFactory, ask, chat_model
from tests.scripted import ScriptedModel

PRICES = {"scripted": Price(input=1_000.0, output=10_000.0)}


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word} is a word"


class Looking(ScriptedModel):
    """Calls its tool again and again; each reply costs 10 + 1 tokens, which are two cents."""

    def bind_tools(self, tools: Any, **options: Any) -> Any:  # noqa: ARG002
        return self


def looks_on(_: str, number: int, __: list[BaseMessage]) -> AIMessage:
    called = [{"name": "look_up", "args": {"word": f"w{number}"}, "id": f"call{number}"}]
    usage: Any = {"input_tokens": 10, "output_tokens": 1, "total_tokens": 11}
    return AIMessage(f"So far I know {number} words.", tool_calls=called, usage_metadata=usage)


def agent_with(**limits: Any) -> tuple[Any, Looking]:
    model = Looking(write=looks_on)
    budget = BudgetMiddleware(prices=PRICES, **limits)
    return create_agent(model, [look_up], middleware=[budget], checkpointer=InMemorySaver()), model


@pytest.mark.parametrize(
    ("limits", "calls", "says"),
    [
        ({"max_calls": 3}, 3, "The budget is spent: 3 of 3 model calls."),
        ({"max_tokens": 30}, 3, "33 of 30 tokens"),
        ({"max_cost_usd": 0.07}, 4, "0.08 of 0.07 US dollars"),
        ({"max_seconds": 1e-9, "max_calls": 50}, 1, "of 1e-09 seconds"),
    ],
)
async def test_it_ends_with_its_best_answer_and_says_why(limits: dict[str, Any], calls: int, says: str) -> None:
    agent, model = agent_with(**limits)
    for out in (agent.invoke(ask(), THREAD), await agent.ainvoke(ask(), {"configurable": {"thread_id": "u"}})):
        last = out["messages"][-1]
        assert last.text.startswith("So far I know ")
        assert says in last.text
        assert not last.tool_calls
        assert set(out) == {"messages"}
    assert sum(len(model.requests(kind)) for kind in {kind for kind, _ in model._requests}) == 2 * calls


def test_the_next_turn_goes_on_with_the_bill() -> None:
    agent, model = agent_with(max_calls=3)
    agent.invoke(ask(), THREAD)
    out = agent.invoke(ask("And now?"), THREAD)
    assert out["messages"][-1].text == "There is no answer, because the budget is spent: 3 of 3 model calls."
    assert len(model._requests) == 3


async def test_it_asks_for_more_and_goes_on_after_the_answer() -> None:
    agent, model = agent_with(max_calls=2, max_cost_usd=0.055, ask=True)
    (asked,) = agent.invoke(ask(), THREAD)["__interrupt__"]
    assert (asked.value["asks"], asked.value["stop_reason"]) == ("grant_budget", "max_calls")
    assert (asked.value["limit"], asked.value["spent"]["calls"]) == (2, 2)
    assert asked.value["answer"].startswith("So far I know ")
    (again,) = agent.invoke(Command(resume="many"), THREAD)["__interrupt__"]
    assert "calls" in again.value["problem"]
    (dollars,) = (await agent.ainvoke(Command(resume=4), THREAD))["__interrupt__"]
    assert (dollars.value["stop_reason"], len(model._requests)) == ("max_cost_usd", 3)
    (dollars,) = agent.invoke(Command(resume={"usd": 0.02}), THREAD)["__interrupt__"]
    assert (dollars.value["limit"], len(model._requests)) == (pytest.approx(0.075), 4)
    out = agent.invoke(Command(resume=0), THREAD)
    assert "US dollars" in out["messages"][-1].text
    assert len(model._requests) == 4


async def test_the_end_is_streamed() -> None:
    agent, _ = agent_with(max_calls=1)
    told = [message async for message, _ in agent.astream(ask(), THREAD, stream_mode="messages")]
    assert "The budget is spent" in told[-1].text
    updates = [update async for update in agent.astream(ask(), {"configurable": {"thread_id": "u"}})]
    assert any("jump_to" not in node for update in updates for node in update.values() if node)


def test_a_search_counts_as_a_whole(start_server: ServerFactory) -> None:
    server = start_server()
    search = MetaScaleMiddleware(settings=MetaScaleSettings(budget=3, confirm=0))
    budget = BudgetMiddleware(max_calls=server.requests.total() + 4)
    agent: Any = create_agent(chat_model(server), [], middleware=[budget, search], checkpointer=InMemorySaver())
    agent.invoke(ask(), THREAD)
    asked = server.requests.total()
    assert asked > 4
    out = agent.invoke(ask("And now?"), THREAD)
    assert "of 4 model calls" in out["messages"][-1].text
    assert server.requests.total() == asked


def test_what_cannot_be_limited_is_an_error_before_the_first_call() -> None:
    model = Looking(write=looks_on)
    agent: Any = create_agent(model, [look_up], middleware=[BudgetMiddleware(max_cost_usd=1.0)])
    with pytest.raises(SettingError, match="no price of the model 'scripted'"):
        agent.invoke(ask())
    assert not model._requests
    for wrong in ({}, {"max_calls": 0}, {"max_cost_usd": -1.0}):
        with pytest.raises(SettingError, match="set at least one of max_calls"):
            BudgetMiddleware(**wrong)
