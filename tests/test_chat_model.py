"""`ChatMetaScale`, wherever a chat model goes. (LangChain's own tests for it are in `test_chat_model_standard.py`.)"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel, Field, ValidationError, field_validator
from typing_extensions import TypedDict

from metascale import ChatMetaScale, MetaScaleSettings, NoAnswerError, VerifierReward, batch, create_metascale, prompts
from metascale.bandits import RoundRobin
from metascale.errors import ModelSetupError, SettingError
from metascale.graphs import METHODS
from metascale.integrations.middleware import MetaScaleMiddleware
from metascale.integrations.tool_calls import CallRules
from tests.conftest import QUESTION, ServerFactory, chat_model
from tests.openai_server import Fault, OpenAIServer
from tests.scripted import ScriptedModel, sensible, verdict

BUDGET = 4


def deliberating(server: OpenAIServer, **parts: Any) -> ChatMetaScale:
    return ChatMetaScale(model=chat_model(server), **{"budget": BUDGET, "confirm": 0, **parts})


def scripted(write: Any, **parts: Any) -> ChatMetaScale:
    return ChatMetaScale(
        model=ScriptedModel(write=write), **{"budget": BUDGET, "max_retries": 0, "confirm": 0, **parts}
    )


def assert_billed(message: AIMessage, server: OpenAIServer) -> None:
    """Every token that the server has served so far stands on the message's bill."""
    usage = message.usage_metadata
    assert usage is not None
    assert usage["input_tokens"] == server.input_tokens
    assert usage["output_tokens"] == server.output_tokens
    assert usage["total_tokens"] == server.input_tokens + server.output_tokens
    assert message.response_metadata["metascale"]["usage"]["calls"] == len(server.served) > BUDGET


async def test_one_call_is_one_search_and_bills_all_of_it(start_server: ServerFactory) -> None:
    server, other = start_server(), start_server()
    reply = deliberating(server).invoke(QUESTION)
    assert server.count("solve") == BUDGET
    assert_billed(reply, server)
    assert reply.response_metadata["model_name"] == "metascale/loopback"
    assert reply.response_metadata["metascale"]["stop_reason"] == "budget"
    assert "token_usage" not in reply.response_metadata, "which would be the winner's own"
    areply = await deliberating(other).ainvoke(QUESTION)
    assert_billed(areply, other)


def test_the_best_answer_is_the_reply() -> None:
    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
        return (
            verdict(9 if "Answer 2." in messages[1].text else 3)
            if kind == "judge"
            else sensible(kind, number, messages)
        )

    assert scripted(write, batch_size=1).invoke("Why?").text == "Answer 2."


async def test_the_chosen_answer_is_streamed_in_pieces(start_server: ServerFactory) -> None:
    server = start_server()
    model = deliberating(server, seed=3)
    whole = model.invoke(QUESTION)
    for chunks in ([*model.stream(QUESTION)], [chunk async for chunk in model.astream(QUESTION)]):
        assert len(chunks) > 5
        full = chunks[0]
        for chunk in chunks[1:]:
            full = full + chunk
        assert isinstance(full, AIMessageChunk)
        assert full.text == whole.text
        assert full.usage_metadata == whole.usage_metadata
        assert full.response_metadata["metascale"]["reward"] == whole.response_metadata["metascale"]["reward"]
    assert not any(served.body.get("stream") for served in server.served)


async def test_in_a_pipe_and_in_batches(start_server: ServerFactory) -> None:
    server = start_server()
    prompt = ChatPromptTemplate.from_messages([("system", "Answer in rhyme."), ("human", "{question}")])
    chain = prompt | deliberating(server) | StrOutputParser()
    inputs = [{"question": QUESTION}, {"question": "Why?"}]
    texts = [chain.invoke(inputs[0]), *chain.batch(inputs), *await chain.abatch(inputs)]
    assert all(text.startswith("Simulated answer") for text in texts)
    assert server.count("solve") == 5 * BUDGET
    assert all(
        served.body["messages"][0]["content"].startswith("Answer in rhyme.")
        for served in server.served
        if served.kind == "solve"
    )
    assert "".join(chain.stream(inputs[0])).startswith("Simulated answer")


async def test_conversations_with_a_system_message_reach_every_sample() -> None:
    talk = [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello"), HumanMessage("2 + 2?")]
    model = scripted(sensible)
    await model.ainvoke(talk)
    model.invoke(talk)
    inner = model.model
    assert isinstance(inner, ScriptedModel)
    for messages in inner.requests("solve"):
        assert [m.text for m in messages[:3]] == ["Be brief.", "Hi", "Hello"]
        assert prompts.apart(messages[3].text)[0] == "2 + 2?"


def test_stop_and_temperature_are_for_the_samples(start_server: ServerFactory) -> None:
    server = start_server()
    model = deliberating(server, temperature=0.5, max_tokens=77, stop=["END"])
    model.invoke(QUESTION)
    model.invoke(QUESTION, stop=["HALT"])
    bodies = [served.body for served in server.served]
    samples = [s.body for s in server.served if s.kind == "solve"]
    assert [body["stop"] for body in samples] == [["END"]] * BUDGET + [["HALT"]] * BUDGET
    assert {(body["temperature"], body["max_completion_tokens"]) for body in samples} == {(0.5, 77)}
    assert sum("stop" in body for body in bodies) == 2 * BUDGET
    assert model.settings == MetaScaleSettings(budget=BUDGET, confirm=0, temperature=0.5, max_tokens=77)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"budjet": 3}, "unknown parameter 'budjet'; did you mean 'budget'"),
        ({"timeout": 3}, "unknown parameter 'timeout'"),
        ({"review_pool": True}, "'review_pool' asks people"),
        ({"budget": 0}, "greater than or equal to 1"),
        ({"model": "simulate"}, "unknown model 'simulate'; did you mean 'simulated'"),
        ({"policy": "ucb"}, r"settings=MetaScaleSettings\(policy='ucb'\)"),
        ({"reward": "judge"}, r"settings=MetaScaleSettings\(reward='judge'\)"),
        ({"budget": "many"}, "valid integer"),
        ({"settings": {"budjet": 3}}, "unknown setting 'budjet'; did you mean 'budget'"),
        ({"settings": 3}, "valid dictionary or instance of MetaScaleSettings"),
        ({"retriever": "files"}, "instance of BaseRetriever"),
    ],
)
def test_what_it_cannot_take_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ChatMetaScale(**{"model": "simulated", **options})


@pytest.mark.parametrize("create", [*(method.create for method in METHODS.values() if method.judged), batch])
@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        ({"reward": "judge"}, r"reward='judge' is no object .* settings=MetaScaleSettings\(reward='judge'\)"),
        ({"settings": {"budget": 3}}, r"settings take MetaScaleSettings\(...\), and {'budget': 3} is none"),
    ],
)
def test_a_name_where_an_object_belongs_is_refused_when_the_graph_is_built(
    create: Any, part: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SettingError, match=complaint):
        create([QUESTION] if create is batch else "simulated", **part)


@pytest.mark.parametrize("create", [create_metascale, MetaScaleMiddleware])
def test_so_is_the_name_of_a_policy(create: Any) -> None:
    model = {"model": "simulated"} if create is create_metascale else {}
    with pytest.raises(SettingError, match=r"settings=MetaScaleSettings\(policy='ucb'\)"):
        create(**model, policy="ucb")


def test_parts_of_a_search_can_be_given() -> None:
    reward = VerifierReward(lambda _, answer: answer == "Answer 1.")
    reply = scripted(sensible, reward=reward, policy=RoundRobin(), settings=MetaScaleSettings(budget=9)).invoke("Why?")
    assert reply.text == "Answer 1."
    assert reply.response_metadata["metascale"]["usage"]["samples"] == BUDGET, "settings by name come last"


class Runs(BaseCallbackHandler):
    """The family tree of what ran."""

    def __init__(self) -> None:
        self.parents: dict[UUID, UUID | None] = {}
        self.models: list[UUID] = []
        self.options: dict[UUID, Any] = {}

    def on_chain_start(self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **__: Any) -> None:
        self.parents[run_id] = parent_run_id

    def on_chat_model_start(self, *_: Any, run_id: UUID, parent_run_id: UUID | None = None, **more: Any) -> None:
        self.parents[run_id] = parent_run_id
        self.models.append(run_id)
        self.options[run_id] = more["options"]

    def root(self, run: UUID) -> UUID:
        parent = self.parents[run]
        return run if parent is None else self.root(parent)


async def test_every_request_is_traced_below_the_call(start_server: ServerFactory) -> None:
    server = start_server()
    for call in ("invoke", "ainvoke", "stream"):
        before, runs = len(server.served), Runs()
        model, config = deliberating(server), {"callbacks": [runs]}
        if call == "ainvoke":
            await model.ainvoke(QUESTION, config)
        else:
            list(model.stream(QUESTION, config)) if call == "stream" else model.invoke(QUESTION, config)
        outer, *inner = runs.models
        assert runs.parents[outer] is None
        assert {runs.root(run) for run in inner} == {outer}
        assert len(inner) == len(server.served) - before


def test_inside_a_node_every_request_is_traced_below_the_call() -> None:
    runs = Runs()
    model = scripted(sensible)
    parent = StateGraph(MessagesState)
    parent.add_node("chat", lambda state: {"messages": [model.invoke(state["messages"])]})
    parent.add_edge(START, "chat")
    parent.compile().invoke({"messages": [HumanMessage("Why?")]}, {"callbacks": [runs]})
    outer, *inner = runs.models

    def ancestors(run: UUID) -> set[UUID]:
        parent_run = runs.parents[run]
        return set() if parent_run is None else {parent_run, *ancestors(parent_run)}

    assert all(outer in ancestors(run) for run in inner)
    assert inner


async def test_in_somebody_elses_node_only_the_answer_is_streamed_and_saved() -> None:
    model = scripted(sensible)

    async def achat(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    parent = StateGraph(MessagesState)
    parent.add_node("chat", achat)
    parent.add_edge(START, "chat")
    graph = parent.compile(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "t"}}
    events = [e async for e in graph.astream({"messages": [HumanMessage("Why?")]}, thread, stream_mode="messages")]
    assert {about["langgraph_node"] for _, about in events} == {"chat"}
    assert len({message.id for message, _ in events}) == 1
    assert len(events) > 1, "in pieces"
    text = "".join(message.text for message, _ in events)
    state = (await graph.aget_state(thread)).values
    assert set(state) == {"messages"}
    assert state["messages"][-1].text == text
    namespaces = {s.config["configurable"]["checkpoint_ns"] async for s in graph.checkpointer.alist(None)}  # type: ignore[union-attr]
    assert namespaces == {""}, "a model's call leaves no checkpoints of its own"


class Joke(BaseModel):
    """A joke."""

    setup: str = Field(description="How it begins.")
    laughs: int = Field(ge=1, le=10)

    @field_validator("setup")
    @classmethod
    def _about_cats(cls, value: str) -> str:
        if "cat" not in value:
            raise ValueError("not about cats")
        return value


class JokeDict(TypedDict):
    """A joke."""

    setup: str
    laughs: int


def calls(args: dict[str, Any], name: str = "Joke") -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": "c", "type": "tool_call"}])


class Caller(ScriptedModel):
    """A scripted model that can be bound to tools."""

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        return self.bind(tools=[str(one) for one in tools], tool_choice=tool_choice, **kwargs)


BROKEN = {
    "arguments": calls({"setup": "A cat."}),
    "type": calls({"setup": "A cat.", "laughs": "many"}),
    "validator": calls({"setup": "A dog.", "laughs": 3}),
    "no call": AIMessage("A cat walks into a bar."),
    "no JSON": AIMessage(
        "", invalid_tool_calls=[{"name": "Joke", "args": "{", "id": "c", "error": None, "type": "invalid_tool_call"}]
    ),
}


@pytest.mark.parametrize("flaw", BROKEN)
def test_a_structured_answer_satisfies_its_schema(flaw: str) -> None:
    """Three of four samples are broken, and the judge loves those best."""

    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
        if kind == "solve":
            return calls({"setup": "A cat.", "laughs": 3}) if number == 2 else BROKEN[flaw]
        return (
            verdict(1 if '"laughs": 3' in messages[1].text else 10)
            if kind == "judge"
            else sensible(kind, number, messages)
        )

    inner = Caller(write=write)
    model = ChatMetaScale(model=inner, budget=BUDGET, batch_size=1, confirm=0, max_retries=0)
    assert model.with_structured_output(Joke).invoke("A joke, please.") == Joke(setup="A cat.", laughs=3)
    assert len(inner.requests("solve")) == BUDGET, "what is no answer is paid for"
    assert len(inner.requests("judge")) == 1, "and judged by nobody"


@pytest.mark.parametrize("schema", [JokeDict, Joke.model_json_schema()])
def test_a_structured_answer_satisfies_a_schema_of_any_kind(schema: Any) -> None:
    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
        name = schema["title"] if isinstance(schema, dict) else schema.__name__
        good, bad = {"setup": "A cat.", "laughs": 3}, {"setup": "A cat.", "laughs": "3.5"}
        return calls(good if number == 1 else bad, name) if kind == "solve" else sensible(kind, number, messages)

    model = ChatMetaScale(model=Caller(write=write), budget=2, batch_size=1, confirm=0)
    assert model.with_structured_output(schema).invoke("A joke, please.") == {"setup": "A cat.", "laughs": 3}


def test_without_one_that_satisfies_it_there_is_no_answer() -> None:
    model = ChatMetaScale(
        model=Caller(write=lambda kind, *rest: BROKEN["type"] if kind == "solve" else sensible(kind, *rest)), budget=2
    )
    with pytest.raises(NoAnswerError, match="the arguments of Joke do not fit: laughs"):
        model.with_structured_output(Joke).invoke("A joke, please.")


def test_arguments_that_no_schema_can_weigh_do_not_fit() -> None:
    parameters = {"type": "object", "properties": {"people": {"type": "number", "multipleOf": 0.5}}}
    rules = CallRules.of([{"name": "City", "description": "A city.", "parameters": parameters}], None)
    call = {"name": "City", "args": {"people": float("inf")}, "id": "1"}
    assert "the arguments of City do not fit" in (rules.flaw(AIMessage("", tool_calls=[call])) or "")


def test_tools_that_the_provider_runs_are_its_own_business() -> None:
    searched = AIMessage("Rain.", tool_calls=[{"name": "web_search", "args": {"anything": 1}, "id": "1"}])
    assert CallRules.of([{"type": "web_search_preview"}], "auto").flaw(searched) is None
    assert CallRules.of([{"type": "web_search_preview"}], "any").flaw(AIMessage("Rain.")) == "it calls no tool"


def test_a_model_that_does_not_say_how_it_binds_tools_is_refused() -> None:
    class Secretive(ScriptedModel):
        """Takes tools, and shows nobody how."""

        def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:  # noqa: ARG002
            return RunnableLambda(lambda _: AIMessage("Rain."))

    with pytest.raises(ModelSetupError, match="Secretive does not say how it binds tools"):
        ChatMetaScale(model=Secretive(write=sensible)).bind_tools([])


async def test_structured_output_over_http(start_server: ServerFactory) -> None:
    class City(BaseModel):
        """A city."""

        name: str
        people: int

    server = start_server()
    structured = deliberating(server).with_structured_output(City)
    assert structured.invoke("'Ulm' has 12 people.") == City(name="Ulm", people=3)
    assert (await structured.ainvoke("'Ulm' it is.")).name == "Ulm"
    raw = deliberating(server).with_structured_output(City, include_raw=True).invoke("'Ulm' it is.")
    assert raw["raw"].response_metadata["metascale"]["usage"]["samples"] == BUDGET
    judged = [served.body["messages"][1]["content"] for served in server.served if served.kind == "judge"]
    assert all('(calls the tool City with {"name": "Ulm", "people": 3})' in text for text in judged)


@tool
def get_weather(city: str) -> str:
    """How the weather is."""
    return f"Sunny in {city}."


async def test_whole_messages_are_sampled_and_their_tool_calls_come_back(start_server: ServerFactory) -> None:
    server = start_server()
    model = deliberating(server).bind_tools([get_weather])
    asked = HumanMessage("What is the weather in 'Ulm' and in 'Bern'?")
    for reply in (model.invoke([asked]), await model.ainvoke([asked])):
        assert [(c["name"], c["args"]) for c in reply.tool_calls] == [
            ("get_weather", {"city": "Ulm"}),
            ("get_weather", {"city": "Bern"}),
        ]
        assert reply.content == ""
        assert all(call["id"].startswith("call_") for call in reply.tool_calls)
    assert server.count("solve") == 2 * BUDGET
    assert sum("tools" in served.body for served in server.served) == 2 * BUDGET, "only answers get the tools"
    streamed = [*model.stream([asked])]
    full = streamed[0]
    for chunk in streamed[1:]:
        full = full + chunk
    assert [call["args"] for call in full.tool_calls] == [{"city": "Ulm"}, {"city": "Bern"}]
    results = [ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in reply.tool_calls]
    final = model.invoke([asked, reply, *results])
    assert not final.tool_calls
    assert final.text
    judged = server.served[-1].body["messages"][1]["content"]
    assert "Assistant: (calls the tool get_weather with" in judged
    assert "Tool: Sunny in Bern." in judged


async def test_an_agent_may_be_built_on_it(start_server: ServerFactory) -> None:
    server = start_server()
    agent: Any = create_agent(deliberating(server), [get_weather])
    question = {"messages": [HumanMessage("What is the weather in 'Ulm'?")]}
    for out in (agent.invoke(question), await agent.ainvoke(question)):
        assert set(out) == {"messages"}
        assert [m.type for m in out["messages"]] == ["human", "ai", "tool", "ai"]
        assert [m.text for m in out["messages"] if m.type == "tool"] == ["Sunny in Ulm."]
    assert server.count("solve") == 4 * BUDGET


async def test_events_of_a_chain_hold_the_reply_of_the_call_itself() -> None:
    chain = ChatPromptTemplate.from_template("{question}") | scripted(sensible) | StrOutputParser()
    events = [e async for e in chain.astream_events({"question": "Why?"}, version="v2")]
    streams = [e for e in events if e["event"] == "on_chat_model_stream" and e["name"] == "ChatMetaScale"]
    (end,) = [e for e in events if e["event"] == "on_chat_model_end" and e["name"] == "ChatMetaScale"]
    assert "".join(e["data"]["chunk"].text for e in streams) == end["data"]["output"].text


def test_the_judge_chooses_between_calling_and_answering() -> None:
    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
        if kind == "solve":
            return calls({"city": "Ulm"}, "get_weather") if number == 1 else "No idea."
        return (
            verdict(9 if "calls the tool" in messages[1].text else 2)
            if kind == "judge"
            else sensible(kind, number, messages)
        )

    model = ChatMetaScale(model=Caller(write=write), budget=3, batch_size=1, confirm=0).bind_tools([get_weather])
    assert model.invoke("The weather?").tool_calls[0]["args"] == {"city": "Ulm"}


def test_an_empty_result_of_a_tool_is_no_empty_question() -> None:
    call = calls({"city": "Ulm"}, "get_weather")
    talk = [HumanMessage("The weather?"), call, ToolMessage("", tool_call_id="c")]
    assert scripted(sensible).invoke(talk).text.startswith("Answer")


def test_a_failure_inside_is_no_answer(start_server: ServerFactory) -> None:
    server = start_server(
        script=lambda kind, *_: Fault(401, '{"error": {"message": "bad key"}}') if kind == "solve" else None
    )
    with pytest.raises(
        NoAnswerError, match=r"no answer after \d requests?, and no further one can succeed: .*AuthenticationError"
    ):
        deliberating(server).invoke(QUESTION)
