"""How sure the model was of a sample: on the candidate, through checkpoints, caches, records and agents."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from metascale import ChatMetaScale, MetaScaleSettings, create_metascale
from metascale.bandits import RoundRobin
from metascale.integrations import MetaScaleMiddleware
from metascale.models import MeteredModel, RecordedChatModel, SimulatedChatModel
from metascale.models.probabilities import certainty_of, tokens_of
from metascale.settings.traffic import TrafficSettings
from tests.certain import Sure
from tests.conftest import QUESTION, THREAD, ServerFactory, ask, chat_model
from tests.openai_server import Probabilities
from tests.runs import plain

BUDGET = 6
SETTINGS = MetaScaleSettings(
    budget=BUDGET, batch_size=3, confirm=0, evolve_every=0, max_retries=0, seed=1, stop_on_agreement=None
)


class Plain(Sure):
    """The same reward for a run whose samples come without certainty."""

    reads_certainty = False


def search(model: Any, *, reward: Any = None, **parts: Any) -> dict[str, Any]:
    """The final state of a search that reads certainty, unless another reward is given."""
    graph = create_metascale(model, reward=reward or Sure(), settings=SETTINGS, checkpointer=InMemorySaver(), **parts)
    graph.invoke(ask(), THREAD)
    return graph.get_state(THREAD).values


NOTES = {
    "refused": "the server refuses logprobs, so requests are sent without it",
    "ignored": "the server gives no token probabilities, although requests ask for them",
}


@pytest.mark.parametrize("probabilities", [20, "refused", "ignored"])
def test_a_search_goes_on_with_what_the_server_gives(start_server: ServerFactory, probabilities: Probabilities) -> None:
    server = start_server(probabilities=probabilities)
    values = search(chat_model(server))
    result = values["result"]
    assert result["usage"]["samples"] == BUDGET
    assert all(c["status"] == "ok" for c in values["candidates"])
    told = [note for note in result["notes"] if "prob" in note]
    assert told == ([NOTES[str(probabilities)]] if probabilities in NOTES else [])
    sure = [c["certainty"] for c in values["candidates"]]
    if probabilities in NOTES:
        assert sure == [None] * BUDGET
        assert {c["reward"] for c in values["candidates"]} == {0.5}
    else:
        assert [c["reward"] for c in values["candidates"]] == [math.exp(one["mean"]) for one in sure]
        assert len({one["mean"] for one in sure}) == BUDGET
    bill = result["usage"]
    refused = server.requests.total() - len(server.served)
    assert bill["calls"] == server.requests.total()
    assert (refused > 0) == (probabilities == "refused")
    assert (bill["input_tokens"], bill["output_tokens"]) == (server.input_tokens, server.output_tokens)


def test_nothing_is_asked_for_where_nothing_reads_it(start_server: ServerFactory) -> None:
    server = start_server()
    values = search(chat_model(server), reward=Plain())
    assert not any("certainty" in candidate for candidate in values["candidates"])
    assert not any("logprobs" in served.body for served in server.served)


def test_only_samples_are_asked_for_probabilities(start_server: ServerFactory) -> None:
    server = start_server()
    search(chat_model(server))
    assert {served.kind for served in server.served if "logprobs" in served.body} == {"solve"}
    assert {served.kind for served in server.served} > {"solve"}


def test_checkpoints_hold_the_summary_and_never_the_list(tmp_path: Path) -> None:
    sizes = {}
    for name, reward in [("with", Sure()), ("without", Plain())]:
        path = tmp_path / f"{name}.sqlite"
        with SqliteSaver.from_conn_string(str(path)) as saver:
            graph = create_metascale("simulated", reward=reward, settings=SETTINGS, checkpointer=saver)
            graph.invoke(ask(), THREAD)
            blobs = [row[0] for row in saver.conn.execute("select checkpoint from checkpoints")]
            blobs += [row[0] for row in saver.conn.execute("select value from writes")]
        assert (b"certainty" in b"".join(blobs)) == (name == "with")
        assert b"logprob" not in b"".join(blobs)
        sizes[name] = sum(map(len, blobs))
    assert sizes["with"] - sizes["without"] < 400 * BUDGET


def test_an_interrupted_run_goes_on_with_the_certainty_of_its_samples() -> None:
    whole = search("simulated")
    graph = create_metascale("simulated", reward=Sure(), settings=SETTINGS, checkpointer=InMemorySaver())
    graph.invoke(ask(), THREAD, interrupt_before=["score"])
    assert all(c["reward"] is None for c in graph.get_state(THREAD).values["candidates"])
    graph.invoke(None, THREAD)
    assert plain(graph.get_state(THREAD).values) == plain(whole)


def test_the_same_seed_gives_the_same_texts_with_and_without_probabilities() -> None:
    texts = [
        [c["text"] for c in search("simulated", reward=reward, policy=RoundRobin())["candidates"]]
        for reward in (Sure(), Plain())
    ]
    assert texts[0] == texts[1]


def test_the_simulated_model_is_surer_of_right_answers() -> None:
    """Within a question, as often as the recorded model whose answers its constants are taken from: AUC .68."""
    asked = [HumanMessage(QUESTION)]
    replies = [SimulatedChatModel(seed=seed).invoke(asked, logprobs=True) for seed in range(300)]
    means = {True: [], False: []}
    for reply in replies:
        summary = certainty_of([token.logprob for token in tokens_of(reply)])
        assert summary is not None
        means[reply.text.endswith("18")].append(summary["mean"])
    pairs = [right > wrong for right in means[True] for wrong in means[False]]
    assert 0.6 < sum(pairs) / len(pairs) < 0.8


def test_recorded_probabilities_are_served_with_their_answers(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    rows = [
        {"question": "How many?", "strategy": "standard", "sample": n, "output_text": f"It is {n}.", **more}
        for n, more in enumerate([{"logprobs": [-0.5, -1.5]}, {}, {"logprobs": None}])
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    model = RecordedChatModel(path=path)
    replies = [model.invoke("How many?", logprobs=True) for _ in rows]
    assert [[token.logprob for token in tokens_of(reply)] for reply in replies] == [[-0.5, -1.5], [], []]
    assert tokens_of(model.begin_again().invoke("How many?")) == []


@pytest.mark.parametrize(("pieces", "told"), [(["It is", " 7"], ["It is", " 7"]), (None, ["", ""])])
def test_recorded_tokens_are_served_with_their_probabilities(tmp_path: Path, pieces: Any, told: list[str]) -> None:
    path = tmp_path / "record.jsonl"
    row = {"question": "How many?", "strategy": "standard", "output_text": "It is 7", "logprobs": [-0.5, -1.5]}
    path.write_text(json.dumps({**row, "pieces": pieces}))
    reply = RecordedChatModel(path=path).invoke("How many?", logprobs=True)
    assert [token.text for token in tokens_of(reply)] == told


async def test_a_cache_keeps_replies_with_and_without_probabilities_apart(start_server: ServerFactory) -> None:
    server = start_server()
    own = chat_model(server, cache=InMemoryCache(), temperature=0.0)
    _ = own._serialized  # as after a first call
    traffic = TrafficSettings(max_retries=0)
    replies = [
        await MeteredModel(own, probabilities=wanted).chat([HumanMessage(QUESTION)], traffic, place=["judge"])
        for wanted in (None, 0, 5, 0, 5, None)
    ]
    assert len(server.served) == 3
    told = [[len(token.alternatives) for token in tokens_of(reply.message)] for reply in replies]
    assert [max(counts, default=None) for counts in told] == [None, 0, 5, 0, 5, None]


@pytest.mark.parametrize("is_wanted", [False, True])
async def test_agents_are_not_handed_a_list_that_they_did_not_ask_for(
    start_server: ServerFactory, *, is_wanted: bool
) -> None:
    server = start_server()
    model = chat_model(server, **({"logprobs": True} if is_wanted else {}))
    search = ChatMetaScale(model=model, reward=Sure(), budget=3, confirm=0, max_retries=0)
    reply = await search.ainvoke(QUESTION)
    middleware = MetaScaleMiddleware(reward=Sure(), settings=SETTINGS)
    out = await create_agent(model, middleware=[middleware]).ainvoke({"messages": [HumanMessage(QUESTION)]})
    for message in (reply, out["messages"][-1]):
        assert bool(tokens_of(message)) == is_wanted
        assert not [note for note in message.response_metadata["metascale"]["notes"] if "prob" in note]
    assert sum("logprobs" in served.body for served in server.served) >= 3 + BUDGET - 1
