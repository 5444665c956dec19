"""A graph inside somebody else's graph: as a node of its own, and wrapped for a parent whose state is different."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from typing_extensions import TypedDict

from metascale import MetaScaleSettings, QuestionError, as_node, create_metascale, prompts
from metascale.bandits import RoundRobin
from metascale.graphs import Graph
from tests.conftest import ask
from tests.scripted import ScriptedModel, sensible

BUDGET = 24
SETTINGS = MetaScaleSettings(budget=BUDGET, batch_size=2, confirm=0, stop_on_agreement=None, stragglers="wait")
THREAD: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 25}
TASK = {"task": "Why?"}
AnyGraph = Any


class Job(TypedDict):
    """What another application's state might be."""

    task: str
    solution: str
    steps: list[str]


def graph_on(model: ScriptedModel, **parts: Any) -> Graph:
    return create_metascale(model, settings=SETTINGS, **parts)


def note(state: Any) -> dict[str, Any]:  # noqa: ARG001
    return {}


def as_subgraph(graph: Graph, **compiling: Any) -> AnyGraph:
    """A parent of messages, with a node before and one after the graph."""
    builder = StateGraph(MessagesState)
    builder.add_node("before", note)
    builder.add_node("think", graph)
    builder.add_node("after", note)
    for one, other in [(START, "before"), ("before", "think"), ("think", "after"), ("after", END)]:
        builder.add_edge(one, other)
    return builder.compile(**compiling)


def wrapped(graph: Graph, **compiling: Any) -> AnyGraph:
    """A parent with a state of its own."""
    builder = StateGraph(Job)
    builder.add_node("before", note)
    builder.add_node("think", as_node(graph, question="task", answer="solution"))
    builder.add_node("after", note)
    for one, other in [(START, "before"), ("before", "think"), ("think", "after"), ("after", END)]:
        builder.add_edge(one, other)
    return builder.compile(**compiling)


Parent = Callable[..., AnyGraph]
both_forms = pytest.mark.parametrize(("parent", "given"), [(as_subgraph, ask("Why?")), (wrapped, TASK)])


def answer_in(state: dict[str, Any]) -> str:
    return state["solution"] if "solution" in state else state["messages"][-1].text


def assert_only_the_answer(state: dict[str, Any]) -> None:
    if "messages" in state:
        assert set(state) == {"messages"}
        assert [m.type for m in state["messages"]] == ["human", "ai"]
    else:
        assert set(state) == {"task", "solution"}
    assert answer_in(state).startswith("Answer ")


@both_forms
async def test_nothing_but_the_answer_gets_into_the_parent(parent: Parent, given: Any) -> None:
    model = ScriptedModel(write=sensible)
    graph = parent(graph_on(model))
    assert_only_the_answer(graph.invoke(given, {"recursion_limit": 25}))
    assert_only_the_answer(await graph.ainvoke(given, {"recursion_limit": 25}))
    assert len(model.requests("solve")) == 2 * BUDGET, "a parent's limit of 25 steps does not cut the search short"


@both_forms
async def test_the_message_stream_holds_the_answer_once(parent: Parent, given: Any) -> None:
    graph = parent(graph_on(ScriptedModel(write=sensible)))
    shared = int("messages" in given)
    for subgraphs in (False, True):
        events = list(graph.stream(given, stream_mode="messages", subgraphs=subgraphs))
        aevents = [e async for e in graph.astream(given, stream_mode="messages", subgraphs=subgraphs)]
        expected = 1 if subgraphs else shared
        assert (len(events), len(aevents)) == (expected, expected)
        if subgraphs:
            (namespace, (message, about)) = events[0]
            assert namespace[0].startswith("think:")
            assert about["langgraph_node"] == "finalize"
            assert message.text.startswith("Answer ")


@both_forms
async def test_the_parents_stream_reaches_into_the_search(parent: Parent, given: Any) -> None:
    graph = parent(graph_on(ScriptedModel(write=sensible)))
    own = [name for update in graph.stream(given, stream_mode="updates") for name in update]
    assert own == ["before", "think", "after"]
    modes = ["updates", "custom"]
    events = [e async for e in graph.astream(given, stream_mode=modes, subgraphs=True)]
    inner = [name for namespace, mode, data in events if namespace and mode == "updates" for name in data]
    assert inner.count("generate") == BUDGET
    assert {"initialize_pool", "select_arm", "score", "finalize"} <= set(inner)
    assert any(mode == "custom" and namespace[0].startswith("think:") for namespace, mode, _ in events if namespace)


@both_forms
def test_the_parents_drawing_reaches_into_the_search(parent: Parent, given: Any) -> None:  # noqa: ARG001
    drawn = parent(graph_on(ScriptedModel(write=sensible))).get_graph(xray=True).draw_mermaid()
    assert "select_arm" in drawn
    assert "budget left" in drawn


def test_runs_inside_chains_lambdas_and_batches_are_not_cut_short() -> None:
    graph = graph_on(ScriptedModel(write=sensible))
    inside = RunnableLambda(graph.invoke)
    pipe = RunnableLambda(lambda given: given) | graph
    outs = [inside.invoke(ask()), pipe.invoke(ask()), *graph.batch([ask(), ask()])]
    assert [out["result"]["stop_reason"] for out in outs] == ["budget"] * 4


async def test_asynchronous_chains_and_batches_are_not_cut_short_either() -> None:
    graph = graph_on(ScriptedModel(write=sensible))

    async def call(given: Any) -> Any:
        return await graph.ainvoke(given)

    pipe = RunnableLambda(lambda given: given) | graph
    outs = [await RunnableLambda(call).ainvoke(ask()), await pipe.ainvoke(ask()), *await graph.abatch([ask(), ask()])]
    assert [out["result"]["stop_reason"] for out in outs] == ["budget"] * 4


def test_the_caller_of_a_run_may_still_limit_its_steps() -> None:
    graph = graph_on(ScriptedModel(write=sensible))
    assert graph.invoke(ask(), {"recursion_limit": 20})["result"]["stop_reason"] == "step_limit"
    inside = RunnableLambda(lambda given: graph.invoke(given, {"recursion_limit": 20}))
    assert inside.invoke(ask())["result"]["stop_reason"] == "step_limit"


@both_forms
async def test_the_parents_interrupts_before_and_after_the_node(parent: Parent, given: Any) -> None:
    model = ScriptedModel(write=sensible)
    graph = parent(graph_on(model), checkpointer=InMemorySaver(), interrupt_before=["think"], interrupt_after=["think"])
    graph.invoke(given, THREAD)
    assert graph.get_state(THREAD).next == ("think",)
    assert not model.requests("solve")
    await graph.ainvoke(None, THREAD)
    assert graph.get_state(THREAD).next == ("after",)
    assert len(model.requests("solve")) == BUDGET
    assert_only_the_answer(graph.invoke(None, THREAD))
    assert len(model.requests("solve")) == BUDGET
    assert graph.get_state(THREAD).next == ()


@both_forms
async def test_the_searchs_own_questions_to_people_reach_the_parent(parent: Parent, given: Any) -> None:
    model = ScriptedModel(write=sensible)
    graph = parent(
        create_metascale(model, settings=SETTINGS.model_copy(update={"review_pool": True})),
        checkpointer=InMemorySaver(),
    )
    (question,) = graph.invoke(given, THREAD)["__interrupt__"]
    assert question.value["asks"] == "review_pool"
    (task,) = graph.get_state(THREAD, subgraphs=True).tasks
    assert len(task.state.values["pool"]) == 8
    assert not model.requests("solve")
    assert_only_the_answer(await graph.ainvoke(Command(resume="accept"), THREAD))
    assert len(model.requests("solve")) == BUDGET
    assert len(model.requests("compose")) == 1


class Breaks(RoundRobin):
    """A policy that breaks down in the fifth round: the process died there, say."""

    def plan(self, arms: Any, size: int, rng: np.random.Generator, *, left: int) -> list[int]:
        if sum(arm.pulls for arm in arms) >= 8:
            raise SystemError("power cut")
        return super().plan(arms, size, rng, left=left)


@both_forms
def test_a_run_that_broke_down_is_resumed_from_the_parents_database(parent: Parent, given: Any, tmp_path: Path) -> None:
    model = ScriptedModel(write=sensible)
    path = str(tmp_path / "parent.sqlite")
    with SqliteSaver.from_conn_string(path) as saver:
        broken = parent(graph_on(model, policy=Breaks()), checkpointer=saver)
        with pytest.raises(SystemError, match="power cut"):
            broken.invoke(given, THREAD, durability="sync")
        (task,) = broken.get_state(THREAD, subgraphs=True).tasks
        assert task.name == "think"
        assert len(task.state.values["candidates"]) == 8
    with SqliteSaver.from_conn_string(path) as saver:
        whole = parent(graph_on(model, policy=RoundRobin()), checkpointer=saver)
        assert_only_the_answer(whole.invoke(None, THREAD))
    assert len(model.requests("solve")) == BUDGET, "no finished sample is drawn again"
    assert len(model.requests("compose")) == 1


@both_forms
async def test_a_run_that_broke_down_is_resumed_asynchronously(parent: Parent, given: Any, tmp_path: Path) -> None:
    model = ScriptedModel(write=sensible)
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "parent.sqlite")) as saver:
        with pytest.raises(SystemError, match="power cut"):
            await parent(graph_on(model, policy=Breaks()), checkpointer=saver).ainvoke(given, THREAD)
        whole = parent(graph_on(model, policy=RoundRobin()), checkpointer=saver)
        assert_only_the_answer(await whole.ainvoke(None, THREAD))
    assert len(model.requests("solve")) == BUDGET


def test_a_fork_from_the_parents_history_asks_another_question() -> None:
    model = ScriptedModel(write=sensible)
    graph = as_subgraph(graph_on(model), checkpointer=InMemorySaver())
    first = graph.invoke(ask("Why?"), THREAD)
    (before,) = [snapshot for snapshot in graph.get_state_history(THREAD) if snapshot.next == ("think",)]
    asked = HumanMessage("Why not?", id=first["messages"][0].id)
    fork = graph.update_state(before.config, {"messages": [asked]})
    second = graph.invoke(None, cast("Any", fork))
    assert second["messages"][0].text == "Why not?"
    assert [m.type for m in second["messages"]] == ["human", "ai"]
    assert len(model.requests("solve")) == 2 * BUDGET
    assert "Why not?" in model.requests("solve")[-1][-1].text
    answers = {m.text for s in graph.get_state_history(THREAD) for m in s.values["messages"] if m.type == "ai"}
    assert answers == {first["messages"][-1].text, second["messages"][-1].text}


def test_a_fork_of_a_wrapped_graph_begins_a_search_of_its_own() -> None:
    model = ScriptedModel(write=sensible)
    graph = wrapped(graph_on(model), checkpointer=InMemorySaver())
    graph.invoke(TASK, THREAD)
    (before,) = [snapshot for snapshot in graph.get_state_history(THREAD) if snapshot.next == ("think",)]
    second = graph.invoke(None, cast("Any", graph.update_state(before.config, {"task": "Why not?"})))
    assert second["task"] == "Why not?"
    assert len(model.requests("solve")) == 2 * BUDGET
    assert "Why not?" in model.requests("solve")[-1][-1].text


def test_a_thread_of_several_turns_keeps_the_conversation_alone() -> None:
    model = ScriptedModel(write=sensible)
    graph = as_subgraph(graph_on(model), checkpointer=InMemorySaver())
    graph.invoke(ask("Why?"), THREAD)
    out = graph.invoke(ask("And why not?"), THREAD)
    assert [m.type for m in out["messages"]] == ["human", "ai", "human", "ai"]
    assert len(model.requests("solve")) == 2 * BUDGET


def test_the_question_may_be_made_of_the_state_and_the_result_be_kept() -> None:
    model = ScriptedModel(write=sensible)

    class Kept(Job):
        found: dict[str, Any]

    builder = StateGraph(Kept)
    builder.add_node(
        "think",
        as_node(
            graph_on(model),
            question=lambda state: [HumanMessage(f"Solve: {state['task']}")],
            answer="solution",
            result="found",
        ),
    )
    builder.add_edge(START, "think")
    out = builder.compile().invoke(cast("Any", TASK))
    assert set(out) == {"task", "solution", "found"}
    assert out["found"]["answer"] == out["solution"]
    assert prompts.apart(model.requests("solve")[0][-1].text)[0] == "Solve: Why?"


def test_a_state_without_the_question_says_so() -> None:
    with pytest.raises(QuestionError, match="the state has no 'task'"):
        wrapped(graph_on(ScriptedModel(write=sensible))).invoke({"steps": []})
