"""What a server refuses in requests is left out, remembered for that server, and told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from langchain_openai.chat_models.base import BaseChatOpenAI

from metascale import MetaScaleSettings, create_metascale
from metascale.models import MeteredModel
from metascale.models.dialect import Dialect
from metascale.rewards import JudgeReward
from metascale.settings.traffic import TrafficSettings
from tests.conftest import ServerFactory, ask, chat_model
from tests.openai_server import Fault, OpenAIServer, Script

TRAFFIC = TrafficSettings(max_retries=0)


def openai(name: str, code: str = "unsupported_parameter") -> str:
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    return json.dumps({"error": {"message": message, "param": name, "code": code, "type": "invalid_request_error"}})


WORDINGS = {
    "openai": openai,
    "openai value": lambda name: json.dumps(
        {
            "error": {
                "message": f"Unsupported value: '{name}' does not support 0.7 with this model. Only the default (1) "
                "value is supported.",
                "param": name,
                "code": "unsupported_value",
            }
        }
    ),
    "text": lambda name: json.dumps({"error": f"{name} is not supported"}),
    "pydantic": lambda name: json.dumps(
        {"detail": [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}]}
    ),
    "vllm": lambda name: json.dumps(
        {"object": "error", "message": f"[{{'type': 'extra_forbidden', 'loc': ('body', '{name}'), 'msg': 'Extra'}}]"}
    ),
    "legacy openai": lambda name: json.dumps({"error": {"message": f"Unrecognized request argument supplied: {name}"}}),
    "bedrock": lambda name: json.dumps({"message": f"The model returned: `{name}` is deprecated for this model."}),
    "plain": lambda name: f"unknown field '{name}'",
}
PARAMETERS = ("temperature", "seed", "top_p", "stop", "presence_penalty", "logprobs", "n")


def refusing(*names: str, wording: str = "openai", status: int = 400) -> Script:
    """A server's script that refuses parameters, one at a time."""

    def script(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        found = next((name for name in names if name in body), None)
        return Fault(status, WORDINGS[wording](found)) if found else None

    return script


def full_model(server: OpenAIServer) -> ChatOpenAI:
    return chat_model(
        server,
        max_retries=0,
        temperature=0.5,
        seed=3,
        top_p=0.9,
        stop_sequences=["END"],
        presence_penalty=0.1,
        logprobs=True,
        n=1,
    )


@pytest.mark.parametrize("wording", WORDINGS)
@pytest.mark.parametrize("name", PARAMETERS)
async def test_a_refused_parameter_is_left_out(start_server: ServerFactory, wording: str, name: str) -> None:
    server = start_server(script=refusing(name, wording=wording, status=422 if wording == "pydantic" else 400))
    model = MeteredModel(full_model(server))
    for attempt in range(2):
        reply = await model.chat([HumanMessage("Why?")], TRAFFIC, place=["sample", attempt])
        assert reply.usage["calls"] == (2 if attempt == 0 else 1)
    assert all(name not in served.body for served in server.served)
    assert all(set(PARAMETERS) - {name} <= served.body.keys() for served in server.served)


async def test_several_refused_parameters_are_left_out_one_after_another(start_server: ServerFactory) -> None:
    server = start_server(script=refusing(*PARAMETERS))
    reply = await MeteredModel(full_model(server)).chat([HumanMessage("Why?")], TRAFFIC, place=["sample", 0])
    assert reply.usage["calls"] == len(PARAMETERS) + 1 == server.requests.total()
    assert not server.served[0].body.keys() & set(PARAMETERS)


async def test_an_option_that_is_refused_is_left_out(start_server: ServerFactory) -> None:
    server = start_server(script=refusing("parallel_tool_calls"))
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    options = {"tools": [tool], "parallel_tool_calls": False}
    await MeteredModel(chat_model(server)).chat([HumanMessage("Why?")], TRAFFIC, place=["x"], options=options)
    assert server.served[0].body.keys() >= {"tools"}
    assert "parallel_tool_calls" not in server.served[0].body


@pytest.mark.parametrize("refused", ["top_p", "user", "stop", "temperature", "seed"])
@pytest.mark.parametrize("wrapped", ["bind", "bind_and_fallbacks", "held"])
async def test_a_bound_parameter_that_is_refused_is_left_out(
    start_server: ServerFactory, wrapped: str, refused: str
) -> None:
    server = start_server(script=refusing(refused))
    given: dict[str, Any] = {"top_p": 0.9, "user": "ann", "stop": ["ZZ"], "temperature": 0.5, "seed": 3}
    model: Any = chat_model(server, max_retries=0)
    if wrapped == "held":
        held = {name: value for name, value in given.items() if name != "user"}
        model = chat_model(server, max_retries=0, **held, model_kwargs={"user": "ann"}).with_config(tags=["a"])
    else:
        model = model.bind(**given)
    if wrapped == "bind_and_fallbacks":
        model = model.with_fallbacks([model])
    settings = MetaScaleSettings(budget=2, max_retries=0)
    result = (await create_metascale(model, settings=settings).ainvoke(ask()))["result"]
    assert result["usage"]["samples"] == 2
    assert [note for note in result["notes"] if "refuses" in note] == [
        f"the server refuses {refused}, so requests are sent without it"
    ]
    samples = [served.body for served in server.served if served.kind == "solve"]
    assert all(given.keys() - body.keys() == {refused} for body in samples)


@pytest.mark.parametrize(
    ("kind", "refused", "sent"),
    [
        (ChatOpenAI, ["max_completion_tokens"], "max_tokens"),
        (BaseChatOpenAI, ["max_tokens"], "max_completion_tokens"),
        (ChatOpenAI, ["max_completion_tokens", "max_tokens"], None),
    ],
)
async def test_the_token_limit_is_sent_by_the_name_that_the_server_knows(
    start_server: ServerFactory, kind: type[BaseChatOpenAI], refused: list[str], sent: str | None
) -> None:
    server = start_server(script=refusing(*refused))
    given: Any = {"model": "loopback", "base_url": server.url, "api_key": "none", "max_retries": 0}
    model = MeteredModel(kind(**given), max_tokens=77)
    await model.chat([HumanMessage("Why?")], TRAFFIC, place=["sample", 0])
    body = server.served[-1].body
    names = {"max_tokens", "max_completion_tokens"}
    assert {name: body[name] for name in names & body.keys()} == ({sent: 77} if sent else {})


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"message": "temperature must be at most 2", "param": "temperature", "code": "invalid_value"}},
        {"error": {"message": "max_tokens is too large: 77"}},
        {"error": {"message": "This model's maximum context length is 4096 tokens", "code": "context_length_exceeded"}},
    ],
)
async def test_a_value_that_is_wrong_is_no_refusal(start_server: ServerFactory, said: Any) -> None:
    server = start_server(script=lambda *_: Fault(400, json.dumps(said)))
    model = MeteredModel(full_model(server), max_tokens=77)
    with pytest.raises(Exception, match=said["error"]["message"][:20].replace("'", ".")):
        await model.chat([HumanMessage("Why?")], TRAFFIC, place=["sample", 0])
    assert server.requests.total() == 1


@pytest.mark.parametrize("is_sync", [True, False])
async def test_a_run_at_a_reasoning_model_goes_without_temperature(
    start_server: ServerFactory, *, is_sync: bool
) -> None:
    server = start_server(script=refusing("temperature"))
    settings = MetaScaleSettings(budget=6, batch_size=3, stop_on_agreement=None, max_retries=0)
    graph = create_metascale(chat_model(server, max_retries=0), settings=settings)
    out = graph.invoke(ask()) if is_sync else await graph.ainvoke(ask())
    result = out["result"]
    assert result["usage"]["samples"] == 6
    assert [note for note in result["notes"] if "temperature" in note] == [
        "the server refuses temperature, so requests are sent without it"
    ]
    assert not [note for note in result["notes"] if "failed" in note]
    refused = server.requests.total() - len(server.served)
    assert 1 <= refused <= 4, "those that were under way together"
    again = graph.invoke(ask())["result"] if is_sync else (await graph.ainvoke(ask()))["result"]
    assert server.requests.total() - len(server.served) == refused, "it is remembered"
    assert any("temperature" in note for note in again["notes"])


async def test_second_looks_go_without_temperature_too(start_server: ServerFactory) -> None:
    server = start_server(script=refusing("temperature"))
    judge = JudgeReward(chat_model(server, max_retries=0))
    settings = MetaScaleSettings(max_retries=0)
    for _ in range(2):
        scores = await judge.look_again("Why?", ["Because."], settings, place=["look"], looks=[1])
        assert scores[0].value is not None
    assert server.requests["judge"] == 2 + 1
    assert all("temperature" not in served.body for served in server.served)


@pytest.mark.parametrize("is_sync", [True, False])
async def test_a_server_without_a_system_role_gets_the_instructions_in_the_users_turn(
    start_server: ServerFactory, *, is_sync: bool
) -> None:
    server = start_server(system_role=False)
    settings = MetaScaleSettings(budget=4, batch_size=2, confirm=2, max_retries=0)
    graph = create_metascale(chat_model(server, max_retries=0), settings=settings)
    result = (graph.invoke(ask()) if is_sync else await graph.ainvoke(ask()))["result"]
    assert result["usage"]["samples"] == 4
    assert result["reward"] is not None
    assert any("no system message" in note for note in result["notes"])
    assert server.requests.total() - len(server.served) <= 3
    assert {message["role"] for served in server.served for message in served.body["messages"]} <= {"user", "assistant"}
    assert {served.kind for served in server.served} >= {"compose", "solve", "judge"}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "System role not supported"),
        (500, "Jinja Exception: System role not supported"),
        (400, "Only user and assistant roles are supported!"),
        (400, "Only user, assistant and tool roles are supported, got system."),
        (400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
        (400, "Developer instruction is not enabled for models/gemma-3-1b-it"),
        (400, "Conversation roles must alternate user/assistant/user/assistant/..."),
        (400, 'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter'),
        (422, "body.messages.0.role: Input should be 'user' or 'assistant'"),
        (400, "This model does not support system prompts"),
        (400, "System messages are not supported by this model"),
    ],
)
async def test_every_way_of_refusing_the_system_role_is_known(
    start_server: ServerFactory, status: int, said: str
) -> None:
    def script(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        is_refused = any(message["role"] == "system" for message in body["messages"])
        return Fault(status, json.dumps({"error": {"message": said}})) if is_refused else None

    server = start_server(script=script)
    model = MeteredModel(chat_model(server, max_retries=0))
    picture = {"type": "text", "text": "Why?"}
    conversation = [SystemMessage("Be brief."), HumanMessage("Hello."), AIMessage("Hello."), HumanMessage("Why?")]
    await model.chat(conversation, TRAFFIC, place=["x"])
    assert server.served[0].body["messages"][0]["content"] == "Be brief.\n\nHello."
    phrased = model._dialect.phrased([SystemMessage("Be brief."), HumanMessage([picture])])
    assert phrased[0].content == [{"type": "text", "text": "Be brief."}, picture]


def test_one_server_is_one_dialect() -> None:
    one, other = (MeteredModel(ChatOpenAI(model="m", base_url="http://x/v1", api_key="k")) for _ in range(2))  # type: ignore[arg-type]
    elsewhere = MeteredModel(ChatOpenAI(model="m", base_url="http://y/v1", api_key="k"))  # type: ignore[arg-type]
    assert one._dialect is other._dialect is one.sampling_at(1.0)._dialect is one.capped_at(5)._dialect
    assert one._dialect is not elsewhere._dialect
    assert isinstance(one._dialect, Dialect)
