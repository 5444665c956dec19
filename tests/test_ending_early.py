"""Answers that are ended early: read as streams, cut once the model is less sure of them than of most, billed truly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langgraph.checkpoint.memory import InMemorySaver

from metascale import MetaScaleSettings, create_metascale
from metascale.budget.ending_early import FIRST, floor_of
from metascale.graphs import create_self_consistency
from metascale.models import MeteredModel
from metascale.models.flaws import outcome
from metascale.models.probabilities import WINDOW
from metascale.settings import Price
from metascale.settings.traffic import TrafficSettings
from tests.certain import Sure
from tests.conftest import THREAD, ServerFactory, ask, chat_model
from tests.openai_server import Fault, OpenAIServer
from tests.scripted import ScriptedModel

LENGTH = 3 * WINDOW
"""Tokens of a whole answer."""
BATCH = 4
SETTINGS: dict[str, Any] = {
    "budget": FIRST + BATCH,
    "batch_size": BATCH,
    "confirm": 0,
    "evolve_every": 0,
    "max_retries": 0,
    "prices": {"loopback": Price(input=1, output=1)},
}


def told(*logprobs: float) -> dict[str, Any]:
    return {"content": [{"token": " so", "logprob": value} for value in logprobs]}


SURE = told(*[-0.1] * LENGTH)
UNSURE = told(*[-0.1] * WINDOW, *[-3.0] * (LENGTH - WINDOW))


def unsure_after(number: int, *, stops_at: int | None = None) -> Any:
    """A server's script: from this sample on, the model is unsure of its answers after the first window."""

    def script(kind: str, at: int, body: dict[str, Any]) -> Fault | None:
        if kind != "solve":
            return None
        is_sure = at < number
        return Fault(
            text=" so" * LENGTH,
            logprobs=SURE if is_sure else UNSURE,
            pauses_after=None if is_sure or not body.get("stream") else stops_at,
        )

    return script


def values_of(server: OpenAIServer, create: Any = create_metascale, **settings: Any) -> dict[str, Any]:
    parts = {"reward": Sure()} if create is create_metascale else {}
    chosen = MetaScaleSettings(**{**SETTINGS, "end_early": True, **settings})
    graph = create(chat_model(server, max_retries=0), settings=chosen, checkpointer=InMemorySaver(), **parts)
    graph.invoke(ask(), THREAD)
    return graph.get_state(THREAD).values


@pytest.mark.parametrize("is_sync", [True, False])
async def test_an_answer_is_ended_once_the_model_is_unsure_of_it(start_server: ServerFactory, *, is_sync: bool) -> None:
    server = start_server(script=unsure_after(FIRST, stops_at=2 * WINDOW))
    settings = MetaScaleSettings(**SETTINGS, end_early=True)
    graph = create_metascale(
        chat_model(server, max_retries=0), reward=Sure(), settings=settings, checkpointer=InMemorySaver()
    )
    _ = graph.invoke(ask(), THREAD) if is_sync else await graph.ainvoke(ask(), THREAD)
    values = graph.get_state(THREAD).values
    whole, ended = values["candidates"][:FIRST], values["candidates"][FIRST:]
    assert all(c["status"] == "ok" and c["reward"] > 0.8 for c in whole)
    assert len(ended) == BATCH
    for candidate in ended:
        assert (candidate["status"], candidate["text"], candidate["reward"]) == ("truncated", "", 0.0)
        assert "ended early" in candidate["error"]
        assert candidate["certainty"]["lowest"] < -0.1
        assert WINDOW < candidate["certainty"]["tokens"] == candidate["output_tokens"] < 2 * WINDOW
    assert values["result"]["candidate"] < FIRST
    streams = [served.body.get("stream", False) for served in server.served if served.kind == "solve"]
    assert streams == [False] * FIRST + [True] * BATCH, "only what may be ended is read as a stream"


def test_what_was_written_is_billed_and_no_more(start_server: ServerFactory) -> None:
    server = start_server(script=unsure_after(FIRST, stops_at=2 * WINDOW))
    values = values_of(server, create_self_consistency)
    bill, solved = values["result"]["usage"], [served for served in server.served if served.kind == "solve"]
    assert bill["samples"] == FIRST + BATCH == len(solved)
    assert bill["input_tokens"] == sum(served.input_tokens for served in solved), "one prompt, known from before"
    ended = [c["output_tokens"] for c in values["candidates"] if c["status"] == "truncated"]
    assert len(ended) == BATCH
    assert max(ended) < 2 * WINDOW
    whole = [served.output_tokens for served in solved[:FIRST]]
    assert bill["output_tokens"] == sum(whole) + sum(ended)
    assert bill["cost_usd"] == pytest.approx((bill["input_tokens"] + bill["output_tokens"]) / 1e6)
    assert not [note for note in values["result"]["notes"] if "estimated" in note]


def test_the_length_of_an_unknown_prompt_is_an_estimate_and_its_cost_unknown(start_server: ServerFactory) -> None:
    server = start_server(script=unsure_after(FIRST))
    values = values_of(server, policy="round_robin", pool_size=FIRST + BATCH)
    result = values["result"]
    asked = sum(served.input_tokens for served in server.served)
    assert result["usage"]["input_tokens"] == pytest.approx(asked, rel=0.05)
    assert result["usage"]["cost_usd"] is None
    assert len([note for note in result["notes"] if "estimated" in note]) == 1


class AtOnce(ScriptedModel):
    """A model whose stream is a single piece."""

    def _stream(self, *given: Any, **options: Any) -> Iterator[ChatGenerationChunk]:  # noqa: ARG002
        about = {"finish_reason": "stop", "logprobs": UNSURE}
        yield ChatGenerationChunk(message=AIMessageChunk("It is 4.", response_metadata=about))


async def test_an_answer_that_is_whole_already_is_kept() -> None:
    model = MeteredModel(AtOnce(write=lambda *_: ""), probabilities=0)
    reply = await model.chat([HumanMessage("Why?")], TrafficSettings(max_retries=0), place=["sample", 0], floor=-0.5)
    assert outcome(reply.message) == ("ok", "It is 4.", None)


def refusing_streams(status: int, said: str) -> Any:
    script = unsure_after(FIRST)

    def refuse(kind: str, number: int, body: dict[str, Any]) -> Fault | None:
        if body.get("stream"):
            return Fault(status, said if status == 200 else json.dumps({"error": {"message": said}}))
        return script(kind, number, body)

    return refuse


@pytest.mark.parametrize(
    ("status", "said"), [(400, "stream is not supported"), (501, "Streaming is not implemented"), (200, "{}")]
)
def test_a_server_without_streams_answers_whole(start_server: ServerFactory, status: int, said: str) -> None:
    server = start_server(script=refusing_streams(status, said))
    values = values_of(server)
    assert [c["error"] for c in values["candidates"]] == [None] * (FIRST + BATCH)
    told = [note for note in values["result"]["notes"] if "early" in note]
    assert told == ["answers cannot be ended early here, because they do not come as streams"]


def test_without_probabilities_no_answer_is_ended(start_server: ServerFactory) -> None:
    server = start_server(probabilities="ignored", script=unsure_after(0))
    values = values_of(server)
    assert [c["status"] for c in values["candidates"]] == ["ok"] * (FIRST + BATCH)
    assert [note for note in values["result"]["notes"] if "prob" in note] == [
        "the server gives no token probabilities, although requests ask for them"
    ]


def test_it_is_off_unless_it_is_set(start_server: ServerFactory) -> None:
    server = start_server(script=unsure_after(FIRST))
    values = values_of(server, end_early=False)
    assert [c["status"] for c in values["candidates"]] == ["ok"] * (FIRST + BATCH)
    assert not any(served.body.get("stream") for served in server.served)


def test_the_floor_by_hand() -> None:
    def candidate(lowest: float | None) -> Any:
        return {"certainty": None if lowest is None else {"lowest": lowest}}

    few = [candidate(-0.1 * n) for n in range(FIRST - 1)]
    assert floor_of(few) is None
    assert floor_of([*few, candidate(None), {}]) is None
    assert floor_of([*few, candidate(-9.0)]) == pytest.approx(-0.1 * (FIRST - 2) + 0.1 * 0.75)
