"""Token probabilities: read in every form, summarised, and asked for only if the server gives them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from metascale.errors import ModelCallError
from metascale.models import MeteredModel, resolve_model
from metascale.models.probabilities import (
    LEAST,
    PRIOR_DIGITS,
    TAIL,
    WINDOW,
    Token,
    certainty_of,
    tokens_of,
    with_tokens,
    without_tokens,
)
from metascale.models.scope import RunScope, inside
from metascale.result import troubles
from metascale.settings.traffic import TrafficSettings
from tests.conftest import QUESTION, ServerFactory, chat_model
from tests.openai_server import Fault, OpenAIServer
from tests.scripted import ScriptedModel


def said(logprobs: Any, key: str = "logprobs") -> AIMessage:
    return AIMessage("4 2", response_metadata={key: logprobs})


OPENAI = [
    {"token": "4", "logprob": -0.5, "bytes": [52], "top_logprobs": [{"token": "4", "logprob": -0.5, "bytes": [52]}]},
    {"token": " 2", "logprob": -1.5, "bytes": None, "top_logprobs": []},
]
READ = [Token("4", -0.5, {"4": -0.5}), Token(" 2", -1.5, {})]


@pytest.mark.parametrize(
    "message",
    [
        said({"content": OPENAI, "refusal": None}),
        said({"content": [{"id": 19, **item} for item in OPENAI]}),
        said(OPENAI),
        said(OPENAI, "logprobs_result"),
        said({"tokens": ["4", " 2"], "token_logprobs": [-0.5, -1.5], "top_logprobs": [{"4": -0.5}, None]}),
    ],
    ids=["openai", "llama.cpp", "ollama", "vertex", "legacy"],
)
def test_every_form_is_read(message: AIMessage) -> None:
    assert tokens_of(message) == READ


class Item:
    """An item of Ollama's client: no dictionary, but read like one."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    def get(self, name: str, default: Any = None) -> Any:
        return self._values.get(name, default)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]


def test_objects_of_a_client_are_read() -> None:
    items = [
        Item(token="4", logprob=-0.5, top_logprobs=[Item(token="4", logprob=-0.5)]),
        Item(token=" 2", logprob=-1.5, top_logprobs=None),
    ]
    assert tokens_of(said(items)) == READ


def test_what_is_read_can_be_written_again() -> None:
    bare = without_tokens(said(OPENAI))
    assert tokens_of(bare) == []
    assert tokens_of(with_tokens(bare, READ)) == READ


def test_probabilities_after_sampling_are_read() -> None:
    (token,) = tokens_of(
        said({"content": [{"token": "Yes", "prob": 0.5, "top_probs": [{"token": "No", "prob": 0.0}]}]})
    )
    assert token == Token("Yes", math.log(0.5), {"No": -math.inf})


@pytest.mark.parametrize(
    "logprobs",
    [
        *(None, {}, [], {"content": None}, {"content": []}, "many", 7, [7], {"content": "yes"}, {"other": []}),
        *([{"token": "4"}], [{"logprob": -1.0}], [{"token": "4", "logprob": None}], [{"token": "4", "logprob": "x"}]),
        [{"token": "4", "logprob": math.nan}],
        [{"token": "4", "logprob": 0.7}],
        [{"token": "4", "logprob": -1.0, "top_logprobs": [3]}],
        {"tokens": ["4"], "token_logprobs": [-1.0, -2.0]},
    ],
)
def test_what_is_malformed_counts_as_nothing(logprobs: Any) -> None:
    assert tokens_of(said(logprobs)) == []


def test_a_summary_by_hand() -> None:
    sure, unsure = [-0.25] * 200, [-2.0] * WINDOW
    summary = certainty_of([*sure, *unsure, *sure])
    assert summary == {
        "tokens": 400 + WINDOW,
        "mean": pytest.approx((400 * -0.25 + WINDOW * -2.0) / (400 + WINDOW)),
        "lowest": pytest.approx(-2.0),
        "tail": pytest.approx(-0.25),
        "numbers": pytest.approx(summary["mean"] if summary else None),
    }
    assert json.loads(json.dumps(summary)) == summary


def test_an_answer_shorter_than_the_windows_is_one_window() -> None:
    values = [-0.1 * n for n in range(min(WINDOW, TAIL))]
    summary = certainty_of(values)
    assert summary is not None
    assert summary["mean"] == pytest.approx(summary["lowest"]) == pytest.approx(summary["tail"])


def test_a_token_that_a_server_calls_very_unlikely_counts_as_the_least_likely_one() -> None:
    summary = certainty_of([-9999.0, 0.0])
    assert summary is not None
    assert summary["mean"] == LEAST / 2


@pytest.mark.parametrize("logprobs", [[], [-1.0, math.nan], [-math.inf], [math.inf]])
def test_there_is_no_summary_of_nothing(logprobs: list[float]) -> None:
    assert certainty_of(logprobs) is None


TRAFFIC = TrafficSettings(max_retries=0)
PLACE = ["sample", 0]


async def drawn(server: OpenAIServer, probabilities: int | None, **options: Any) -> tuple[AIMessage, list[str]]:
    """A server's reply, and what the run learns from it."""
    return await asked(MeteredModel(chat_model(server, max_retries=0, **options), probabilities=probabilities))


def clients(server: OpenAIServer) -> list[MeteredModel]:
    """Two clients of a server: what it refuses is remembered as long as one of them lives."""
    return [MeteredModel(chat_model(server, max_retries=0), probabilities=20) for _ in range(2)]


async def asked(model: MeteredModel) -> tuple[AIMessage, list[str]]:
    """A model's reply, and what the run learns from it."""
    scope = RunScope()
    with inside(scope):
        reply = await model.chat([HumanMessage(QUESTION)], TRAFFIC, place=PLACE)
    return reply.message, scope.take_notes()


async def test_probabilities_are_asked_for_only_where_they_are_wanted(start_server: ServerFactory) -> None:
    server = start_server()
    for wanted, sent in [(None, {}), (0, {"logprobs": True}), (7, {"logprobs": True, "top_logprobs": 7})]:
        message, notes = await drawn(server, wanted)
        body = server.served[-1].body
        assert {name: body[name] for name in ("logprobs", "top_logprobs") if name in body} == sent
        tokens = tokens_of(message)
        assert "".join(token.text for token in tokens) == (message.text if sent else "")
        assert {len(token.alternatives) for token in tokens} == ({wanted} if sent else set())
        assert not notes


async def test_pieces_of_a_stream_are_put_together(start_server: ServerFactory) -> None:
    model = chat_model(start_server(), logprobs=True, top_logprobs=2, seed=1)
    streamed: Any = None
    async for piece in model.astream(QUESTION):
        streamed = piece if streamed is None else streamed + piece
    assert tokens_of(streamed) == tokens_of(await model.ainvoke(QUESTION))
    assert "".join(token.text for token in tokens_of(streamed)) == streamed.text


REFUSALS = [
    (400, {"message": "Unsupported parameter: 'logprobs' is not supported with this model.", "param": "logprobs"}),
    (403, {"message": "You are not allowed to request logprobs from this model.", "type": "invalid_request_error"}),
    (400, {"message": "Logprobs is not enabled for models/gemini-2.5-pro", "status": "INVALID_ARGUMENT"}),
    (400, {"message": "deepseek-reasoner does not support the parameters `logprobs` and `top_logprobs`"}),
    (422, {"message": [{"type": "extra_forbidden", "loc": ["body", "logprobs"], "msg": "Extra inputs"}]}),
    (501, {"message": "logprobs is not supported with tools + stream"}),
    (400, {"message": "Logprobs are not supported by Llama 3 models"}),
    (500, {"message": "logprobs are not implemented"}),
]


@pytest.mark.parametrize(("status", "error"), REFUSALS)
async def test_a_server_that_refuses_them_answers_without(
    start_server: ServerFactory, status: int, error: dict[str, Any]
) -> None:
    def refuse(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        return Fault(status, json.dumps({"error": error})) if "logprobs" in body else None

    server = start_server(script=refuse)
    for client in clients(server):
        message, notes = await asked(client)
        assert message.text
        assert troubles(notes) == ["the server refuses logprobs, so requests are sent without it"]
        assert not {"logprobs", "top_logprobs"} & server.served[-1].body.keys()
    assert server.requests.total() == 3, "it is remembered"


async def test_a_forbidden_request_that_is_not_about_probabilities_fails(start_server: ServerFactory) -> None:
    server = start_server(script=lambda *_: Fault(403, json.dumps({"error": {"message": "seed is not allowed"}})))
    with pytest.raises(ModelCallError, match="seed is not allowed"):
        await drawn(server, 0, seed=1)
    assert server.requests.total() == 1


async def test_a_server_that_ignores_them_is_told(start_server: ServerFactory) -> None:
    message, notes = await drawn(start_server(probabilities="ignored"), 20)
    assert message.text
    assert troubles(notes) == ["the server gives no token probabilities, although requests ask for them"]


async def test_a_server_that_cuts_the_alternatives_is_told(start_server: ServerFactory) -> None:
    message, notes = await drawn(start_server(probabilities=5), 20)
    assert {len(token.alternatives) for token in tokens_of(message)} == {5}
    assert troubles(notes) == ["the server gives 5 alternatives for a token at most, although requests ask for 20"]


@pytest.mark.parametrize(
    "message",
    [
        "Invalid value for 'top_logprobs': must be less than or equal to 5.",
        "Requested sample logprobs of 20, which is greater than max allowed: 5",
        "top_logprobs must be between 0 and 5, got 20",
        "top_logprobs of more than 5 is not supported by model-3",
    ],
)
async def test_a_server_that_allows_fewer_alternatives_is_asked_for_these(
    start_server: ServerFactory, message: str
) -> None:
    def refuse(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        too_many = body.get("top_logprobs", 0) > 5
        return Fault(400, json.dumps({"error": {"message": message}})) if too_many else None

    server = start_server(script=refuse)
    for client in clients(server):
        reply, notes = await asked(client)
        assert {len(token.alternatives) for token in tokens_of(reply)} == {5}
        assert troubles(notes) == ["the server allows 5 alternatives for a token, so requests do not ask for 20"]
    assert server.requests.total() == 3, "it is remembered"


@pytest.mark.parametrize(
    "message", ["Requested sample logprobs of 20, which is greater than max allowed: 0", "top_logprobs is too large"]
)
async def test_a_server_that_allows_no_alternatives_tells_the_tokens_alone(
    start_server: ServerFactory, message: str
) -> None:
    def refuse(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        return Fault(400, json.dumps({"error": {"message": message}})) if body.get("top_logprobs") else None

    reply, notes = await drawn(start_server(script=refuse), 20)
    assert {len(token.alternatives) for token in tokens_of(reply)} == {0}
    assert troubles(notes) == ["the server allows 0 alternatives for a token, so requests do not ask for 20"]


async def test_alternatives_that_are_refused_are_left_out_alone(start_server: ServerFactory) -> None:
    def refuse(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        error = {"message": "Unknown parameter: 'top_logprobs'.", "param": "top_logprobs", "code": "unknown_parameter"}
        return Fault(400, json.dumps({"error": error})) if "top_logprobs" in body else None

    message, notes = await drawn(start_server(script=refuse), 20)
    assert tokens_of(message)
    assert troubles(notes) == ["the server refuses top_logprobs, so requests are sent without it"]


async def test_wrapped_models_are_asked_too(start_server: ServerFactory) -> None:
    server = start_server()
    wrapped = resolve_model(chat_model(server).bind(stop=["END"]).with_fallbacks([chat_model(server)]))
    reply = await MeteredModel(wrapped, probabilities=2).chat([HumanMessage(QUESTION)], TRAFFIC, place=PLACE)
    assert {len(token.alternatives) for token in tokens_of(reply.message)} == {2}


class Strict(ScriptedModel):
    """A model whose client takes no unknown arguments, as Anthropic's does not."""

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, *, temperature: Any = None) -> Any:
        return super()._generate(messages, stop, run_manager, temperature=temperature)


async def test_a_client_that_knows_no_probabilities_is_used_without() -> None:
    scope, model = RunScope(), MeteredModel(Strict(write=lambda *_: "Because."), probabilities=20)
    with inside(scope):
        reply = await model.chat([HumanMessage("Why?")], TRAFFIC, place=PLACE)
    assert reply.message.text == "Because."
    assert scope.take_notes() == ["the server refuses logprobs, so requests are sent without it"]


def test_numbers_are_summarised_without_the_numerals_that_begin_a_line() -> None:
    texts = ["1", ".", " Add", " ", "4", " to", " 3", "8", ":\n\n", " ", "2", ".", " It", " is\n", "7", "\n3", " 42"]
    digits = [text in {"4", " 3", "8", " 42"} for text in texts]
    summary = certainty_of([-3.0 if is_number else -0.5 for is_number in digits], texts)
    assert summary is not None
    assert summary["numbers"] == pytest.approx((4 * -3.0 + PRIOR_DIGITS * summary["mean"]) / (4 + PRIOR_DIGITS))


def test_without_numbers_they_are_as_sure_as_the_rest() -> None:
    for texts in (["a", "b"], []):
        summary = certainty_of([-1.0, -2.0], texts)
        assert summary is not None
        assert summary["numbers"] == pytest.approx(summary["mean"])


def test_texts_belong_to_their_probabilities() -> None:
    with pytest.raises(ValueError, match="argument"):
        certainty_of([-1.0, -2.0], ["a"])
