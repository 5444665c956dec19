"""In LangChain's agents: as a tool, and as middleware. The agents' models are asked over HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, dynamic_prompt
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command
from pydantic import BaseModel

from metascale import MetaScaleSettings, SettingError, as_tool, create_metascale
from metascale.bandits import RoundRobin, Single
from metascale.integrations import MetaScaleMiddleware
from tests.conftest import QUESTION, THREAD, ServerFactory, ask, chat_model
from tests.openai_server import Fault
from tests.scripted import ScriptedModel, sensible, verdict

BUDGET = 6
SETTINGS = MetaScaleSettings(budget=BUDGET, batch_size=3, confirm=0, max_retries=0, stop_on_agreement=None)
HARD = ask("Think hard about 'Why?', please.")


def thinking(write: Any = sensible, **changes: Any) -> tuple[Any, ScriptedModel]:
    """A graph to make a tool of, and its model."""
    model = ScriptedModel(write=write)
    return create_metascale(model, settings=SETTINGS.model_copy(update=changes)), model


async def test_an_agent_thinks_hard_by_a_tool(start_server: ServerFactory) -> None:
    graph, model = thinking()
    agent: Any = create_agent(chat_model(start_server()), [as_tool(graph)])
    for out in (agent.invoke(HARD), await agent.ainvoke(HARD)):
        assert set(out) == {"messages"}
        human, call, answer, final = out["messages"]
        assert [m.type for m in (human, call, answer, final)] == ["human", "ai", "tool", "ai"]
        assert call.tool_calls[0]["args"] == {"question": "Why?"}
        assert answer.content == answer.artifact["answer"]
        assert answer.content.startswith("Answer ")
        assert answer.status == "success"
        assert answer.artifact["usage"]["samples"] == BUDGET
        assert final.text.startswith("Simulated answer")
    assert len(model.requests("solve")) == 2 * BUDGET
    assert all(request[-1].text.split("\n")[0] == "Why?" for request in model.requests("solve"))


async def test_nothing_of_the_tools_search_gets_into_the_agents_stream(start_server: ServerFactory) -> None:
    graph, _ = thinking()
    agent: Any = create_agent(chat_model(start_server()), [as_tool(graph)], checkpointer=InMemorySaver())
    events = list(agent.stream(HARD, THREAD, stream_mode="messages"))
    aevents = [e async for e in agent.astream(HARD, {"configurable": {"thread_id": "u"}}, stream_mode="messages")]
    for found in (events, aevents):
        assert {about["langgraph_node"] for _, about in found} == {"model", "tools"}
        by_node = {node: {m.id for m, about in found if about["langgraph_node"] == node} for node in ("model", "tools")}
        assert (len(by_node["model"]), len(by_node["tools"])) == (2, 1)
        assert sum(isinstance(m, ToolMessage) for m, _ in found) == 1
    assert set(agent.get_state(THREAD).values) == {"messages"}


async def test_parallel_calls_of_the_tool_are_searches_of_their_own(start_server: ServerFactory) -> None:
    graph, model = thinking()
    agent: Any = create_agent(chat_model(start_server()), [as_tool(graph)], checkpointer=InMemorySaver())
    two = ask("Think hard about 'Why?' and about 'Why not?'")
    for out in (agent.invoke(two, THREAD), await agent.ainvoke(two, {"configurable": {"thread_id": "u"}})):
        answers = [m for m in out["messages"] if m.type == "tool"]
        assert len(answers) == 2
        assert all(m.artifact["usage"]["samples"] == BUDGET for m in answers)
    asked = Counter(request[-1].text.split("\n")[0] for request in model.requests("solve"))
    assert asked == {"Why?": 2 * BUDGET, "Why not?": 2 * BUDGET}


async def test_a_failed_run_is_told_to_the_agent(start_server: ServerFactory) -> None:
    graph, _ = thinking(lambda kind, *rest: ValueError("out of order") if kind == "solve" else sensible(kind, *rest))
    agent: Any = create_agent(chat_model(start_server()), [as_tool(graph)])
    for out in (agent.invoke(HARD), await agent.ainvoke(HARD)):
        _, _, failed, final = out["messages"]
        assert failed.status == "error"
        assert failed.content == "none of 9 attempts at a sample gave an answer: ValueError: out of order"
        assert final.text


async def test_the_tool_by_itself_and_in_a_tool_node() -> None:
    graph, model = thinking(budget=24, batch_size=1)
    think = as_tool(graph, name="ponder", description="Ponders.")
    assert (think.name, think.description) == ("ponder", "Ponders.")
    assert think.tool_call_schema.model_json_schema()["required"] == ["question"]  # type: ignore[union-attr]
    assert think.invoke({"question": "Why?"}).startswith("Answer ")
    call: Any = {"name": "ponder", "args": {"question": "Why?"}, "id": "c", "type": "tool_call"}
    message = await think.ainvoke(call)
    assert message.artifact["stop_reason"] == "budget", "not the 25 steps that LangChain allows inside tools"
    parent = StateGraph(MessagesState)
    parent.add_node("tools", ToolNode([think]))
    parent.add_edge(START, "tools")
    out = parent.compile().invoke({"messages": [AIMessage("", tool_calls=[call])]}, {"recursion_limit": 25})
    assert out["messages"][-1].artifact["stop_reason"] == "budget"
    assert len(model.requests("solve")) == 3 * 24


async def test_people_are_asked_through_the_tool(start_server: ServerFactory) -> None:
    graph, model = thinking(review_pool=True, ask_for_budget=True)
    agent: Any = create_agent(chat_model(start_server()), [as_tool(graph)], checkpointer=InMemorySaver())
    for thread in ("sync", "async"):
        config: Any = {"configurable": {"thread_id": thread}}
        asked = []
        given: Any = HARD
        for answer in ("accept", 2, 0, None):
            out = agent.invoke(given, config) if thread == "sync" else await agent.ainvoke(given, config)
            asked += [one.value["asks"] for one in out.get("__interrupt__", ())]
            given = Command(resume=answer)
        assert asked == ["review_pool", "grant_budget", "grant_budget"]
        assert [m.type for m in out["messages"]] == ["human", "ai", "tool", "ai"]
        assert out["messages"][2].artifact["usage"]["samples"] == BUDGET + 2
    assert len(model.requests("solve")) == 2 * (BUDGET + 2)


@tool
def get_weather(city: str) -> str:
    """How the weather is."""
    return f"Sunny in {city}."


def deliberating(**parts: Any) -> MetaScaleMiddleware:
    return MetaScaleMiddleware(**{"settings": SETTINGS, **parts})


async def test_a_final_answer_is_deliberated(start_server: ServerFactory) -> None:
    server = start_server()
    agent: Any = create_agent(chat_model(server), middleware=[deliberating()])
    for turn in (1, 2):
        before = server.input_tokens, server.output_tokens, len(server.served)
        out = agent.invoke(ask()) if turn == 1 else await agent.ainvoke(ask())
        assert set(out) == {"messages"}
        assert [m.type for m in out["messages"]] == ["human", "ai"]
        assert server.count("solve") == turn * BUDGET, "the first answer is one of the samples"
        reply = out["messages"][-1]
        about = reply.response_metadata["metascale"]
        assert about["usage"]["samples"] == BUDGET
        assert about["usage"]["calls"] == len(server.served) - before[2]
        assert reply.usage_metadata["input_tokens"] == server.input_tokens - before[0]
        assert reply.usage_metadata["output_tokens"] == server.output_tokens - before[1]
        assert reply.text.startswith("Simulated answer")


async def test_turns_that_call_tools_pass_through(start_server: ServerFactory) -> None:
    server = start_server()
    agent: Any = create_agent(chat_model(server), [get_weather], middleware=[deliberating()])
    question = ask("What is the weather in 'Ulm'?")
    for turn, out in enumerate((agent.invoke(question), await agent.ainvoke(question)), 1):
        _, call, result, final = out["messages"]
        assert call.tool_calls[0]["args"] == {"city": "Ulm"}
        assert "metascale" not in call.response_metadata
        assert result.text == "Sunny in Ulm."
        assert final.response_metadata["metascale"]["usage"]["samples"] == BUDGET
        assert server.count("solve") in {1 + BUDGET, 2 * (1 + BUDGET)}, turn
    assert server.count("solve") == 2 * (1 + BUDGET)
    tooled = [served for served in server.served if "tools" in served.body]
    assert len(tooled) == 2 * (1 + BUDGET), "samples are drawn with the agent's tools"
    judged = [served.body["messages"][1]["content"] for served in server.served if served.kind == "judge"]
    assert all("(calls the tool get_weather" in text and "Tool: Sunny in Ulm." in text for text in judged)


async def test_the_message_stream_of_a_deliberating_agent_holds_whole_replies_once(start_server: ServerFactory) -> None:
    server = start_server()
    agent: Any = create_agent(
        chat_model(server), [get_weather], middleware=[deliberating()], checkpointer=InMemorySaver()
    )
    question = ask("What is the weather in 'Ulm'?")
    events = list(agent.stream(question, THREAD, stream_mode="messages"))
    aevents = [e async for e in agent.astream(question, {"configurable": {"thread_id": "u"}}, stream_mode="messages")]
    for found in (events, aevents):
        assert [m.type for m, _ in found] == ["ai", "tool", "ai"]
        assert found[0][0].tool_calls
        assert found[2][0].response_metadata["metascale"]
    state = agent.get_state(THREAD).values
    assert set(state) == {"messages"}
    assert state["messages"][-1].text == events[-1][0].text
    namespaces = {c.config["configurable"]["checkpoint_ns"] for c in agent.checkpointer.list(THREAD)}
    assert namespaces == {""}
    assert not any(served.body.get("stream") for served in server.served), "so that the server reports usage"


class Caller(ScriptedModel):
    """A scripted model that can be bound to tools."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        return self.bind(**{name: value for name, value in kwargs.items() if name != "tool_choice"})


def favouring(words: str, answers: Any) -> Any:
    """A script whose judge likes answers with certain words."""

    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
        if kind == "judge":
            return verdict(9 if words in messages[1].text else 3)
        return answers(number, messages) if kind == "solve" else sensible(kind, number, messages)

    return write


CALL = AIMessage("", tool_calls=[{"name": "get_weather", "args": {"city": "Ulm"}, "id": "c", "type": "tool_call"}])


async def test_a_sample_that_calls_tools_is_no_answer() -> None:
    def answers(number: int, _: Any) -> Any:
        return CALL if number % 2 else f"Answer {number}."

    model = Caller(write=favouring("Answer 4.", answers))
    settings = SETTINGS.model_copy(update={"batch_size": 1})
    agent: Any = create_agent(model, [get_weather], middleware=[deliberating(settings=settings)])
    reply = agent.invoke(ask("Why?"))["messages"][-1]
    assert reply.text == "Answer 4."
    assert len(model.requests("solve")) == BUDGET
    assert len(model.requests("judge")) == BUDGET / 2
    assert not any(m.type == "tool" for m in agent.invoke(ask("Why?"))["messages"])


async def test_the_first_answer_can_win_and_is_not_asked_for_twice() -> None:
    model = Caller(write=favouring("Answer 0.", lambda number, _: f"Answer {number}."))
    agent: Any = create_agent(model, middleware=[deliberating()])
    out = await agent.ainvoke(ask("Why?"))
    assert [m.text for m in out["messages"]] == ["Why?", "Answer 0."]
    assert out["messages"][-1].response_metadata["metascale"]["meta_thought"]["id"] == "no_strategy"
    assert len(model.requests("solve")) == BUDGET


@pytest.mark.parametrize("policy", [Single(), RoundRobin()])
@pytest.mark.parametrize("budget", [2, 5])
def test_the_first_answer_is_a_sample_whatever_the_policy(policy: Any, budget: int) -> None:
    model = Caller(write=sensible)
    settings = SETTINGS.model_copy(update={"budget": budget})
    agent: Any = create_agent(model, middleware=[deliberating(policy=policy, settings=settings)])
    reply = agent.invoke(ask("Why?"))["messages"][-1]
    assert len(model.requests("solve")) == reply.response_metadata["metascale"]["usage"]["samples"] == budget


@pytest.mark.parametrize("setting", ["review_pool", "ask_for_budget"])
def test_a_deliberation_asks_nobody(setting: str) -> None:
    with pytest.raises(SettingError, match=f"the setting '{setting}' asks people; a node or a tool can do that"):
        MetaScaleMiddleware(settings=MetaScaleSettings.model_validate({setting: True}))


def test_a_budget_of_one_leaves_the_answer_alone() -> None:
    model = Caller(write=sensible)
    agent: Any = create_agent(model, middleware=[deliberating(settings=MetaScaleSettings(budget=1))])
    reply = agent.invoke(ask("Why?"))["messages"][-1]
    assert reply.text == "Answer 0."
    assert len(model._requests) == 1


async def test_where_no_search_can_begin_the_first_answer_stays() -> None:
    model = Caller(write=sensible)
    settings = MetaScaleSettings(max_question_chars=10)
    agent: Any = create_agent(model, middleware=[deliberating(settings=settings)])
    for out in (agent.invoke(ask("Why, oh why?")), await agent.ainvoke(ask("Why, oh why?"))):
        reply = out["messages"][-1]
        assert reply.text.startswith("Answer ")
        assert "the question is too long" in reply.response_metadata["metascale"]["notes"][0]


def test_a_failing_judge_costs_no_answer(start_server: ServerFactory) -> None:
    server = start_server(script=lambda kind, *_: Fault(500, "{}") if kind == "judge" else None)
    agent: Any = create_agent(chat_model(server, max_retries=0), middleware=[deliberating()])
    reply = agent.invoke(ask())["messages"][-1]
    assert reply.text.startswith("Simulated answer")
    assert any("nothing was scored" in note for note in reply.response_metadata["metascale"]["notes"])


class Counting(AgentMiddleware[Any, Any, Any]):
    """Counts what passes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        self.asked.append(request)
        return handler(request.override(model_settings={"user": "me"}))

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        self.asked.append(request)
        return await handler(request.override(model_settings={"user": "me"}))


async def test_samples_pass_the_other_middleware(start_server: ServerFactory) -> None:
    @dynamic_prompt
    def rhyming(request: Any) -> str:  # noqa: ARG001
        return "Answer in rhyme."

    server, counting = start_server(), Counting()
    agent: Any = create_agent(chat_model(server), middleware=[rhyming, deliberating(), counting])
    agent.invoke(ask())
    assert len(counting.asked) == BUDGET
    await agent.ainvoke(ask())
    assert len(counting.asked) == server.count("solve") == 2 * BUDGET
    samples = [served.body for served in server.served if served.kind == "solve"]
    assert all(body["user"] == "me" for body in samples)
    assert all(body["messages"][0]["content"].startswith("Answer in rhyme.") for body in samples)
    assert len({body["messages"][-1]["content"] for body in samples}) > 2, "under several meta-thoughts"


class City(BaseModel):
    """A city."""

    name: str
    people: int


@pytest.mark.parametrize("strategy", [ToolStrategy(City), ProviderStrategy(City)])
async def test_structured_responses_are_deliberated(start_server: ServerFactory, strategy: Any) -> None:
    server = start_server()
    agent: Any = create_agent(chat_model(server), response_format=strategy, middleware=[deliberating()])
    for out in (agent.invoke(ask("Ulm")), await agent.ainvoke(ask("Ulm"))):
        assert set(out) == {"messages", "structured_response"}
        assert out["structured_response"] == City(name="Ulm", people=3)
        reply = next(m for m in out["messages"] if m.type == "ai")
        assert reply.response_metadata["metascale"]["usage"]["samples"] == BUDGET
    assert server.count("solve") == 2 * BUDGET


def test_a_thread_of_several_turns_keeps_the_replies_alone(start_server: ServerFactory) -> None:
    agent: Any = create_agent(chat_model(start_server()), middleware=[deliberating()], checkpointer=InMemorySaver())
    agent.invoke(ask(), THREAD)
    out = agent.invoke({"messages": [HumanMessage(QUESTION)]}, THREAD)
    assert [m.type for m in out["messages"]] == ["human", "ai", "human", "ai"]


def test_langchain_is_needed_by_the_middleware_alone() -> None:
    script = """
import sys
import metascale
assert "langchain" not in sys.modules
sys.modules["langchain"] = None
metascale.ChatMetaScale(model="simulated")
try:
    from metascale.integrations import MetaScaleMiddleware
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "MetaScaleMiddleware needs langchain: pip install 'metascale[agents]'\n", done.stderr
