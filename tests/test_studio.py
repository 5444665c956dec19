"""LangGraph Studio's server, started for real and asked through its SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from tests.conftest import QUESTION
from tests.langgraph_server import serving_langgraph


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_langgraph(tmp_path_factory.mktemp("studio"), METASCALE_STUDIO="1") as (url, _):
        yield url


@pytest.fixture
def client(studio: str) -> Iterator[SyncLangGraphClient]:
    with get_sync_client(url=studio) as client:
        yield client


def assistant(client: SyncLangGraphClient) -> str:
    (found,) = client.assistants.search(graph_id="metascale")
    return str(found["assistant_id"])


def test_the_graph_is_drawn_with_its_nodes_and_labels(client: SyncLangGraphClient) -> None:
    graph = client.assistants.get_graph(assistant(client), xray=True)
    nodes = {node["id"] for node in graph["nodes"]}
    assert nodes == {
        "__start__",
        "foresee",
        "initialize_pool",
        "review_pool",
        "select_arm",
        "compose",
        "generate",
        "score",
        "evolve",
        "grant_budget",
        "synthesize",
        "confirm",
        "finalize",
        "__end__",
    }
    labels = {edge.get("data") for edge in graph["edges"] if edge["source"] == "score"}
    assert labels == {
        "budget left",
        "answers cannot be compared",
        "time to evolve",
        "ask for more",
        "write a synthesis",
        "look again",
        "choose",
    }


def test_chat_mode_and_the_settings_form(client: SyncLangGraphClient) -> None:
    schemas = client.assistants.get_schemas(assistant(client))
    assert list(schemas["input_schema"]["properties"]) == ["messages"]
    assert {"messages", "result"} <= set(schemas["output_schema"]["properties"])
    form = schemas["context_schema"]["properties"]
    assert form["model"]["langgraph_nodes"] == ["initialize_pool", "generate"]
    assert form["budget"]["default"] == 16
    assert form["budget"]["minimum"] == 1
    assert form["policy"]["enum"][:3] == ["upper_tail", "ucb", "softmax"]
    assert all(field.get("description") for field in form.values())
    assert form["beta"]["langgraph_nodes"] == ["select_arm", "evolve"]


def test_a_streamed_run_on_a_thread_with_its_own_budget(client: SyncLangGraphClient) -> None:
    thread = client.threads.create()["thread_id"]
    question = {"messages": [{"role": "user", "content": QUESTION}]}
    nodes = [
        node
        for part in client.runs.stream(
            thread,
            assistant(client),
            input=question,
            context={"budget": 12, "seed": 1, "evolution": "always", "head_start": 0, "stop_on_agreement": None},
            stream_mode="updates",
        )
        if part.event == "updates"
        for node in part.data
    ]
    assert nodes[0] == "initialize_pool"
    assert nodes[-1] == "finalize"
    assert nodes.count("generate") == 12
    assert "evolve" in nodes
    values = client.threads.get_state(thread)["values"]
    assert values["result"]["usage"]["samples"] == 12
    assert [message["type"] for message in values["messages"]] == ["human", "ai"]
    assert client.threads.get_history(thread)


def test_a_run_names_its_model_and_its_method_in_the_form(client: SyncLangGraphClient) -> None:
    run: dict[str, Any] = {"input": {"messages": [{"role": "user", "content": QUESTION}]}}
    out = client.runs.wait(None, assistant(client), context={"model": "simulated", "budget": 1}, **run)
    assert out["result"]["usage"]["samples"] == 1
    context = {"method": "best_of_n", "budget": 3}
    nodes = [
        node
        for part in client.runs.stream(None, assistant(client), context=context, stream_mode="updates", **run)
        if part.event == "updates"
        for node in part.data
    ]
    assert (nodes[0], nodes.count("generate")) == ("set_arm", 3)
    refused = client.runs.wait(None, assistant(client), context={"model": "simulatde"}, raise_error=False, **run)
    assert "did you mean 'simulated'?" in str(refused)
    refused = client.runs.wait(None, assistant(client), context={"method": "best"}, raise_error=False, **run)
    assert "did you mean 'best_of_n'?" in str(refused)


def test_the_pool_is_edited_and_more_budget_granted_through_the_sdk(client: SyncLangGraphClient) -> None:
    thread = client.threads.create()["thread_id"]
    question = {"messages": [{"role": "user", "content": QUESTION}]}
    run: dict[str, Any] = {"context": {"budget": 4, "seed": 1, "review_pool": True, "ask_for_budget": True}}
    graph = assistant(client)

    def asked() -> dict[str, Any]:
        state = client.threads.get_state(thread)
        (interrupt,) = state["interrupts"]
        return dict(interrupt["value"])

    client.runs.wait(thread, graph, input=question, **run)
    assert asked()["asks"] == "review_pool"
    assert client.threads.get(thread)["status"] == "interrupted"
    client.runs.wait(thread, graph, command={"resume": {"drop": ["m77"]}}, **run)
    assert "there is no meta-thought 'm77'" in asked()["problem"]
    edits = {"drop": ["m1", "m2"], "add": [{"mindset": "You are a mule.", "strategy": "Refuse the first answer."}]}
    client.runs.wait(thread, graph, command={"resume": edits}, **run)
    assert (asked()["asks"], asked()["usage"]["samples"]) == ("grant_budget", 4)
    parts = list(client.runs.stream(thread, graph, command={"resume": 3}, stream_mode="custom", **run))
    events = [part.data["event"] for part in parts if part.event == "custom"]
    assert events.count("sampled") == 3
    assert asked()["budget"] == 7
    out = client.runs.wait(thread, graph, command={"resume": 0}, **run)
    assert out["result"]["usage"]["samples"] == 7

    run["context"] = {**run["context"], "ask_for_budget": False}
    command = {"update": {"granted": 2}, "goto": "grant_budget"}
    out = client.runs.wait(thread, graph, command=command, **run)
    assert out["result"]["usage"]["samples"] == 9
    assert [message["type"] for message in out["messages"]] == ["human", "ai"]
    values = client.threads.get_state(thread)["values"]
    assert [t["id"] for t in values["pool"]][-1] == "m7"
    assert len(values["pool"]) == 7
    assert len(values["candidates"]) == 9


def test_bad_settings_are_refused(client: SyncLangGraphClient) -> None:
    thread = client.threads.create()["thread_id"]
    question = {"messages": [{"role": "user", "content": QUESTION}]}
    parts = list(
        client.runs.stream(thread, assistant(client), input=question, context={"budget": 0}, stream_mode="updates")
    )
    assert parts[-1].event == "error"
    assert "budget" in str(parts[-1].data)


@pytest.mark.parametrize("context", [{"budgt": 4}, {"budget": 4, "colour": "red"}])
def test_unknown_settings_are_refused_as_in_process(client: SyncLangGraphClient, context: dict[str, Any]) -> None:
    thread = client.threads.create()["thread_id"]
    question = {"messages": [{"role": "user", "content": QUESTION}]}
    parts = list(client.runs.stream(thread, assistant(client), input=question, context=context, stream_mode="custom"))
    assert parts[-1].event == "error"
    assert "unknown setting" in str(parts[-1].data)
    assert not [part for part in parts if part.event == "custom"], "nothing was drawn"


def test_the_servers_own_names_in_a_config_are_no_settings(client: SyncLangGraphClient) -> None:
    thread = client.threads.create()["thread_id"]
    question = {"messages": [{"role": "user", "content": QUESTION}]}
    config: Any = {"configurable": {"thread_id": thread, "budget": 3}}
    out = client.runs.wait(thread, assistant(client), input=question, config=config)
    assert isinstance(out, dict)
    assert out["result"]["usage"]["samples"] == 3
