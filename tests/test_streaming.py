"""What a run reports while it is running, in every streaming mode."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, get_args, get_type_hints

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from metascale import Event, MetaScaleSettings, create_metascale, grant
from metascale.graphs import METHODS
from tests.conftest import THREAD, ServerFactory, ask, chat_model
from tests.scripted import ScriptedModel, sensible
from tests.waiting import CEILING

SCHEMA = {get_args(get_type_hints(kind)["event"])[0]: get_type_hints(kind) for kind in get_args(Event)}


async def streamed(graph: Any, given: Any, *, asynchronous: bool, **options: Any) -> list[Any]:
    """All parts of a stream, by either way."""
    if asynchronous:
        return [part async for part in graph.astream(given, **options)]
    return list(graph.stream(given, **options))


def kinds(events: list[Any]) -> list[str]:
    """The names of events that keep to the schema and are plain JSON."""
    for event in events:
        assert json.loads(json.dumps(event, allow_nan=False)) == event
        assert event.keys() == SCHEMA[event["event"]].keys()
    return [event["event"] for event in events]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_every_sample_tells_once_and_failures_are_marked(*, asynchronous: bool) -> None:
    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
        return ValueError("dead") if kind == "solve" and number in {2, 5} else sensible(kind, number, messages)

    settings = MetaScaleSettings(budget=20, evolution="always", seed=1, max_retries=0)
    graph = create_metascale(ScriptedModel(write=write), settings=settings)
    events = await streamed(graph, ask(), asynchronous=asynchronous, stream_mode="custom")
    names = kinds(events)
    assert names[0] == "pool"
    assert names[-1] == "chosen"
    assert "evolved" in names
    rounds = [event["round"] for event in events if event["event"] == "scored"]
    assert rounds == [event["round"] for event in events if event["event"] == "pulled"] == [*range(1, len(rounds) + 1)]
    statuses = Counter(event["candidate"]["status"] for event in events if event["event"] == "sampled")
    assert statuses == {"ok": 20, "failed": 2}
    pulled = [pull["id"] for event in events if event["event"] == "pulled" for pull in event["pulls"]]
    assert sorted(pulled) == sorted(e["candidate"]["id"] for e in events if e["event"] == "sampled") == [*range(22)]
    verdicts = [verdict["id"] for event in events if event["event"] == "scored" for verdict in event["verdicts"]]
    assert len(verdicts) == len(set(verdicts)) == 20
    assert events[-1]["result"]["usage"]["samples"] == 20


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_sample_tells_when_it_arrives_not_when_the_round_ends(*, asynchronous: bool) -> None:
    seen, released = threading.Event(), []

    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
        if kind == "solve" and number > 0:
            released.append(seen.wait(CEILING))
        return sensible(kind, number, messages)

    settings = MetaScaleSettings(budget=3, batch_size=3, confirm=0)
    graph = create_metascale(ScriptedModel(write=write), settings=settings)

    async def parts() -> AsyncIterator[Any]:
        if asynchronous:
            async for part in graph.astream(ask(), stream_mode="custom"):
                yield part
        else:
            for part in graph.stream(ask(), stream_mode="custom"):
                yield part

    async for event in parts():
        if event["event"] == "sampled":
            seen.set()
    assert released == [True, True]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_modes_side_by_side_are_what_langgraphs_users_expect(
    start_server: ServerFactory, *, asynchronous: bool
) -> None:
    model = chat_model(start_server(), streaming=True)
    graph = create_metascale(model, settings=MetaScaleSettings(budget=6, seed=1))
    parts = await streamed(graph, ask(), asynchronous=asynchronous, stream_mode=["updates", "messages", "custom"])
    by_mode = {mode: [part for found, part in parts if found == mode] for mode in ("updates", "messages", "custom")}
    nodes = Counter(node for update in by_mode["updates"] for node in update)
    assert nodes["generate"] == kinds(by_mode["custom"]).count("sampled") == 6
    assert (nodes["review_pool"], nodes["grant_budget"]) == (0, 0)
    ((message, metadata),) = by_mode["messages"]
    assert metadata["langgraph_node"] == "finalize"
    assert message.text == by_mode["custom"][-1]["result"]["answer"]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("form", ["node", "call"])
async def test_a_parent_sees_the_answer_once_and_the_events_where_it_asks(
    start_server: ServerFactory, form: str, *, asynchronous: bool
) -> None:
    model = chat_model(start_server(), streaming=True)
    graph = create_metascale(model, settings=MetaScaleSettings(budget=4, seed=1))

    def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": graph.invoke({"messages": state["messages"]}, {"recursion_limit": 500})["messages"][-1:]}

    async def athink(state: MessagesState) -> dict[str, Any]:
        out = await graph.ainvoke({"messages": state["messages"]}, {"recursion_limit": 500})
        return {"messages": out["messages"][-1:]}

    builder = StateGraph(MessagesState)
    builder.add_node("think", graph if form == "node" else athink if asynchronous else think)  # type: ignore[arg-type]
    builder.add_edge(START, "think")
    parent = builder.compile()
    options = {"asynchronous": asynchronous, "stream_mode": ["updates", "messages", "custom"]}
    parts = await streamed(parent, ask(), subgraphs=True, **options)
    inner = [part for place, mode, part in parts if place and mode == "custom"]
    assert kinds(inner).count("sampled") == 4
    assert kinds(inner)[-1] == "chosen"
    assert [set(part) for place, mode, part in parts if not place and mode == "updates"] == [{"think"}]
    assert [type(part[0]) for _, mode, part in parts if mode == "messages"] == [AIMessage]
    parts = await streamed(parent, ask(), **options)
    assert [mode for mode, _ in parts if mode != "custom"] in (["updates", "messages"], ["messages", "updates"])


async def test_reviews_and_grants_are_told_and_the_answer_is_streamed_anew() -> None:
    settings = MetaScaleSettings(stop_on_agreement=None, budget=4, review_pool=True, ask_for_budget=True, seed=1)
    graph = create_metascale("simulated", settings=settings, checkpointer=InMemorySaver())

    def told(given: Any) -> list[Any]:
        return list(graph.stream(given, THREAD, stream_mode="custom"))

    (made,) = told(ask())
    reviewed, *_ = told(Command(resume={"drop": ["m1"]}))
    assert (reviewed["event"], len(made["pool"]), len(reviewed["pool"])) == ("pool", 8, 7)
    assert reviewed["usage"]["calls"] == 0
    granted, pulled, *rest = told(Command(resume=3))
    assert (granted, pulled["event"]) == ({"event": "granted", "samples": 3, "usd": 0.0}, "pulled")
    assert kinds(rest).count("sampled") == 3
    assert kinds(told(Command(resume=0)))[-1] == "chosen"
    granted, *rest = told(grant(2))
    assert granted == {"event": "granted", "samples": 5, "usd": 0.0}
    assert kinds(rest).count("sampled") == 2
    graph.invoke(Command(resume=0), THREAD)
    graph.invoke(grant(1), THREAD)
    messages = list(graph.stream(Command(resume=0), THREAD, stream_mode="messages"))
    assert [type(message) for message, _ in messages] == [AIMessage]


def test_a_granted_run_streams_its_answer_once() -> None:
    graph = create_metascale("simulated", settings=MetaScaleSettings(budget=4, seed=1), checkpointer=InMemorySaver())
    graph.invoke(ask(), THREAD)
    messages = list(graph.stream(grant(4), THREAD, stream_mode="messages"))
    assert [type(message) for message, _ in messages] == [AIMessage]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_tells_its_pool_its_samples_and_its_choice(method: str) -> None:
    settings = MetaScaleSettings(budget=1 if METHODS[method].one_pass else 3, seed=1)
    graph = METHODS[method].create("simulated", settings=settings)

    def events() -> Iterator[Any]:
        yield from graph.stream(ask(), stream_mode="custom")

    names = kinds(list(events()))
    assert names[0] == "pool"
    assert names.count("sampled") == settings.budget
    assert names[-1] == "chosen"
