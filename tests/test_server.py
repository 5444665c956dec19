"""`metascale serve`, started for real: OpenAI's own client, curl and LangGraph's client speak to it."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_sync_client
from openai import AsyncOpenAI, OpenAI
from typer.testing import CliRunner

import metascale.cli.app
from metascale import MetaScaleSettings
from metascale.models.simulated import NOTICE
from metascale.result import troubles
from metascale.server import app as server_app
from metascale.server.app import create_app
from metascale.server.options import ServerOptions
from metascale.server.request import ChatRequest
from metascale.server.start import graphs, plan
from tests.conftest import QUESTION, ServerFactory
from tests.langgraph_server import wait_for_server
from tests.openai_server import FOR_EVER, Fault, OpenAIServer, serving
from tests.waiting import CEILING, wait_until


class Unpickled:
    """Says so, in a file, if anybody unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


TOKEN = "open-sesame-7Tq2mZ"
KEY = "canary9Qx79zR4vW99kP2"
TRAP = pickle.dumps(Unpickled())
MODEL = "metascale/loopback"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
NAMED = {"type": "function", "function": {"name": "get_time"}}
TOP = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIServer]:
    """The server that the model is at."""
    with serving(OpenAIServer()) as server:
        yield server


@pytest.fixture(scope="module")
def served(upstream: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Where `metascale serve` listens, started in a folder of its own, and its log."""
    folder = tmp_path_factory.mktemp("serve")
    (folder / "token").write_text(f"{TOKEN}\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "metascale.cli", "serve", "--port", str(port), "--token-file", "token"]
    command += ["--model", "openai:loopback", "--base-url", upstream.url, "--budget", "4", "--max-budget", "64"]
    command += ["--max-body", "20000", "--set", "max_calls=200"]
    (folder / ".langgraph_api").mkdir()
    for name in (".langgraph_checkpoint.1.pckl", ".langgraph_ops.pckl", ".langgraph_retry_counter.pckl", "store.pckl"):
        (folder / ".langgraph_api" / name).write_bytes(TRAP)
    log = folder / "log"
    variables = {**os.environ, "OPENAI_API_KEY": KEY, "LOG_LEVEL": "DEBUG"}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, env=variables)
    found = f"http://127.0.0.1:{port}"
    try:
        wait_for_server(f"{found}/ok", process, log)
        wait_until(lambda: f"Serving openai:loopback at {found}/v1\n" in log.read_text())
        yield found, log
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(CEILING) == 0, log.read_text()
    said = log.read_text()
    assert said.count("Serving openai:loopback") == 1
    assert "\x1b" not in said
    left = {path: path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()}
    assert {path.name for path, text in left.items() if KEY in text or TOKEN in text} == {"token"}
    assert not any("unpickled" in path.name for path in left)


@pytest.fixture(scope="module")
def url(served: tuple[str, Path]) -> str:
    """Where `metascale serve` listens."""
    return served[0]


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


def post(url: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    given = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}", **headers}
    return httpx.post(f"{url}/v1/chat/completions", content=content, headers=given, timeout=CEILING)


def extra(reply: Any) -> dict[str, Any]:
    return dict(reply.model_extra["metascale"])


def test_the_log_has_a_line_for_a_request(client: OpenAI, served: tuple[str, Path]) -> None:
    client.chat.completions.create(model=MODEL, messages=MESSAGES, seed=7)
    line = re.compile(r"^\d\d:\d\d:\d\d POST /v1/chat/completions 200 \d+\.\d s$", re.MULTILINE)
    wait_until(lambda: line.search(served[1].read_text()) is not None)


def test_an_answer_and_its_whole_bill(client: OpenAI, upstream: OpenAIServer) -> None:
    before = (upstream.input_tokens, upstream.output_tokens, sum(upstream.requests.values()))
    reply = client.chat.completions.create(model=MODEL, messages=MESSAGES, seed=7)
    (choice,) = reply.choices
    assert reply.model == MODEL
    assert choice.finish_reason == "stop"
    assert (choice.message.content or "").startswith(NOTICE)
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == upstream.input_tokens - before[0]
    assert reply.usage.completion_tokens == upstream.output_tokens - before[1]
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    about = extra(reply)
    assert about["samples"] == 4
    assert about["calls"] == sum(upstream.requests.values()) - before[2]
    assert about["stop_reason"] == "budget"
    assert about["cost_usd"] is None
    assert about["meta_thought"]["id"]


def test_a_stream_is_the_answer_and_ends_with_its_bill(client: OpenAI) -> None:
    asked: Any = {"model": MODEL, "messages": MESSAGES, "seed": 7}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len(chunks) > 10
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert extra(chunks[-2])["samples"] == 4
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_stream_without_a_bill_in_an_event_loop(url: str) -> None:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=TOKEN, max_retries=0) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        chunks = [chunk async for chunk in stream]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("asked", "samples", "calls"),
    [
        ({"model": f"{MODEL}?budget=3&policy=ucb&confirm=0", "metadata": {"pool_size": "2"}}, 3, 6),
        ({"model": "loopback", "metadata": {"budget": "2", "pool_size": "2", "confirm": "0"}}, 2, 4),
        ({"model": "best_of_n/loopback", "metadata": {"budget": "2", "confirm": "0"}}, 2, 4),
        ({"model": "self_consistency", "metadata": {"budget": "3"}}, 3, 3),
        ({"model": "direct/loopback", "metadata": {"budget": "5"}}, 1, 1),
    ],
)
def test_what_a_request_may_set(client: OpenAI, asked: dict[str, Any], samples: int, calls: int) -> None:
    about = extra(client.chat.completions.create(messages=MESSAGES, **asked))
    assert about["samples"] == samples
    assert about["calls"] in {calls, calls + 1}


def test_what_shapes_a_sample_reaches_the_model(client: OpenAI, upstream: OpenAIServer) -> None:
    asked: Any = {"model": f"{MODEL}?budget=2", "temperature": 0.25, "max_completion_tokens": 321, "top_p": 0.5}
    begin = len(upstream.served)
    client.chat.completions.create(messages=MESSAGES, stop="THE END", **asked)
    bodies = [served.body for served in upstream.served[begin:] if served.kind == "solve"]
    assert len(bodies) == 2
    for body in bodies:
        assert (body["temperature"], body["top_p"], body["stop"]) == (0.25, 0.5, ["THE END"])
        assert body.get("max_tokens", body.get("max_completion_tokens")) == 321
    assert not any("stop" in served.body for served in upstream.served[begin:] if served.kind == "judge")


def test_a_conversation_of_every_role_reaches_the_model(client: OpenAI, upstream: OpenAIServer) -> None:
    call: Any = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is the weather in 'Oslo'?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Rain."},
        {"role": "assistant", "content": "It rains."},
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, image()]},
    ]
    client.chat.completions.create(model="direct/loopback", messages=messages)
    body = upstream.served[-1].body
    assert [message["role"] for message in body["messages"]] == [message["role"] for message in messages]
    assert body["messages"][2]["tool_calls"][0]["function"]["name"] == "get_weather"
    assert json.loads(body["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {"city": "Oslo"}
    assert body["messages"][3]["tool_call_id"] == "c1"
    assert body["messages"][5]["content"][1] == image()


def image() -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def test_tools_are_called_and_their_replies_answered(client: OpenAI) -> None:
    question: Any = {"role": "user", "content": "What is the weather in 'Oslo'?"}
    first = client.chat.completions.create(model=MODEL, messages=[question], tools=[WEATHER])
    (choice,) = first.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Oslo"})
    reply: Any = {"role": "tool", "tool_call_id": call.id, "content": "Rain."}
    said: Any = choice.message.model_dump(exclude_none=True)
    second = client.chat.completions.create(model=MODEL, messages=[question, said, reply], tools=[WEATHER])
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content


def test_a_stream_of_tool_calls(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model=MODEL,
        messages=[{"role": "user", "content": "What is the weather in 'Oslo'?"}],
        tools=[WEATHER],
        tool_choice="required",
    ) as stream:
        (choice,) = stream.get_final_completion().choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "Oslo"}


def test_structured_output(client: OpenAI) -> None:
    schema = {"type": "object", "properties": {"bolts": {"type": "integer"}}, "required": ["bolts"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "Bolts", "schema": schema}}
    question: Any = {"role": "user", "content": "There are 3 bolts. How many?"}
    reply = client.chat.completions.create(model=MODEL, messages=[question], response_format=form)
    assert json.loads(reply.choices[0].message.content or "") == {"bolts": 3}


def test_a_response_is_the_answer_of_a_search(client: OpenAI, upstream: OpenAIServer) -> None:
    before = upstream.count("solve")
    reply = client.responses.create(
        model=MODEL,
        instructions="Be brief.",
        input=[{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}],
        metadata={"budget": "2"},
    )
    assert reply.output_text.startswith(NOTICE)
    assert (reply.status, reply.model) == ("completed", MODEL)
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens
    assert upstream.count("solve") - before == extra(reply)["samples"] == 2
    samples = [one.body["messages"][0]["content"] for one in upstream.served if one.kind == "solve"]
    assert all("Be brief." in str(system) for system in samples[-2:])
    city = {"type": "json_schema", "name": "c", "schema": WEATHER["function"]["parameters"], "strict": True}
    shaped = client.responses.create(model=MODEL, input=QUESTION, text={"format": city})  # type: ignore[arg-type]
    assert json.loads(shaped.output_text).keys() == {"city"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"stream": True}, "/v1/chat/completions streams"),
        ({"tools": [{"type": "web_search"}]}, "/v1/chat/completions does"),
        ({"previous_response_id": "resp_1"}, "send the whole conversation"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "/v1/chat/completions takes tool calls"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "send text or images by URL"),
        ({"nonsense": 1}, "nonsense"),
        ({"metadata": {"bugdet": "1"}}, "did you mean 'budget'?"),
    ],
)
def test_what_a_response_cannot_be_is_refused_with_what_to_use(url: str, changes: dict[str, Any], says: str) -> None:
    body = {"model": MODEL, "input": QUESTION, **changes}
    reply = httpx.post(f"{url}/v1/responses", json=body, headers=AUTHORIZED, timeout=CEILING)
    assert (reply.status_code, says in reply.json()["error"]["message"]) == (400, True), reply.text


CHAT = f"<chat_history>\nUSER: {QUESTION}\nASSISTANT: 18\n</chat_history>"
OPEN_WEBUI: dict[str, Any] = {
    "title": {
        "messages": f"### Task:\nGenerate a concise title.\n### Output:\nJSON\n### Chat History:\n{CHAT}",
        "max_completion_tokens": 1000,
    },
    "tags": {"messages": f"### Task:\nGenerate 1-3 broad tags.\n\n### Chat History:\n{CHAT}"},
    "follow-up questions": {"messages": f"### Task:\nSuggest 3-5 questions.\n### Chat History:\n{CHAT}"},
    "web search": {"messages": f"### Task:\nAnalyze the chat history.\n\n### Chat History:\n{CHAT}"},
    "completion": {"messages": f"### Task:\nContinue.\n### Context:\n{CHAT}\n<text>And</text>\n#### Output:\n"},
    "emoji": {
        "messages": "Your task is to reflect the speaker's likely facial expression by an emoji.\n\nMessage: ```Hi```",
        "max_completion_tokens": 4,
    },
    "choice of a tool": {
        "system": 'Available Tools: []\n\nReturn JSON: {"tool_calls": []}',
        "messages": f"Query: {QUESTION}",
    },
}
"""The forms of the requests that Open WebUI sends for itself."""


@pytest.mark.parametrize("form", OPEN_WEBUI)
def test_a_chat_clients_housekeeping_costs_one_request(client: OpenAI, upstream: OpenAIServer, form: str) -> None:
    before = sum(upstream.requests.values())
    asked = dict(OPEN_WEBUI[form])
    system: Any = [{"role": "system", "content": asked.pop("system")}] if "system" in asked else []
    asked["messages"] = [*system, {"role": "user", "content": asked["messages"]}]
    reply = client.chat.completions.create(model=MODEL, stream=False, temperature=0.2, **asked)
    assert sum(upstream.requests.values()) - before == extra(reply)["calls"] == 1
    assert troubles(extra(reply)["notes"]) == ["housekeeping of a chat client, answered by one direct request"]


def test_a_chat_clients_question_about_documents_is_searched(client: OpenAI) -> None:
    about = (
        "### Task:\nRespond to the user query using the provided context.\n\n"
        f"<context>\n<source id='1'>A bolt is a unit.</source>\n</context>\n\n{QUESTION}"
    )
    reply = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": about}])
    assert extra(reply)["samples"] > 1


def mcp(url: str, method: str, **params: Any) -> Any:
    asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {**AUTHORIZED, "accept": "application/json, text/event-stream"}
    reply = httpx.post(f"{url}/mcp", json=asked, headers=headers, timeout=CEILING)
    assert (reply.status_code, reply.json()["id"]) == (200, 1), reply.text
    return reply.json()


def test_a_search_is_a_tool_at_mcp(url: str, upstream: OpenAIServer) -> None:
    for asked, served in (("2025-06-18", "2025-06-18"), ("2099-01-01", "2025-11-25")):
        assert mcp(url, "initialize", protocolVersion=asked)["result"]["protocolVersion"] == served
    (tool,) = mcp(url, "tools/list")["result"]["tools"]
    assert tool["inputSchema"]["required"] == ["question"]
    before = upstream.count("solve")
    done = mcp(url, "tools/call", name=tool["name"], arguments={"question": QUESTION})["result"]
    assert not done["isError"]
    jsonschema.validate(done["structuredContent"], tool["outputSchema"])
    (content,) = done["content"]
    assert content["text"] == done["structuredContent"]["answer"]
    assert content["text"].startswith(NOTICE)
    assert upstream.count("solve") - before == done["structuredContent"]["samples"] == 4


def test_what_goes_wrong_in_a_tool_is_told_to_its_model(url: str) -> None:
    for arguments, says in (({}, "question"), ({"question": " "}, "empty"), ({"question": "?", "budget": 9}, "budget")):
        done = mcp(url, "tools/call", name="think_hard", arguments=arguments)["result"]
        assert (done["isError"], says in done["content"][0]["text"]) == (True, True), done
    assert mcp(url, "tools/call", name="think")["error"]["code"] == -32602
    assert mcp(url, "resources/list")["error"]["code"] == -32601
    assert mcp(url, "ping")["result"] == {}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, -32700),
        ("[]", 400, -32600),
        ('{"jsonrpc": "2.0", "method": "notifications/initialized"}', 202, None),
        (" " * 30_000, 413, -32600),
    ],
)
def test_messages_at_mcp_without_a_result(url: str, body: str, status: int, code: int | None) -> None:
    reply = httpx.post(f"{url}/mcp", content=body, headers=AUTHORIZED)
    assert reply.status_code == status
    assert code is None or reply.json()["error"]["code"] == code
    assert httpx.get(f"{url}/mcp", headers=AUTHORIZED).status_code == 405


def test_the_models_that_may_be_asked_for(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == MODEL
    assert "best_of_n/loopback" in names
    assert client.models.retrieve("loopback").id == MODEL
    with pytest.raises(openai.NotFoundError, match="did you mean 'metascale/loopback'"):
        client.chat.completions.create(model="metascale/lopback", messages=MESSAGES)


def chat(**changes: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": MESSAGES, **changes}


@pytest.mark.parametrize(
    ("body", "part", "param"),
    [
        ("{", "not JSON", None),
        ("[]", "object", None),
        ({"model": MODEL}, "messages", "messages"),
        (chat(messages=[]), "messages", "messages"),
        (chat(messages=[{"role": "user", "content": " "}]), "question is empty", None),
        (chat(messages=[*MESSAGES, {"role": "assistant", "content": "So?"}]), "no question", None),
        (chat(messages=[{"role": "wizard", "content": "?"}]), "wizard", None),
        (chat(metadata={"reward": "reward_model"}), "reward_model", None),
        (chat(metadata={"reward": "verifier"}), "verifier", None),
        (chat(n=2), "'n' is not served", "n"),
        (chat(logprobs=True), "'logprobs' is not served", "logprobs"),
        (chat(metadata={"bugdet": "8"}), "did you mean 'budget'", "bugdet"),
        (chat(metadata={"budget": "many"}), "budget", "budget"),
        (chat(metadata={"budget": "65"}), "at most 64", "budget"),
        (chat(metadata={"max_calls": "null"}), "at most 200", "max_calls"),
        (chat(metadata={"verifier": "os:abort"}), "belongs to the server", "verifier"),
        (chat(metadata={"reward_model": "{}"}), "belongs to the server", "reward_model"),
        (chat(metadata={"ask_for_budget": "true"}), "a person to ask", "ask_for_budget"),
        (chat(metadata={"base_url": "http://evil"}), "unknown setting", "base_url"),
        (chat(model=f"{MODEL}?budget=3", metadata={"budget": "4"}), "given twice", "budget"),
        (chat(model=f"{MODEL}?budget"), "NAME=VALUE", "model"),
        (chat(model="best_of_n/loopback", tools=[WEATHER]), "'tools' goes with", "tools"),
        (chat(model="direct", stop="."), "'stop' goes with", "stop"),
        (chat(temperature=3), "temperature", "temperature"),
        (chat(tools=[WEATHER], tool_choice=NAMED), "no tool 'get_time'", "tool_choice"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(url: str, body: Any, part: str, param: str | None) -> None:
    reply = post(url, body)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert part in error["message"]
    assert error["type"] == "invalid_request_error"
    if param:
        assert error["param"] == param


def test_a_body_that_is_too_long_is_not_read(url: str) -> None:
    long = json.dumps(chat(messages=[{"role": "user", "content": "x" * 20_000}]))
    assert post(url, long).status_code == 413
    pieces = (b" " * 1_000 for _ in range(100))
    reply = httpx.post(f"{url}/v1/chat/completions", content=pieces, headers=AUTHORIZED)
    assert reply.status_code == 413
    assert reply.json()["error"]["code"] == "request_too_large"


AUTHORIZED = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}


def test_other_refusals_have_openais_shape(url: str) -> None:
    for status, reply in (
        (404, httpx.get(f"{url}/v1/nothing", headers=AUTHORIZED)),
        (405, httpx.get(f"{url}/v1/chat/completions", headers=AUTHORIZED)),
        (415, post(url, chat(), **{"content-type": "text/plain"})),
    ):
        assert reply.status_code == status
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("given", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", "Bearer æ"])
def test_without_the_token_nothing_is_served(url: str, given: str | None) -> None:
    headers = {"x-auth-scheme": "langsmith"} | ({"authorization": given.encode()} if given else {})
    for path in ("/v1/models", "/assistants/search", "/info", "/docs", "/mcp", "/metrics", "/ui/metascale"):
        reply = httpx.get(f"{url}{path}", headers=headers)
        assert reply.status_code == 401, path
    assert httpx.get(f"{url}/v1/models", headers=headers).json()["error"]["code"] == "invalid_api_key"
    assert httpx.get(f"{url}/ok", headers=headers).status_code == 200


def test_no_reply_and_no_log_tells_the_models_key(url: str, upstream: OpenAIServer) -> None:
    said = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}; Bearer {KEY}"}})
    upstream.script = lambda _, number, __: Fault(401, said) if number % 2 else None
    replies = []
    try:
        with httpx.Client(base_url=url, headers=AUTHORIZED, timeout=CEILING) as client:
            for limit in ("5", "1"):
                asked = {"input": {"messages": MESSAGES}, "assistant_id": "metascale", "context": {"budget": limit}}
                thread = client.post("/threads", json={}).json()["thread_id"]
                replies.append(client.post(f"/threads/{thread}/runs/wait", json=asked))
                replies.append(client.get(f"/threads/{thread}/state"))
                replies.append(client.get(f"/threads/{thread}/history"))
                replies.append(client.post("/runs/stream", json={**asked, "stream_mode": ["debug", "custom"]}))
                replies.append(post(url, chat(metadata={"budget": limit})))
            upstream.script = lambda *_: Fault(401, said)
            replies.append(client.post("/runs/wait", json=asked))
            replies.append(post(url, chat()))
            replies.append(client.get("/info"))
    finally:
        upstream.script = None
    told = "".join(reply.text for reply in replies)
    assert "Incorrect API key provided: …" in told
    assert KEY not in told
    assert TOKEN not in told


def test_openais_client_with_the_wrong_token(url: str) -> None:
    with pytest.raises(openai.AuthenticationError), OpenAI(base_url=f"{url}/v1", api_key="wrong") as client:
        client.models.list()


def test_langgraphs_client_runs_a_graph_with_the_token(url: str) -> None:
    question = {"messages": MESSAGES}
    with get_sync_client(url=url, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        assert {found["graph_id"] for found in client.assistants.search(limit=100)} == set(graphs())
        out: Any = client.runs.wait(None, "metascale", input=question)
        assert out["result"]["usage"]["samples"] == 4
        out = client.runs.wait(None, "best_of_n", input=question, context={"budget": 2})
        assert out["result"]["usage"]["samples"] == 2
    with get_sync_client(url=url) as client, pytest.raises(httpx.HTTPStatusError, match="401"):
        client.runs.wait(None, "metascale", input=question)


def test_a_served_graph_is_a_node_of_a_graph_elsewhere(url: str, upstream: OpenAIServer) -> None:
    with get_sync_client(url=url, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        served = RemoteGraph("metascale", sync_client=client)
        builder = StateGraph(MessagesState)
        builder.add_node("think", served)
        builder.add_edge(START, "think")
        before = upstream.requests["solve"]
        out = builder.compile().invoke({"messages": MESSAGES})
        assert upstream.requests["solve"] - before == 4
        assert [message.type for message in out["messages"]] == ["human", "ai"]
        assert out["messages"][-1].text.startswith(NOTICE)
        assert served.invoke({"messages": MESSAGES})["result"]["usage"]["samples"] == 4


def curl(url: str, *arguments: str) -> str:
    command = ["curl", "-sS", "-m", str(CEILING), *arguments, f"{url}/v1/chat/completions"]
    command += ["-H", f"Authorization: Bearer {TOKEN}", "-H", "Content-Type: application/json"]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode()


def test_curl(url: str) -> None:
    reply = json.loads(curl(url, "-d", json.dumps(chat())))
    assert reply["choices"][0]["message"]["content"].startswith(NOTICE)
    lines = curl(url, "-N", "-d", json.dumps(chat(stream=True))).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all(json.loads(line.removeprefix("data: ")) for line in lines[:-2])
    assert '"code":"model_not_found"' in curl(url, "-d", json.dumps(chat(model="nobody/nothing")))


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_its_search(url: str, upstream: OpenAIServer, *, stream: bool) -> None:
    body = chat(model="cot_best_of_n/loopback?budget=32&batch_size=2", stream=stream)
    before = upstream.requests.total()
    upstream.ready = lambda *_: upstream.requests.total() < before + 4  # the fourth is held
    request = httpx.Request("POST", f"{url}/v1/chat/completions", json=body, headers=AUTHORIZED)
    head = [f"POST {request.url.path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    try:
        with socket.create_connection((request.url.host, request.url.port or 80)) as leaving:
            leaving.sendall("\r\n".join([*head, "", ""]).encode() + request.content)
            wait_until(lambda: upstream.requests.total() >= before + 4)
        wait_until(lambda: upstream.working == 0)
    finally:
        upstream.ready = None
    assert before + 4 <= upstream.requests.total() < before + 8, "a repetition of what was held at the most"


async def test_200_requests_at_a_time_and_none_is_lost(url: str, upstream: OpenAIServer) -> None:
    before = len(upstream.served)
    limits = httpx.Limits(max_connections=200)
    async with AsyncOpenAI(
        base_url=f"{url}/v1",
        api_key=TOKEN,
        max_retries=0,
        http_client=httpx.AsyncClient(limits=limits, timeout=CEILING),
    ) as client:
        asked = [
            client.chat.completions.create(
                model=f"direct/loopback?seed={number}",
                messages=[{"role": "user", "content": f"Question {number}"}],
            )
            for number in range(200)
        ]
        replies = await asyncio.gather(*asked)
    assert len({reply.id for reply in replies}) == 200
    assert all(extra(reply)["samples"] == 1 for reply in replies)
    assert len(upstream.served) - before == sum(extra(reply)["calls"] for reply in replies)


@pytest.fixture(scope="module")
def described(url: str) -> dict[str, Any]:
    """Our routes, as the server's own OpenAPI document describes them."""
    paths = httpx.get(f"{url}/openapi.json", headers=AUTHORIZED).json()["paths"]
    return {path: item for path, item in paths.items() if path.startswith("/v1/")}


def keeps_the_promise(reply: httpx.Response, operation: dict[str, Any]) -> None:
    """The document names this status, this type of content, and what it looks like."""
    promised = operation["responses"][str(reply.status_code)]["content"]
    schema = promised[reply.headers["content-type"].partition(";")[0]]["schema"]
    if "json" in reply.headers["content-type"]:
        jsonschema.validate(reply.json(), schema)


def test_the_servers_document_describes_our_routes(url: str, described: dict[str, Any]) -> None:
    ours = {path: set(item) for path, item in described.items()}
    assert ours == {
        "/v1/chat/completions": {"post"},
        "/v1/responses": {"post"},
        "/v1/models": {"get"},
        "/v1/models/{name}": {"get"},
    }
    create = described["/v1/chat/completions"]["post"]
    schema = create["requestBody"]["content"]["application/json"]["schema"]
    tooled = chat(tools=[WEATHER], messages=[{"role": "user", "content": "The weather in 'Oslo'?"}])
    for body, status in (
        (chat(), 200),
        (chat(stream=True), 200),
        (tooled, 200),
        (chat(n=1, stop=None, temperature=0.5), 200),
        (chat(metadata={"bugdet": "1"}), 400),
        (chat(model="nobody"), 404),
    ):
        jsonschema.validate(body, schema)
        reply = post(url, body)
        assert reply.status_code == status
        keeps_the_promise(reply, create)
    for body in (chat(n=2), chat(messages=[]), chat(budget=3), {"model": MODEL}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(body, schema)
        assert post(url, body).status_code == 400
    for path in (
        "/v1/models",
        f"/v1/models/{MODEL}",
        "/v1/models/nobody",
        "/v1/models/direct?%00",
        "/v1/models/%ff",
        "/v1/models/%0a",
    ):
        reply = httpx.get(f"{url}{path}", headers=AUTHORIZED)
        keeps_the_promise(reply, described["/v1/models" if path == "/v1/models" else "/v1/models/{name}"]["get"])


NAMES = [*ChatRequest.model_fields, "role", "content", "type", "text", "name", "function", "tool_calls", "id", "n"]


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.text(max_size=9) | st.sampled_from(NAMES)
    return st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)


ANYTHING = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), nested, max_leaves=6)


@given(
    changes=st.dictionaries(st.sampled_from([*NAMES, "else"]), ANYTHING, max_size=3),
    message=st.none() | st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls"]), ANYTHING),
    raw=st.none() | st.binary(max_size=60),
)
@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_gets_an_answer_that_the_document_promises(
    url: str, described: dict[str, Any], changes: dict[str, Any], message: dict[str, Any] | None, raw: bytes | None
) -> None:
    body = chat(**{"model": "direct/loopback", **changes})
    if message is not None:
        body["messages"] = [{"role": "user", "content": "Why?", **message}]
    reply = post(url, json.dumps(body) if raw is None else raw)
    assert reply.status_code in {200, 400, 404, 413}, reply.text
    keeps_the_promise(reply, described["/v1/chat/completions"]["post"])


def within(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=CEILING)


def app_on(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    return create_app(ServerOptions(models=("openai:loopback",), **options), MetaScaleSettings(budget=2), None)


async def test_too_many_searches_are_turned_away(start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start_server(ready=lambda *_: bool(ended))
    app = app_on(server, monkeypatch, max_concurrent=2)
    ended: list[httpx.Response] = []

    async def post(body: Any) -> httpx.Response:
        reply = await client.post("/v1/chat/completions", json=body)
        ended.append(reply)
        return reply

    async with within(app) as client:
        asked = [chat(stream=True), chat(), chat(stream=True)]
        replies = await asyncio.gather(*map(post, asked))
        assert sorted(reply.status_code for reply in replies) == [200, 200, 429]
        refused = next(reply for reply in replies if reply.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["type"] == "rate_limit_error"
        for body in asked:
            assert (await client.post("/v1/chat/completions", json=body)).status_code == 200


LEAK = json.dumps({"error": {"message": "Incorrect API key provided: sk-secret at http://inner:8000"}})


async def test_a_failing_models_error_is_not_passed_on(
    start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_on(start_server(script=lambda *_: Fault(401, LEAK)), monkeypatch)
    async with within(app) as client:
        reply = await client.post("/v1/chat/completions", json=chat())
        assert reply.status_code == 502
        assert reply.headers["x-should-retry"] == "false"
        assert reply.json()["error"] == {
            "message": "every request to the model failed",
            "type": "upstream_error",
            "param": None,
            "code": "no_answer",
        }
        streamed = await client.post("/v1/chat/completions", json=chat(stream=True))
    events = streamed.text.strip().split("\n\n")
    assert json.loads(events[-1].removeprefix("data: ")) == reply.json()
    assert "sk-secret" not in streamed.text


async def test_failed_samples_are_counted_without_quoting_the_model(
    start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_once(kind: str, number: int, _: Any) -> Fault | None:
        return Fault(413, LEAK) if kind == "solve" and number == 0 else None

    app = app_on(start_server(script=fail_once), monkeypatch)
    async with within(app) as client:
        reply = await client.post("/v1/chat/completions", json=chat())
    assert troubles(reply.json()["metascale"]["notes"]) == ["1 sample failed"]
    assert "sk-secret" not in reply.text


async def test_openais_client_meets_an_error_in_a_stream(
    start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_on(start_server(script=lambda *_: Fault(401, LEAK)), monkeypatch)
    async with AsyncOpenAI(base_url="http://localhost/v1", api_key="none", http_client=within(app)) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError, match="every request to the model failed"):
            _ = [chunk async for chunk in stream]


async def test_a_search_that_takes_too_long(start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_on(start_server(latency=FOR_EVER), monkeypatch, timeout=0.2)
    async with within(app) as client:
        reply = await client.post("/v1/chat/completions", json=chat())
    assert reply.status_code == 504
    assert reply.json()["error"]["code"] == "timeout"


async def test_an_answer_that_was_cut_says_so(start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = start_server(script=lambda kind, *_: Fault(text="It is", finish_reason="length") if kind == "solve" else None)
    async with within(app_on(cut, monkeypatch)) as client:
        for body in (chat(), chat(top_p=0.5)):
            reply = (await client.post("/v1/chat/completions", json=body)).json()
            assert reply["choices"][0]["finish_reason"] == "length"
            assert reply["choices"][0]["message"]["content"] == "It is"


async def test_an_internal_error_tells_the_client_nothing(
    start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("sk-secret")

    app = app_on(start_server(), monkeypatch)
    monkeypatch.setattr(server_app, "completion", broken)
    async with within(app) as client:
        reply = await client.post("/v1/chat/completions", json=chat())
    assert reply.status_code == 500
    assert "sk-secret" not in reply.text
    assert "sk-secret" in caplog.text


async def test_the_simulation_refuses_what_it_would_ignore() -> None:
    app = create_app(ServerOptions(models=("simulated",)), MetaScaleSettings(budget=2), None)
    async with within(app) as client:
        for change in (
            {"tools": [WEATHER]},
            {"stop": "."},
            {"max_tokens": 9},
            {"messages": [{"role": "user", "content": [image()]}]},
        ):
            reply = await client.post("/v1/chat/completions", json=chat(model="simulated", **change))
            assert reply.status_code == 400, change
            assert reply.json()["error"]["type"] == "invalid_request_error"
        assert (await client.post("/v1/chat/completions", json=chat(model="simulated"))).status_code == 200


async def test_a_host_name_other_than_this_machines_is_refused() -> None:
    app = create_app(ServerOptions(models=("simulated",), local_names_only=True), MetaScaleSettings(), None)
    async with within(app) as client:
        for host, status in (("localhost:8123", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("evil.test:8123", 403)):
            assert (await client.get("/v1/models", headers={"host": host})).status_code == status, host


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--host", "0.0.0.0"], "needs a token"),
        (["--model", "nobody"], "nobody"),
        (["--model", "openai:a", "--model", "anthropic:a"], "same name"),
        (["--set", "bugdet=3"], "did you mean 'budget'"),
        (["--token-file", "/nowhere"], "No such file"),
        (["--timeout", "0"], "timeout"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(arguments: list[str], part: str) -> None:
    done = CliRunner().invoke(metascale.cli.app.app, ["serve", *arguments])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert part in line


def test_beyond_this_machine_only_with_a_token_and_never_on_another_port(url: str) -> None:
    taken = url.rpartition(":")[2]
    for arguments, part in ((["--host", "0.0.0.0"], "needs a token"), (["--port", taken], "cannot listen")):
        command = [sys.executable, "-m", "metascale.cli", "serve", *arguments]
        done = subprocess.run(command, capture_output=True, check=False, timeout=CEILING)
        assert done.returncode == 2
        assert part in done.stderr.decode()


def test_without_a_token_only_known_web_pages_may_call() -> None:
    launch = plan(["simulated"], {}, MetaScaleSettings(), place=("127.0.0.1", 0), base_url=None, token_file=None)
    assert launch.http["cors"]["allow_origins"] == ["https://smith.langchain.com"]
    assert json.loads(launch.environment["METASCALE_SERVER_OPTIONS"])["local_names_only"]


def test_the_clone_becomes_an_image(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "langgraph"), "dockerfile", "-c", "langgraph.json"]
    made = subprocess.run(
        [*command, str(tmp_path / "Dockerfile")], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    dockerfile = (tmp_path / "Dockerfile").read_text()
    served = re.search(r"^ENV LANGSERVE_GRAPHS='(.*)'$", dockerfile, re.MULTILINE)
    assert served is not None
    assert json.loads(served[1]).keys() == graphs().keys()
    assert "metascale.server.app:app" in dockerfile


def test_the_clone_serves_the_same_graphs_and_app() -> None:
    config = json.loads((TOP / "langgraph.json").read_text())
    assert config["http"]["app"] == "metascale.server.app:app"
    for name, graph in graphs().items():
        file, variable = graph["path"].removeprefix("metascale.graphs.").split(":")
        assert config["graphs"][name] == {**graph, "path": f"./graphs/{file}.py:{variable}"}
    assert len(config["graphs"]) == len(graphs())
