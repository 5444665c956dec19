"""What clients of `metascale serve` send: OpenAI's own client, and bodies that other clients were seen to send."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from metascale import MetaScaleSettings
from metascale.result import troubles
from metascale.server.app import create_app
from metascale.server.options import ServerOptions
from tests.conftest import QUESTION, ServerFactory
from tests.openai_server import Fault, OpenAIServer

MODEL = "metascale/loopback"
ASKED: Any = {"role": "user", "content": QUESTION}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA = {"type": "object", "properties": {"bolts": {"type": "integer"}}, "required": ["bolts"]}
FORM: Any = {"type": "json_schema", "json_schema": {"name": "Bolts", "schema": SCHEMA}}


@contextlib.asynccontextmanager
async def at(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The app on a loopback model."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    chosen = ServerOptions(models=("openai:loopback",), **options)
    app = create_app(chosen, MetaScaleSettings(budget=2, confirm=0), None)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
        yield client


def official(client: httpx.AsyncClient) -> AsyncOpenAI:
    return AsyncOpenAI(base_url="http://localhost/v1", api_key="none", http_client=client, max_retries=0)


async def post(client: httpx.AsyncClient, body: Any, **headers: str) -> httpx.Response:
    text = body if isinstance(body, str) else json.dumps({"model": MODEL, "messages": [ASKED], **body})
    return await client.post(
        "/v1/chat/completions", content=text, headers={"content-type": "application/json", **headers}
    )


async def test_what_openais_client_dumps_may_be_sent_back(
    start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at(start_server(), monkeypatch) as http:
        client = official(http)
        plain = await client.chat.completions.create(model=MODEL, messages=[ASKED])
        dumped: Any = plain.choices[0].message.model_dump()
        assert dumped["annotations"] is None
        again = await client.chat.completions.create(model=MODEL, messages=[ASKED, dumped, ASKED])
        assert again.choices[0].message.content

        question: Any = {"role": "user", "content": "What is the weather in 'Oslo'?"}
        first = await client.chat.completions.create(model=MODEL, messages=[question], tools=[WEATHER])
        called: Any = first.choices[0].message.model_dump()
        reply: Any = {
            "role": "tool",
            "tool_call_id": called["tool_calls"][0]["id"],
            "name": "get_weather",
            "content": "Rain.",
        }
        second = await client.chat.completions.create(model=MODEL, messages=[question, called, reply], tools=[WEATHER])
        assert second.choices[0].finish_reason == "stop"


class Bolts(BaseModel):
    """How many bolts."""

    bolts: int


async def test_a_parsed_message_may_be_sent_back(start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    async with at(start_server(), monkeypatch) as http:
        client = official(http)
        question: Any = {"role": "user", "content": "There are 3 bolts. How many?"}
        parsed = await client.chat.completions.parse(model=MODEL, messages=[question], response_format=Bolts)
        assert parsed.choices[0].message.parsed == Bolts(bolts=3)
        dumped: Any = parsed.choices[0].message.model_dump(warnings=False)
        assert (await client.chat.completions.create(model=MODEL, messages=[question, dumped, ASKED])).choices


def call(arguments: Any, **more: Any) -> list[Any]:
    calls = [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": arguments}, **more}]
    return [
        ASKED,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "Rain."},
    ]


ACCEPTED: list[dict[str, Any]] = [
    {"messages": call(""), "tools": [WEATHER]},
    {"messages": call(" "), "tools": [WEATHER]},
    {"messages": call("{}", index=0), "tools": [WEATHER]},
    {"messages": [ASKED, {"role": "assistant", "content": "So.", "reasoning_content": "Hm."}, ASKED]},
    {"messages": [ASKED, {"role": "assistant", "content": "So.", "annotations": [], "audio": None}, ASKED]},
    {"messages": [ASKED, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, ASKED]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "Why?", "cache_control": {"type": "e"}}]}]},
    {"metadata": {"user_id": "42"}},
    {"metadata": {"session": "a", "trace_id": "b", "environment": "test", "budget": "2"}},
    {"seed": -1},
    {"seed": 2**63 - 1},
    {"store": True},
    {"store": False},
    {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "safety_identifier": "s", "user": "u"},
    {"functions": [], "function_call": None, "top_logprobs": 0, "n": 1},
    {"tool_choice": "auto"},
    {"tools": [WEATHER], "response_format": FORM},
    {"tools": [WEATHER], "response_format": FORM, "tool_choice": "none", "parallel_tool_calls": False},
    {"tools": [WEATHER], "response_format": FORM, "tool_choice": "required"},
    {"tools": [WEATHER], "response_format": {"type": "json_object"}, "tool_choice": "required"},
]


@pytest.mark.parametrize("body", ACCEPTED)
async def test_what_has_no_effect_is_accepted(
    body: dict[str, Any], start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server()
    async with at(server, monkeypatch) as client:
        reply = await post(client, body)
    assert reply.status_code == 200, reply.text
    assert troubles(reply.json()["metascale"]["notes"]) == []
    assert server.count("solve") == 2


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("body", "part", "param"),
    [
        ({"metadata": {"bugdet": "4"}}, "did you mean 'budget'", "bugdet"),
        ({"metadata": {"Budget": "4"}}, "did you mean 'budget'", "Budget"),
        ({"metadata": {"api_key": "x"}}, "unknown setting 'api_key'", "api_key"),
        ({"tool_choice": "required"}, "no tools", "tool_choice"),
        ({"messages": call("[1]")}, "not a JSON object", None),
        ({"messages": call("{")}, "arguments", None),
        ({"messages": call(DEEP)}, "nested too deeply", None),
        ({"messages": [ASKED, {"role": "assistant", "content": "", "audio": {"id": "a"}}, ASKED]}, "audio", None),
        ({"functions": [WEATHER["function"]]}, "'functions' is not served", "functions"),
        ({"logprobs": True}, "'logprobs' is not served", "logprobs"),
        ({"metadata": {"rubric": DEEP}}, "rubric", "rubric"),
        ({"metadata": {"budget": DEEP}}, "budget", "budget"),
        ({"model": f"{MODEL}?budget={'[' * 100_000}", "messages": [ASKED]}, "model", "model"),
    ],
)
async def test_what_has_an_effect_is_refused_for_the_right_reason(
    body: dict[str, Any], part: str, param: str | None, start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server()
    async with at(server, monkeypatch) as client:
        reply = await post(client, body)
    assert reply.status_code == 400, reply.text[:500]
    error = reply.json()["error"]
    assert part in error["message"]
    assert error["param"] == param or param is None
    assert not server.requests


@pytest.mark.parametrize("depth", [50, 150, 250, 5_000, 100_000])
@pytest.mark.parametrize("place", ["metadata", "schema", "format", "body"])
async def test_deep_nesting_is_no_fault_of_ours(
    depth: int, place: str, start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested = '{"a":' * depth + "1" + "}" * depth
    wraps = {
        "metadata": '{"x": %s}',
        "schema": '[{"type": "function", "function": {"name": "f", "parameters": {"properties": %s}}}]',
        "format": '{"type": "json_schema", "json_schema": {"name": "x", "schema": {"properties": %s}}}',
    }
    names = {"metadata": "metadata", "schema": "tools", "format": "response_format"}
    asked = json.dumps({"model": MODEL, "messages": [ASKED]})
    body = nested if place == "body" else f'{asked[:-1]}, "{names[place]}": {wraps[place] % nested}}}'
    async with at(start_server(), monkeypatch) as client:
        reply = await post(client, body)
    assert reply.status_code in {200, 400, 502}, reply.text[:500]
    assert depth < 200 or reply.status_code == 400


@pytest.mark.parametrize("host", ["[::1", "[", "]", "[::1]:x", "a[b", "[v1.x]", "", "localhost:99999999", "\x80"])
async def test_a_malformed_host_is_refused(
    host: str, start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at(start_server(), monkeypatch, local_names_only=True) as client:
        request = client.build_request("GET", "/v1/models")
        request.headers = httpx.Headers([(b"host", host.encode("latin-1"))])
        reply = await client.send(request)
    assert reply.status_code in {200, 403}
    assert reply.status_code == 403 or host.startswith(("localhost", "[::1]"))


@pytest.mark.parametrize("more", [{}, {"tools": [WEATHER], "tool_choice": "none"}])
async def test_a_reply_cut_inside_an_object_is_cut_and_no_failure(
    more: dict[str, Any], start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(kind: str, *_: Any) -> Fault | None:
        return Fault(text='{"bolts": ', finish_reason="length") if kind == "solve" else None

    server = start_server(script=cut)
    async with at(server, monkeypatch) as client:
        reply = await post(client, {"response_format": FORM, **more})
        assert reply.status_code == 200, reply.text
        (choice,) = reply.json()["choices"]
        assert choice["finish_reason"] == "length"
        assert choice["message"]["content"] == '{"bolts": '
        assert server.count("solve") == 2
        bill = reply.json()["usage"]
        assert bill["total_tokens"] == server.input_tokens + server.output_tokens
