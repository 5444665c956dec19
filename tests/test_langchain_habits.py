"""What LangChain's users do with models and graphs, on the real libraries and a loopback server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from metascale import ChatMetaScale, MetaScaleSettings, NoAnswerError, VerifierReward, create_metascale
from metascale.errors import ModelSetupError
from metascale.graphs import METHODS
from metascale.integrations import as_node
from metascale.models import SimulatedChatModel
from metascale.result import troubles
from tests.conftest import QUESTION, THREAD, ServerFactory, ask
from tests.openai_server import Fault, OpenAIServer
from tests.scripted import Reply, ScriptedModel, discovering

SMALL = MetaScaleSettings(budget=3, batch_size=1, pool_size=2, confirm=0, max_retries=0, seed=1)
KEY = "sk-0123456789abcdefghij"


class City(BaseModel):
    """A city."""

    name: str
    population: int


def weather(city: str) -> str:
    """The weather of a city."""
    return f"Sunny in {city}."


def client(server: OpenAIServer, name: str = "loopback", **options: Any) -> ChatOpenAI:
    return ChatOpenAI(model=name, base_url=server.url, api_key=KEY, **{"max_retries": 0, **options})


# --- agents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["loopback", "gpt-4o"])
@pytest.mark.parametrize("tools", [[], [weather]])
def test_an_agent_gets_a_structured_response(name: str, tools: list[Any], start_server: ServerFactory) -> None:
    """The agent asks the model for its name and its profile to tell which form of structured output it has."""
    model = ChatMetaScale(model=client(start_server(), name), settings=SMALL)
    assert model.model_name == f"metascale/{name}"
    out = create_agent(model, tools, response_format=City).invoke(ask("Tell me about the city 'Rome'."))
    assert isinstance(out["structured_response"], City)


def test_the_profile_is_the_models_own(start_server: ServerFactory) -> None:
    profile: Any = {"structured_output": True, "max_input_tokens": 1_000}
    inner = client(start_server(), profile=profile)
    assert ChatMetaScale(model=inner).profile == profile
    assert ChatMetaScale(model=inner.with_retry()).profile == profile
    assert ChatMetaScale(model=inner, profile={"max_input_tokens": 5}).profile == {"max_input_tokens": 5}


# --- wrapped models ------------------------------------------------------------------------------------------------

WRAPPERS: dict[str, Callable[[ChatOpenAI], Any]] = {
    "bind": lambda model: model.bind(stop=["ZZ"], user="me"),
    "bind_fields": lambda model: model.bind(temperature=0.2, seed=5),
    "with_config": lambda model: model.with_config(tags=["mine"]),
    "with_retry": lambda model: model.with_retry(stop_after_attempt=2),
    "with_fallbacks": lambda model: model.with_fallbacks([model]),
    "all": lambda model: (
        model.bind(stop=["ZZ"]).with_retry().with_fallbacks([model.with_retry()]).with_config(tags=["a"])
    ),
}


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("wrapper", WRAPPERS)
async def test_a_wrapped_model_searches_as_the_model_does(
    wrapper: str, start_server: ServerFactory, *, asynchronous: bool
) -> None:
    server = start_server()
    settings = SMALL.model_copy(update={"max_tokens": 50})
    graph = create_metascale(WRAPPERS[wrapper](client(server)), settings=settings)
    usage = UsageMetadataCallbackHandler()
    config: Any = {"callbacks": [usage]}
    result = (await graph.ainvoke(ask(), config) if asynchronous else graph.invoke(ask(), config))["result"]
    assert result["usage"]["calls"] == len(server.served) == 6
    assert result["usage"]["input_tokens"] == server.input_tokens
    assert sum(bill["total_tokens"] for bill in usage.usage_metadata.values()) == (
        server.input_tokens + server.output_tokens
    ), "a request counts once"
    samples = [served.body for served in server.served if served.kind == "solve"]
    assert len({body["seed"] for body in samples}) == 3, "samples differ, whatever seed was bound"
    assert {body["max_completion_tokens"] for body in samples} == {50}
    judged = [served.body for served in server.served if served.kind == "judge"]
    assert all("response_format" in body for body in judged), "the server's own form of objects is used"
    if wrapper == "bind":
        assert {(*body["stop"], body["user"]) for body in samples} == {("ZZ", "me")}


def test_inside_a_stream_of_messages_only_the_answer_shows(start_server: ServerFactory) -> None:
    graph = create_metascale(client(start_server()).with_retry(), settings=SMALL)
    parts = list(graph.stream(ask(), stream_mode="messages"))
    assert {part[1]["langgraph_node"] for part in parts} == {"finalize"}


def failing(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
    if body["model"] == "bad" or (body["model"] == "flaky" and number % 2 == 0):
        return Fault(status=500, body=f'{{"error": {{"message": "no luck with {KEY}"}}}}')
    return None


def test_fallbacks_answer_where_the_first_model_fails(start_server: ServerFactory) -> None:
    server = start_server(script=failing)
    model = client(server, "bad").with_fallbacks([client(server, "good")])
    result = create_metascale(model, settings=SMALL).invoke(ask())["result"]
    assert result["reward"] is not None
    assert troubles(result["notes"]) == []
    assert {served.body["model"] for served in server.served} == {"good"}


def test_retries_of_the_wrapper_are_made(start_server: ServerFactory) -> None:
    server = start_server(script=failing)
    model = client(server, "flaky").with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
    result = create_metascale(model, settings=SMALL).invoke(ask())["result"]
    assert troubles(result["notes"]) == []
    assert len(server.served) == 6


def test_models_of_different_classes_are_asked_for_objects_in_words(start_server: ServerFactory) -> None:
    server = start_server(script=failing)
    model = client(server, "bad").with_fallbacks([SimulatedChatModel()])
    result = create_metascale(model, settings=SMALL).invoke(ask())["result"]
    assert result["reward"] is not None
    assert troubles(result["notes"]) == ["the server reported no token usage"] or troubles(result["notes"]) == []
    with pytest.raises(NotImplementedError, match="different classes"):
        ChatMetaScale(model=model).bind_tools([weather])


def test_keys_of_a_wrapped_model_are_redacted(start_server: ServerFactory) -> None:
    model = client(start_server(script=failing), "bad").with_retry(stop_after_attempt=1)
    with pytest.raises(NoAnswerError) as caught:
        create_metascale(model, settings=SMALL).invoke(ask())
    assert "no luck" in str(caught.value)
    assert KEY not in str(caught.value)


def test_tools_of_a_search_on_a_wrapped_model(start_server: ServerFactory) -> None:
    chat = ChatMetaScale(model=client(start_server()).with_retry(), settings=SMALL)
    (call,) = chat.bind_tools([weather], tool_choice="any").invoke("What is the weather in 'Rome'?").tool_calls
    assert call["name"] == "weather"


OTHERS: dict[str, tuple[Callable[[ChatOpenAI], Any], str]] = {
    "chain": (lambda model: ChatPromptTemplate.from_template("{x}") | model, "a RunnableSequence is neither"),
    "structured": (lambda model: model.with_structured_output(City), "a RunnableSequence is neither"),
    "tools": (lambda model: model.bind_tools([weather]), "tools are bound to the model: bind them to ChatMetaScale"),
    "retried tools": (lambda model: model.bind_tools([weather]).with_retry(), "tools are bound to the model"),
    "number": (lambda _: 3, "a int is neither"),
}


@pytest.mark.parametrize("create", [create_metascale, lambda model: ChatMetaScale(model=model)])
@pytest.mark.parametrize("other", OTHERS)
def test_what_is_no_chat_model_is_refused_in_one_line(other: str, create: Any, start_server: ServerFactory) -> None:
    make, complaint = OTHERS[other]
    with pytest.raises(ModelSetupError, match=complaint) as caught:
        create(make(client(start_server())))
    assert "\n" not in str(caught.value)


# --- the cache -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cache() -> Iterator[None]:
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


@pytest.mark.usefixtures("cache")
def test_searches_share_a_cached_reply_only_where_they_are_the_same(start_server: ServerFactory) -> None:
    server, other = start_server(), start_server()

    def asks(**parts: Any) -> int:
        """Samples that one more search draws."""
        before = server.count("solve") + other.count("solve")
        ChatMetaScale(**{"model": client(server), "settings": SMALL, **parts}).invoke(QUESTION)
        return server.count("solve") + other.count("solve") - before

    assert asks() == 3
    assert asks() == 0, "the same search again"
    differences: list[dict[str, Any]] = [
        {"reward": VerifierReward(lambda *_: 0.5)},
        {"reward": VerifierReward(lambda *_: 0.6)},
        {"model": client(other)},
        {"model": client(server, temperature=0.3)},
        {"model": client(server, model_kwargs={"parallel_tool_calls": False})},
        {"model": client(server).bind(stop=["A"])},
        {"model": client(server).bind(stop=["B"])},
        {"stop": ["Z"]},
        {"settings": SMALL.model_copy(update={"answer_kind": "number"})},
    ]
    for parts in differences:
        assert asks(**parts) == 3, parts


@pytest.mark.usefixtures("cache")
async def test_one_model_uses_its_cache(start_server: ServerFactory) -> None:
    server = start_server()
    chat = ChatMetaScale(model=client(server), settings=SMALL, reward=VerifierReward(lambda *_: 0.5))
    first = await chat.ainvoke(QUESTION)
    assert (await chat.ainvoke(QUESTION)).content == first.content
    assert server.count("solve") == 3


# --- graphs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
def test_a_recursion_limit_bound_to_the_graph_holds(*, nested: bool) -> None:
    long = MetaScaleSettings(budget=16, batch_size=1, pool_size=2, stop_on_agreement=None)
    graph: Any = create_metascale("simulated", settings=long).with_config(recursion_limit=20)
    state = (parent(graph) if nested else graph).invoke(ask(), THREAD)
    if not nested:
        assert state["result"]["stop_reason"] == "step_limit"
        assert state["result"]["usage"]["samples"] < 16
        assert graph.invoke(ask(), {"recursion_limit": 30})["result"]["usage"]["samples"] > 7, "the call's own wins"


def parent(graph: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("think", graph)
    builder.add_edge(START, "think")
    return builder.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("as_function", [False, True])
async def test_inside_a_parent_every_update_is_streamed(*, as_function: bool, asynchronous: bool) -> None:
    settings = MetaScaleSettings(budget=8, batch_size=2, pool_size=2, seed=1, evolve_every=1, evolution="always")
    graph = create_metascale("simulated", settings=settings)
    alone = list(graph.stream(ask(), stream_mode="updates"))
    if as_function:
        inner = as_node(graph, question=lambda state: state["messages"], answer="said")
        outer = parent(inner)
    else:
        outer = parent(graph)
    options: Any = {"stream_mode": "updates", "subgraphs": True}
    parts = (
        [part async for part in outer.astream(ask(), THREAD, **options)]
        if asynchronous
        else list(outer.stream(ask(), THREAD, **options))
    )
    within = [update for space, update in parts if space]
    assert [list(update) for update in within] == [list(update) for update in alone]
    for update in within:
        for node, change in update.items():
            assert change, node


def test_a_parents_state_gets_only_the_output() -> None:
    class Wide(MessagesState):
        pool: list[str]

    builder = StateGraph(Wide)
    builder.add_node("think", create_metascale("simulated", settings=SMALL))
    builder.add_edge(START, "think")
    out = builder.compile().invoke({**ask(), "pool": ["mine"]})  # type: ignore[arg-type]
    assert out["pool"] == ["mine"]
    assert set(create_metascale("simulated", settings=SMALL).invoke(ask())) == {"messages", "result"}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("method", METHODS)
async def test_a_run_whose_samples_all_failed_draws_anew_when_resumed(method: str, *, nested: bool) -> None:
    down = True

    def write(kind: str, number: int, messages: list[BaseMessage]) -> Reply:
        return RuntimeError("down") if kind == "solve" and down else discovering(kind, number, messages)

    settings = MetaScaleSettings(budget=4, batch_size=2, pool_size=2, max_retries=0, max_failures=4)
    model = ScriptedModel(write=write)
    graph: Any = METHODS[method].create(model, settings=settings, checkpointer=None if nested else InMemorySaver())
    graph = parent(graph) if nested else graph
    for given in (ask(), None):
        with pytest.raises(NoAnswerError, match="down"):
            await graph.ainvoke(given, THREAD)
    composed = len(model.requests("compose"))
    down = False
    out = await graph.ainvoke(None, THREAD)
    assert isinstance(out["messages"][-1], AIMessage)
    assert out["messages"][-1].text.startswith("Answer")
    assert len(model.requests("compose")) == composed, "the pool stays"
    if not nested:
        assert out["result"]["usage"]["calls"] == len(model._requests)
        assert out["result"]["usage"]["samples"] == (1 if METHODS[method].one_pass else 4)
