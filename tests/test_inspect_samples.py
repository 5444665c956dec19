"""Inspect's samples with options and with images, on real Inspect tasks whose solver is a method of metascale."""

from __future__ import annotations

import base64
import gc
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import acp.schema  # noqa: F401  Inspect imports it deep in an evaluation, where Python 3.11's compiler may fail
import pytest
from inspect_ai import Task
from inspect_ai import eval as evaluate
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, ContentAudio, ContentImage, ContentText, GenerateConfig, get_model
from inspect_ai.scorer import choice
from inspect_ai.solver import multiple_choice
from langchain_core.messages import HumanMessage
from openai import APITimeoutError

from metascale.errors import SettingError
from metascale.evals.harness.choices import chosen
from metascale.evals.harness.messages import as_sent, to_inspect, to_langchain
from metascale.evals.harness.models import InspectChatModel, send
from metascale.evals.harness.solvers import SOLVERS
from metascale.evals.harness.watch import watching
from metascale.models import MeteredModel
from metascale.models.probabilities import tokens_of
from metascale.models.structured import ask
from metascale.rewards.judge import JudgeVerdict
from metascale.settings.traffic import TrafficSettings
from tests.conftest import ServerFactory
from tests.openai_server import Fault, OpenAIServer

pytestmark = [  # of Inspect itself, evaluated in this process
    pytest.mark.filterwarnings("ignore:The 'initial' parameter is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
]

CITIES = ["Bergen", "Oslo", "Trondheim", "Tromsø"]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="

IMAGE = ContentImage(image=f"data:image/png;base64,{PIXEL}", detail="low")
SOUND = ContentAudio(audio="data:audio/wav;base64,AAAA", format="wav")


def says(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
    """Answers what the question asks for in square brackets."""
    asked = [re.search(r"\[says (.*?)\]", json.dumps(message)) for message in body["messages"]]
    wanted = next((found[1] for found in asked if found), None)
    return Fault(text=wanted) if kind == "solve" and wanted is not None else None


def evaluated(
    server: OpenAIServer, folder: Path, samples: list[Sample], solver: str, **arguments: Any
) -> list[str | None]:
    """The scores of samples, in their order, under a task whose own solver is Inspect's."""
    (log,) = evaluate(
        Task(dataset=MemoryDataset(samples), solver=multiple_choice(), scorer=choice()),
        model=get_model("openai/loopback", base_url=server.url, api_key="none", responses_api=False, memoize=False),
        solver=SOLVERS[solver](budget=2, settings={"confirm": 0}, **arguments),
        max_retries=1,
        display="none",
        log_dir=str(folder),
    )
    gc.collect()  # Inspect's unclosed streams are reported in this test, and not in one of another file
    assert log.status == "success", log.error
    assert log.samples is not None
    ended = sorted(log.samples, key=lambda sample: sample.id)
    return [str(sample.scores["choice"].value) if sample.scores else None for sample in ended]


def sample(says: str, target: Any = "B", choices: Sequence[str] = CITIES) -> Sample:
    return Sample(input=f"Which is it? [says {says}]", choices=list(choices), target=target)


@pytest.mark.parametrize("method", ["direct", "best_of_n", "metascale"])
def test_options_are_shown_and_the_answers_is_marked(method: str, start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server(script=says)
    samples = [sample("ANSWER: B"), sample("So. ANSWER: A"), sample("No idea.")]
    assert evaluated(server, tmp_path, samples, method) == ["C", "I", "I"]
    asked = [json.dumps(served.body, ensure_ascii=False) for served in server.served if served.kind == "solve"]
    assert asked
    for text in asked:
        assert "A) Bergen" in text
        assert "D) Tromsø" in text
        assert "A,B,C,D" in text


def test_several_options_may_be_right(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server(script=says)
    samples = [sample(f"ANSWER: {text}", ["A", "C"]) for text in ("A,C", "CA", "A and C", "A")]
    scores = evaluated(server, tmp_path, samples, "best_of_n", multiple_correct=True)
    assert scores == ["C", "C", "C", "I"]
    assert any("one or more of A,B,C" in json.dumps(served.body) for served in server.served)


def test_the_model_sees_the_images_of_a_sample(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server(script=says)
    shown = ChatMessageUser(
        content=[ContentText(text="Which? [says ANSWER: B]"), ContentImage(image=f"data:image/png;base64,{PIXEL}")]
    )
    samples = [Sample(input=[shown], choices=CITIES, target="B")]
    scores = evaluated(server, tmp_path, samples, "chain_of_thought")
    assert scores == ["C"]
    (sampled,) = [served.body for served in server.served if served.kind == "solve"]
    content = sampled["messages"][-1]["content"]
    assert [part["image_url"]["url"] for part in content if part["type"] == "image_url"] == [IMAGE.image]
    assert any("B) Oslo" in part.get("text", "") for part in content)


async def test_token_probabilities_pass_through_inspect(start_server: ServerFactory) -> None:
    server = start_server()
    reached = get_model("openai/loopback", base_url=server.url, api_key="none", responses_api=False, memoize=False)
    for model in (reached, get_model("metascale/simulated", memoize=False)):
        metered = MeteredModel(InspectChatModel(inner=model), probabilities=3)
        reply = await metered.chat([HumanMessage("Why?")], TrafficSettings(max_retries=0), place=["sample", 0])
        tokens = tokens_of(reply.message)
        assert "".join(token.text for token in tokens) == reply.message.text
        assert {len(token.alternatives) for token in tokens} == {3}
        plain = await MeteredModel(InspectChatModel(inner=model)).chat(
            [HumanMessage("Why?")], TrafficSettings(max_retries=0), place=["sample", 1]
        )
        assert tokens_of(plain.message) == []


@pytest.mark.parametrize("given", [{}, {"client_timeout": 0.1}])
@pytest.mark.parametrize("call_timeout", [60.0, None])
async def test_the_clients_timeout_is_that_of_the_benchmark(
    start_server: ServerFactory, given: dict[str, float], call_timeout: float | None
) -> None:
    server = start_server(latency=0.5)
    reached = get_model("openai-api/local/slow", base_url=server.url, api_key="none", memoize=False, **given)
    with watching(lambda _: None, lambda _: None, call_timeout):
        output = await send(reached, "Why?", GenerateConfig())
    assert output.completion
    with watching(lambda _: None, lambda _: None, 0.05), pytest.raises(APITimeoutError):
        await send(reached, "Why?", GenerateConfig())


async def test_what_an_evaluation_adds_to_requests_stays_in_requests_for_objects(start_server: ServerFactory) -> None:
    server = start_server()
    config = GenerateConfig(extra_body={"chat_template_kwargs": {"enable_thinking": False}})
    reached = get_model("openai-api/local/one", base_url=server.url, api_key="none", memoize=False, config=config)
    model = MeteredModel(InspectChatModel(inner=reached))
    await ask(model, [HumanMessage("Score the answer.")], JudgeVerdict, TrafficSettings(), place=["judge"])
    (body,) = [served.body for served in server.served]
    assert body["response_format"]["type"] == "json_schema"
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


async def test_inspects_models_ask_for_as_many_alternatives_as_the_server_allows(start_server: ServerFactory) -> None:
    def refuse(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        error = {"message": "top_logprobs must be at most 5"}
        return Fault(400, json.dumps({"error": error})) if body.get("top_logprobs", 0) > 5 else None

    url = start_server(script=refuse).url
    reached = get_model("openai/loopback", base_url=url, api_key="none", responses_api=False, memoize=False)
    model = MeteredModel(InspectChatModel(inner=reached), probabilities=20)
    reply = await model.chat([HumanMessage("Why?")], TrafficSettings(max_retries=0), place=["sample", 0])
    assert {len(token.alternatives) for token in tokens_of(reply.message)} == {5}


@pytest.mark.parametrize(
    ("answer", "count", "several", "found"),
    [
        ("ANSWER: B", 4, False, {1}),
        ("answer: (c)", 4, False, {2}),
        ("**ANSWER: B**", 4, False, {1}),
        ("ANSWER: $D$.", 4, False, {3}),
        ("ANSWER: A\nNo, wait.\nANSWER: B", 4, False, {1}),
        ("The answer is (C).", 4, False, {2}),
        ("ANSWER: A, B", 4, False, set()),
        ("ANSWER: E", 4, False, set()),
        ("I cannot tell.", 4, False, set()),
        ("", 4, False, set()),
        ("ANSWER: A and C", 4, True, {0, 2}),
        ("ANSWER: A, B, and C", 4, True, {0, 1, 2}),
        ("ANSWER: ABD", 4, True, {0, 1, 3}),
        ("ANSWER: 2", 30, False, {27}),
        ("ANSWER: Z", 30, False, {25}),
    ],
)
def test_options_are_read_from_answers(answer: str, count: int, found: set[int], *, several: bool) -> None:
    assert chosen(answer, count, several=several) == found


def test_messages_survive_the_way_there_and_back() -> None:
    message = ChatMessageUser(content=[ContentText(text="What?"), IMAGE, SOUND])
    back = to_inspect(to_langchain(message))
    assert [part.model_dump() for part in back.content_list] == [part.model_dump() for part in message.content_list]
    assert to_langchain(ChatMessageUser(content=[ContentText(text="a"), ContentText(text="b")])).content == "a\nb"


def test_servers_get_images_and_refuse_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "dot.png"
    file.write_bytes(base64.b64decode(PIXEL))
    shown = ChatMessageUser(content=[ContentText(text="What?"), ContentImage(image=str(file))])
    (sent,) = as_sent([shown])
    assert sent["content"][1]["image_url"]["url"] == IMAGE.image
    assert as_sent([ChatMessageUser(content="Why?")]) == [{"role": "user", "content": "Why?"}]
    with pytest.raises(SettingError, match="type 'audio'; servers get text and images only"):
        as_sent([ChatMessageUser(content=[SOUND])])
    with pytest.raises(SettingError, match="cannot be read"):
        as_sent([ChatMessageUser(content=[ContentImage(image=str(tmp_path / "no.png"))])])
