"""What the user reads of a failed request, and which failures end a run at the first one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from metascale import MetaScaleSettings, create_metascale
from metascale.errors import ModelCallError, NoAnswerError
from metascale.graphs import METHODS
from metascale.models.failures import LONGEST_REASON, explain, is_fatal, is_rejected, is_transient, status_of
from metascale.models.simulated import SimulatedChatModel
from metascale.result import troubles
from metascale.rewards import JudgeReward
from tests.conftest import ServerFactory, ask, chat_model
from tests.openai_server import Fault, OpenAIServer

KEY = "canary1Qx7zR4vW9kP2"
REASONS = {
    "error object": (json.dumps({"error": {"message": "model requires more memory"}}), "model requires more memory"),
    "error text": (json.dumps({"error": "model requires more memory"}), "model requires more memory"),
    "detail": (json.dumps({"detail": "no worker is free"}), "no worker is free"),
    "detail list": (
        json.dumps({"detail": [{"loc": ["body", "x"], "msg": "Field required"}, {"loc": ["y"], "msg": "Too long"}]}),
        "body.x: Field required; y: Too long",
    ),
    "detail object": (json.dumps({"detail": {"error": {"message": "no worker"}}}), "no worker"),
    "list": (json.dumps([{"error": {"code": 400, "message": "bad request"}}]), "bad request"),
    "list of texts": (json.dumps(["one", "two"]), "one; two"),
    "message": (json.dumps({"object": "error", "message": "too many images", "code": 400}), "too many images"),
    "errors": (json.dumps({"errors": [{"message": "first"}, {"message": "second"}]}), "first; second"),
    "spring": (json.dumps({"error": "Bad Request", "message": "no field q"}), "Bad Request: no field q"),
    "openrouter": (
        json.dumps({"error": {"message": "Provider returned error", "metadata": {"raw": '{"x": "context"}'}}}),
        'Provider returned error: {"x": "context"}',
    ),
    "plain text": ("no such\nroute", "no such route"),
    "html": ("<html><head><title>Oops</title></head><body><h1>Bad &amp; gone</h1></body></html>", "Oops: Bad & gone"),
    "unknown object": (json.dumps({"status": "sad"}), '{"status": "sad"}'),
    "nothing": ("", "the server gave no reason"),
    "endless": ("x" * 5_000, "x" * (LONGEST_REASON - 1) + "…"),
}


def failure_of(model: ChatOpenAI) -> tuple[str, Exception]:
    """What the user reads of a request that fails, and the error itself."""
    with pytest.raises(Exception) as raised:  # noqa: PT011  any error
        model.invoke("Why?")
    return explain(raised.value, model), raised.value


@pytest.mark.parametrize("status", [400, 503])
@pytest.mark.parametrize("form", REASONS)
def test_the_user_reads_the_servers_own_reason(start_server: ServerFactory, form: str, status: int) -> None:
    body, reason = REASONS[form]
    server = start_server(script=lambda *_: Fault(status, body))
    said, error = failure_of(chat_model(server, max_retries=0))
    assert said.endswith(f"Error {status}: {reason} ({server.url})")
    assert "\n" not in said
    assert is_transient(error) == (status == 503)
    assert is_rejected(error) == (status == 400)


def test_what_was_called_final_is_final() -> None:
    assert is_fatal(ModelCallError("llama.cpp, which ran tiny, ended with exit code 1", fatal=True))
    assert not is_fatal(ModelCallError("no answer"))


def test_a_reason_and_a_url_hold_no_secret(start_server: ServerFactory) -> None:
    server = start_server(script=lambda *_: Fault(401, json.dumps({"detail": f"no such key: {KEY}"})))
    url = server.url.replace("//", "//user:password123@") + "?key=abcdef"
    said, _ = failure_of(ChatOpenAI(model="m", base_url=url, api_key=SecretStr(KEY), max_retries=0))
    assert "no such key: …" in said
    assert f"({server.url})" in said
    assert not any(secret in said for secret in (KEY, "password123", "abcdef"))


@pytest.mark.parametrize(
    ("url", "key", "parts", "fatal"),
    [
        ("localhost:9911", "none", ["(localhost:9911)", "starts with http:// or https://"], True),
        ("127.0.0.1:9911/v1", "none", ["(127.0.0.1:9911/v1)", "starts with http:// or https://"], True),
        ("http://127.0.0.1:1/v1", "none", ["refused", "(http://127.0.0.1:1/v1)", "is the server running?"], False),
        ("http://no.such.host.invalid/v1", "none", ["(http://no.such.host.invalid/v1)", "check the host"], False),
        ("{url}", f"{KEY}\n", ["({url})", "the API key holds a line break"], True),
        ("{url}", "schlüssel-kein-ascii", ["({url})", "the API key holds a line break or another character"], True),
        ("http://127.0.0.1:1/v1", f"{KEY}\n", ["refused", "line break", "is the server running?"], False),
    ],
)
def test_a_request_that_reaches_no_server_says_where_and_why(
    start_server: ServerFactory, url: str, key: str, parts: list[str], *, fatal: bool
) -> None:
    server = start_server()
    model = ChatOpenAI(model="m", base_url=url.format(url=server.url), api_key=SecretStr(key), max_retries=0)
    said, error = failure_of(model)
    assert all(part.format(url=server.url) in said for part in parts), said
    assert is_fatal(error) == fatal
    assert KEY not in said
    assert "schlüssel" not in said


def test_an_address_that_is_no_models_server_says_so(start_server: ServerFactory) -> None:
    server = start_server(script=lambda *_: Fault(200, "<html>Please log in</html>", {"content-type": "text/html"}))
    said, _ = failure_of(chat_model(server, max_retries=0))
    assert "Please log in" in said
    assert "check the base URL" in said


class ClientError(Exception):
    """As botocore raises it."""

    def __init__(self, code: str, status: int | None) -> None:
        super().__init__(f"An error occurred ({code}) when calling the Converse operation: words")
        metadata = {"ResponseMetadata": {"HTTPStatusCode": status}} if status else {}
        self.response = {"Error": {"Code": code, "Message": "words"}, **metadata}


class APIError(Exception):
    """As Google's client raises it."""

    def __init__(self, code: int, message: str = "words") -> None:
        super().__init__(f"{code} STATUS. {{'error': {{'code': {code}}}}} {message}")
        self.code = code


@dataclass
class GrpcCode:
    """A member of gRPC's enumeration of codes."""

    name: str


class AioRpcError(Exception):
    """As gRPC raises it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._code = GrpcCode(name)

    def code(self) -> GrpcCode:
        return self._code


def wrapped(error: Exception) -> Exception:
    """As LangChain's integrations wrap errors."""
    try:
        try:
            raise error
        except Exception as cause:
            raise ValueError("Error raised by the service") from cause
    except ValueError as outer:
        return outer


@pytest.mark.parametrize("wrap", [lambda error: error, wrapped])
@pytest.mark.parametrize(
    ("error", "status", "meaning"),
    [
        (ClientError("ThrottlingException", 429), 429, "transient"),
        (ClientError("ThrottlingException", None), 429, "transient"),
        (ClientError("AccessDeniedException", 403), 403, "fatal"),
        (ClientError("ExpiredTokenException", None), 403, "fatal"),
        (ClientError("ResourceNotFoundException", 404), 404, "fatal"),
        (ClientError("ValidationException", 400), 400, "rejected"),
        (ClientError("ServiceUnavailableException", 503), 503, "transient"),
        (APIError(429, "Resource has been exhausted, please retry in 20 s"), 429, "transient"),
        (APIError(429, "You exceeded your current quota, check billing. Please retry in 20 s"), 429, "transient"),
        (APIError(400, "API key not valid. Please pass a valid API key."), 400, "fatal"),
        (APIError(400, "Invalid argument"), 400, "rejected"),
        (APIError(404, "models/x is not found"), 404, "fatal"),
        (APIError(503), 503, "transient"),
        (AioRpcError("UNAVAILABLE"), 503, "transient"),
        (AioRpcError("RESOURCE_EXHAUSTED"), 429, "transient"),
        (AioRpcError("UNAUTHENTICATED"), 401, "fatal"),
        (ValueError({"message": "rate-limited upstream", "code": 429}), 429, "transient"),
        (ValueError("a bug"), None, ""),
        (ConnectionResetError("gone"), None, "transient"),
    ],
)
def test_errors_of_every_client_are_classed_alike(
    error: Exception, status: int | None, meaning: str, wrap: Any
) -> None:
    found = wrap(error)
    assert status_of(found) == status
    kinds = {"transient": is_transient, "fatal": is_fatal, "rejected": is_rejected}
    assert {name for name, is_one in kinds.items() if is_one(found)} == ({meaning} if meaning else set())
    assert "words" in explain(found, SimulatedChatModel()) or "words" not in str(error)


FATAL = {
    "wrong key": Fault(401, json.dumps({"error": {"message": "Incorrect API key provided"}})),
    "forbidden": Fault(403, json.dumps({"error": {"message": "Project has no access"}})),
    "unknown model": Fault(404, json.dumps({"error": {"message": "The model `m` does not exist", "code": "x"}})),
    "unknown model, 400": Fault(400, json.dumps({"error": {"message": "m is not a valid model ID"}})),
    "wrong path": Fault(404, json.dumps({"detail": "Not Found"})),
    "quota": Fault(
        429, json.dumps({"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}})
    ),
    "no balance": Fault(402, json.dumps({"error": {"message": "Insufficient Balance"}})),
    "credit": Fault(400, json.dumps({"error": {"message": "Your credit balance is too low to access the API"}})),
}
SETTINGS = MetaScaleSettings(budget=2, batch_size=2, max_retries=2, reward="judge")


async def answered(graph: Any, *, is_sync: bool) -> Any:
    return graph.invoke(ask()) if is_sync else await graph.ainvoke(ask())


@pytest.mark.parametrize("is_sync", [True, False])
@pytest.mark.parametrize("max_in_flight", [1, 8])
@pytest.mark.parametrize("kind", FATAL)
async def test_a_failure_that_all_requests_share_ends_the_run_with_what_is_in_flight(
    start_server: ServerFactory, kind: str, max_in_flight: int, *, is_sync: bool
) -> None:
    first = min(max_in_flight, 3)  # two samples, and what is composed beside them
    server = start_server(script=lambda *_: FATAL[kind], ready=lambda *_: server.requests.total() >= first)
    changes = {"budget": 8, "max_in_flight": max_in_flight}
    graph = create_metascale(chat_model(server, max_retries=0), settings=SETTINGS.model_copy(update=changes))
    with pytest.raises(NoAnswerError, match=r"no answer after \d requests?, and no further one can succeed"):
        await answered(graph, is_sync=is_sync)
    other_forms = 2 if kind == "wrong path" else 0  # a bare 404 may refuse a form only, so composing tries another
    assert first <= server.requests.total() <= first + other_forms


@pytest.mark.parametrize("method", ["best_of_n", "direct", "self_consistency", "rsa", "mrp", "self_discover_best_of_n"])
async def test_every_method_ends_so(start_server: ServerFactory, method: str) -> None:
    server = start_server(script=lambda *_: FATAL["wrong key"])
    graph = METHODS[method].create(chat_model(server, max_retries=0), settings=SETTINGS)
    with pytest.raises(NoAnswerError, match=r"no answer after [12] requests?, and no further"):
        await graph.ainvoke(ask())
    assert server.requests.total() <= 2, "those that were under way together"


@pytest.mark.parametrize("is_sync", [True, False])
async def test_requests_that_wait_for_their_turn_are_not_sent(start_server: ServerFactory, *, is_sync: bool) -> None:
    server = start_server(script=lambda *_: FATAL["quota"], latency=0.05)
    settings = MetaScaleSettings(budget=8, batch_size=8, max_in_flight=2)
    graph = METHODS["best_of_n"].create(chat_model(server, max_retries=0), settings=settings)
    with pytest.raises(NoAnswerError, match="no answer after 2 requests"):
        await answered(graph, is_sync=is_sync)
    assert server.requests.total() == 2


@pytest.mark.parametrize("failing", ["solve", "judge", "evolve"])
async def test_a_quota_that_ends_during_a_run_leaves_the_best_answer(start_server: ServerFactory, failing: str) -> None:
    def script(kind: str, number: int, _: Any) -> Fault | None:
        return FATAL["quota"] if kind.startswith(failing) and (number >= 4 or kind != failing) else None

    server = start_server(script=script)
    chosen = {"budget": 32, "batch_size": 4, "evolution": "always", "evolve_every": 1, "operators": "all"}
    settings = MetaScaleSettings.model_validate({**chosen, "max_retries": 0, "stop_on_agreement": None})
    out = await create_metascale(chat_model(server, max_retries=0), settings=settings).ainvoke(ask())
    result = out["result"]
    assert result["stop_reason"] == "failures"
    assert result["answer"]
    assert any("no further request can succeed" in note and "quota" in note for note in result["notes"])
    assert server.requests.total() - len(server.served) <= 4, "those that were under way together"


async def test_a_judge_with_a_wrong_key_ends_the_run_too(start_server: ServerFactory) -> None:
    server, judges = start_server(), start_server(script=lambda *_: FATAL["wrong key"])
    reward = JudgeReward(chat_model(judges, max_retries=0))
    settings = MetaScaleSettings(budget=8, batch_size=4)
    graph = create_metascale(chat_model(server, max_retries=0), reward=reward, settings=settings)
    result = (await graph.ainvoke(ask()))["result"]
    assert result["stop_reason"] == "failures"
    assert result["usage"]["samples"] == 4
    assert judges.requests.total() <= 4


async def test_a_key_that_was_put_right_continues_on_the_same_graph(start_server: ServerFactory) -> None:
    server: OpenAIServer = start_server(script=lambda *_: FATAL["wrong key"])
    graph = create_metascale(chat_model(server, max_retries=0), settings=SETTINGS)
    with pytest.raises(NoAnswerError):
        await graph.ainvoke(ask())
    server.script = None
    result = (await graph.ainvoke(ask()))["result"]
    assert result["usage"]["samples"] == 2
    assert troubles(result["notes"]) == []


async def test_failures_that_may_pass_count_attempts_beside_the_budget(start_server: ServerFactory) -> None:
    server = start_server(script=lambda *_: Fault(503, json.dumps({"error": "overloaded"})))
    graph = create_metascale(chat_model(server, max_retries=0), settings=SETTINGS.model_copy(update={"max_retries": 0}))
    with pytest.raises(NoAnswerError, match=r"none of 8 attempts at a sample gave an answer: .* 503: overloaded"):
        await graph.ainvoke(ask())
    assert server.requests["solve"] == 8


@pytest.mark.parametrize(
    ("error", "status", "ends"),
    [
        ({"code": 401, "message": "No auth credentials found"}, 401, True),
        ({"code": "insufficient_quota", "message": "You exceeded your current quota"}, 429, True),
        ({"code": "model_not_found", "message": "The model `x` does not exist"}, 404, True),
        ({"type": "overloaded_error", "message": "Overloaded"}, 503, False),
        ({"code": "rate_limit_exceeded", "message": "Slow down"}, 429, False),
    ],
)
def test_an_error_in_a_reply_with_status_200_is_classed_by_its_code(
    start_server: ServerFactory, error: dict[str, Any], status: int, *, ends: bool
) -> None:
    server = start_server(script=lambda *_: Fault(200, json.dumps({"error": error})))
    said, failure = failure_of(chat_model(server, max_retries=0))
    assert error["message"] in said
    assert (status_of(failure), is_fatal(failure), is_transient(failure)) == (status, ends, not ends)
