"""Structured forms that do not work, whatever the symptom: the next one is tried, and what works is remembered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from metascale import MetaScaleSettings, create_metascale
from metascale.models import MeteredModel, ask
from metascale.models.schema_in_words import example
from metascale.models.sized import sized
from metascale.pool.admission import Drafts
from metascale.rewards import JudgeReward
from metascale.rewards.judge import JUDGE_TOKENS, JudgeVerdict
from tests.conftest import ServerFactory, chat_model
from tests.conftest import ask as question
from tests.openai_server import Fault, OpenAIServer
from tests.scripted import PEOPLE, ScriptedModel, drafts, sensible, verdict

SETTINGS = MetaScaleSettings(max_retries=0)
MESSAGES = [SystemMessage("You judge one answer."), HumanMessage("…")]
TWICE = json.dumps(verdict(8))


def error(status: int, message: str) -> Fault:
    return Fault(status, json.dumps({"error": {"message": message}}))


def form_of(body: dict[str, Any]) -> str:
    return "json_schema" if "response_format" in body else "tools" if "tools" in body else "prompt"


REFUSALS = {
    "400": error(400, "response_format is not supported"),
    "404": error(404, "No endpoints found that support tool use. Try disabling the tool."),
    "404 without a word": Fault(404, "Not Found"),
    "405": Fault(405, "Method Not Allowed"),
    "422": error(422, "extra fields not permitted"),
    "500": error(500, "failed to parse grammar"),
    "an error in a reply": Fault(200, json.dumps({"error": {"code": 404, "message": "no such mode"}})),
}
BROKEN = {
    "prose": Fault(text="Splendid, a nine!", tool_arguments="Splendid, a nine!"),
    "{}": Fault(text="{}", tool_arguments="{}"),
    "nothing": Fault(text="", tool_arguments=" "),
    "null": Fault(text="null", tool_arguments="null"),
    "an endless reply": Fault(
        text='{"critique": "' + "so " * 9_000, finish_reason="length", tool_arguments='{"critique": "'
    ),
    "the schema": Fault(
        text=json.dumps(JudgeVerdict.model_json_schema()), tool_arguments=json.dumps(JudgeVerdict.model_json_schema())
    ),
}


@pytest.mark.parametrize("only", ["json_schema", "tools", "prompt"])
@pytest.mark.parametrize("symptom", REFUSALS | BROKEN)
async def test_after_one_failure_the_next_form_is_tried_and_what_works_is_remembered(
    start_server: ServerFactory, symptom: str, only: str
) -> None:
    def script(kind: str, number: int, body: dict[str, Any]) -> Fault:  # noqa: ARG001
        return Fault(text=verdict(8)) if form_of(body) == only else {**REFUSALS, **BROKEN}[symptom]

    server: OpenAIServer = start_server(script=script)
    judge = JudgeReward(chat_model(server, max_retries=0))
    before = 1 + ["json_schema", "tools", "prompt"].index(only)
    for requests in (before, 1, 1):
        total = server.requests.total()
        (score,) = await judge.score("Why?", ["Because."], SETTINGS, place=["here"])
        assert score.value == pytest.approx(7 / 9)
        assert score.usage["calls"] == server.requests.total() - total == requests
    total = server.requests.total()
    (look,) = await judge.look_again("Why?", ["Because."], SETTINGS, place=["again"], looks=[1])
    assert look.value == pytest.approx(7 / 9)
    assert server.requests.total() - total == 1, "second looks know what the judge learned"
    assert score.usage["output_tokens"] > 0
    assert all(len(m["content"]) < 6_000 for s in server.served for m in s.body["messages"])


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        (error(404, "The model `loopback` does not exist"), 1),
        (error(401, "Incorrect API key provided"), 1),
        (error(403, "tools are forbidden"), 1),
        (error(429, "Rate limit reached for tools"), 1),
        (error(503, "overloaded"), 1),
        (Fault(breaks="reset"), 1),
    ],
)
async def test_other_failures_are_no_reason_to_try_another_form(
    start_server: ServerFactory, fault: Fault, requests: int
) -> None:
    server = start_server(script=lambda *_: fault)
    model = MeteredModel(chat_model(server, max_retries=0))
    with pytest.raises(Exception, match=r"."):
        await ask(model, MESSAGES, JudgeVerdict, SETTINGS, place=["here"])
    assert server.requests.total() == requests
    assert not model.capabilities.refused


async def test_one_bad_reply_does_not_end_a_form_that_works(start_server: ServerFactory) -> None:
    server = start_server(script=lambda _, number, __: Fault(text="Hm." if number in {4, 8} else verdict(8)))
    model = MeteredModel(chat_model(server))
    for _ in range(8):
        assert (await ask(model, MESSAGES, JudgeVerdict, SETTINGS, place=["here"])).value is not None
    assert {form_of(served.body) for served in server.served} == {"json_schema"}
    assert server.requests.total() == 10


async def test_a_form_that_stops_working_is_left(start_server: ServerFactory) -> None:
    def script(kind: str, number: int, body: dict[str, Any]) -> Fault:  # noqa: ARG001
        return Fault(text=verdict(8) if number < 6 or form_of(body) == "prompt" else "Hm.", tool_arguments="{}")

    server = start_server(script=script)
    model = MeteredModel(chat_model(server))
    for _ in range(16):
        await ask(model, MESSAGES, JudgeVerdict, SETTINGS, place=["here"])
    assert [form_of(served.body) for served in server.served[-8:]] == ["prompt"] * 8


@pytest.mark.parametrize(
    ("arguments", "score"),
    [
        (TWICE, 8),
        (json.dumps(TWICE), 8),
        (json.dumps({"Verdict": verdict(8)}), 8),
        (json.dumps({"critique": "a", "score": "8/10"}), 8),
        ("7", None),
        ("[1, 2]", None),
        ('"7"', None),
    ],
)
async def test_arguments_that_are_json_twice_over_are_read_and_billed(
    start_server: ServerFactory, arguments: str, score: float | None
) -> None:
    server = start_server(
        forms=frozenset({"tools"}),
        script=lambda *_: Fault(text=verdict(2), tool_arguments=arguments),
    )
    reading = await ask(MeteredModel(chat_model(server)), MESSAGES, JudgeVerdict, SETTINGS, place=["here"])
    assert reading.value is not None
    assert reading.value.score == (score or 2)
    assert reading.usage["input_tokens"] == server.input_tokens
    assert reading.usage["output_tokens"] == server.output_tokens


async def test_grammars_see_the_bounds_and_words_show_an_example(start_server: ServerFactory) -> None:
    server = start_server()
    settings = MetaScaleSettings(budget=4, judge_at_once=2, final_choice="best")
    state = create_metascale(chat_model(server), settings=settings).invoke(question())
    assert state["result"]["answer"]
    schemas = {s.kind: s.body["response_format"]["json_schema"]["schema"] for s in server.served if s.kind != "solve"}
    composed, judged = schemas["compose"], schemas["judge_list"]
    listed = composed["properties"]["meta_thoughts"]
    assert (listed["minItems"], listed["maxItems"]) == (6, 6)
    assert composed["$defs"]["Draft"]["properties"]["strategy"]["maxLength"] < 2_000
    one = judged["$defs"]["NumberedVerdict"]["properties"]
    assert one["score"]["enum"] == list(range(1, 11))
    assert one["critique"]["maxLength"] < 2_000
    assert judged["properties"]["verdicts"]["maxItems"] == 2
    assert "examples" not in json.dumps(schemas)
    limits = {s.kind: s.body.get("max_completion_tokens") for s in server.served}
    assert limits["judge_list"] > JUDGE_TOKENS
    assert limits["solve"] is None
    plain = start_server(forms=frozenset(), script=lambda *_: Fault(text=verdict(8)))
    await ask(MeteredModel(chat_model(plain)), MESSAGES, JudgeVerdict, SETTINGS, place=["here"])
    system = plain.served[-1].body["messages"][0]["content"]
    assert example(JudgeVerdict) in system
    assert "$defs" not in system


async def test_the_example_is_no_verdict(start_server: ServerFactory) -> None:
    server = start_server(
        forms=frozenset(), script=lambda _, number, __: Fault(text=example(JudgeVerdict) if number < 3 else verdict(8))
    )
    reading = await ask(MeteredModel(chat_model(server)), MESSAGES, JudgeVerdict, SETTINGS, place=["here"])
    assert reading.value == JudgeVerdict(critique="Fine.", score=8)
    assert "only repeats the example" in server.served[-1].body["messages"][-1]["content"]


@pytest.mark.parametrize("why", ["refused", "filled by thinking"])
async def test_a_limit_of_tokens_that_does_not_fit_is_dropped(start_server: ServerFactory, why: str) -> None:
    def script(kind: str, number: int, body: dict[str, Any]) -> Fault:  # noqa: ARG001
        if "max_completion_tokens" not in body:
            return Fault(text=verdict(8))
        if why == "refused":
            return error(400, "max_tokens is too large: the maximum context length is 2048 tokens")
        return Fault(text="<think>Let me see, and", finish_reason="length")

    server = start_server(script=script, forms=frozenset({"json_schema"}))
    judge = JudgeReward(chat_model(server))
    for requests in (2 if why == "refused" else 3, 1):
        total = server.requests.total()
        (score,) = await judge.score("Why?", ["Because."], SETTINGS, place=["here"])
        assert score.value == pytest.approx(7 / 9)
        assert score.usage["calls"] == server.requests.total() - total
        assert score.usage["calls"] <= requests


def one_by_one(kind: str, number: int, messages: Any) -> Any:
    """One meta-thought a request, and every third request the same one as before."""
    if kind == "compose":
        return drafts(PEOPLE[0])
    if kind == "compose_more":
        return drafts(PEOPLE[number // 3 * 2 + min(number % 3, 1)])
    return sensible(kind, number, messages)


@pytest.mark.parametrize(("budget", "composed", "calls"), [(16, 6, 9), (4, 2, 3), (2, 0, 0)])
def test_the_meta_thoughts_that_are_missing_are_asked_for_one_by_one(budget: int, composed: int, calls: int) -> None:
    model = ScriptedModel(write=one_by_one)
    settings = MetaScaleSettings(budget=budget, confirm=0, evolution="off")
    state: Any = create_metascale(model, settings=settings).invoke(question(), output_keys=["result", "pool"])
    origins = [thought["origin"] for thought in state["pool"]]
    assert origins.count("self_composed") == composed
    assert state["result"]["usage"]["calls"] == len(model._requests)
    assert len(model.requests("compose_more")) + bool(calls) == calls
    ideas = [system.text.partition("for this kind of task:\n\n")[2] for system, _ in model.requests("compose_more")]
    assert len({idea.partition("\n")[0] for idea in ideas}) == min(len(ideas), 6), "each starts from another idea"
    assert not any("You are a baker." in material.text for _, material in model.requests("compose_more"))
    if composed == 6:
        assert not any("built-in" in note for note in state["result"]["notes"])


@pytest.mark.parametrize(("budget", "max_calls", "is_asked"), [(8, 12, True), (16, 12, False), (16, 40, True)])
def test_asking_for_more_keeps_to_the_limits(budget: int, max_calls: int, *, is_asked: bool) -> None:
    """From 16 samples on, the first round's requests are in flight beside it and count too."""
    model = ScriptedModel(write=one_by_one)
    settings = MetaScaleSettings(budget=budget, confirm=0, max_calls=max_calls)
    result = create_metascale(model, settings=settings).invoke(question())["result"]
    assert len(model._requests) == result["usage"]["calls"] <= max_calls
    asked = len(model.requests("compose_more"))
    assert (asked > 0) == is_asked
    assert asked < max_calls / 4


@pytest.mark.parametrize(
    "reply",
    [
        json.dumps(json.loads(drafts("a baker", "Euler"))["meta_thoughts"]),
        "\n".join(json.dumps(draft) for draft in json.loads(drafts("a baker", "Euler"))["meta_thoughts"]),
        json.dumps({"meta_thoughts": json.dumps(json.loads(drafts("a baker", "Euler"))["meta_thoughts"])}),
        json.dumps({"items": json.loads(drafts("a baker", "Euler"))["meta_thoughts"]}),
        drafts("a baker", "Euler").replace('"mindset"', "mindset").replace('"strategy"', "'strategy'"),
    ],
    ids=["bare", "lines", "twice over", "under another name", "loose quotes"],
)
async def test_a_list_is_read_where_it_can_mean_one_thing_only(reply: str) -> None:
    model = MeteredModel(ScriptedModel(write=lambda *_: reply))
    reading = await ask(model, MESSAGES, sized(Drafts, 6), SETTINGS, place=["here"])
    assert reading.value is not None
    assert [draft.mindset for draft in reading.value.meta_thoughts] == ["You are a baker.", "You are Euler."]
    assert reading.usage["calls"] == 1
