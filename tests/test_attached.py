"""What is attached to a conversation, such as an image, reaches every model that judges, composes or looks again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage

from metascale import MetaScaleSettings, create_metascale
from metascale.question import question_text, task_of
from metascale.result import troubles
from metascale.rewards import JudgeReward
from metascale.rewards.panel import Member, PanelReward
from tests.conftest import ServerFactory, chat_model
from tests.openai_server import Fault, OpenAIServer

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TURN = [{"type": "text", "text": "How many cats are there?"}, IMAGE]
TALK: dict[str, Any] = {"messages": [{"role": "user", "content": TURN}]}


UNSEEN = "loopback refuses images and other attached material, so it was shown the text alone"
SETTINGS = MetaScaleSettings(max_retries=0)


def images(body: dict[str, Any]) -> int:
    contents = [message["content"] for message in body["messages"] if isinstance(message["content"], list)]
    return sum(block["type"] == "image_url" for content in contents for block in content)


def refusing(status: int, reason: str) -> Any:
    """A server without eyes."""
    error = json.dumps({"error": {"message": reason}})
    return lambda _, __, body: Fault(status, error) if images(body) else None


@pytest.mark.parametrize("reward", ["judge", "critique", "pairwise"])
def test_images_reach_every_request_about_the_task(start_server: ServerFactory, reward: Any) -> None:
    server = start_server()
    settings = MetaScaleSettings(
        budget=24,
        seed=1,
        reward=reward,
        evolution="always",
        evolve_every=1,
        synthesize=True,
        confirm=4,
        stop_on_agreement=None,
    )
    result = create_metascale(chat_model(server), settings=settings).invoke(TALK)["result"]
    kinds = {served.kind for served in server.served}
    assert {"compose", "solve", "synthesize", "pairwise" if reward == "pairwise" else "judge"} <= kinds
    assert any(kind.startswith("evolve") for kind in kinds)
    assert {served.kind for served in server.served if images(served.body) != 1} == set()
    assert not any("refuses" in note for note in result["notes"])


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "this model does not support image input"),
        (404, "No endpoints found that support image input"),
        (422, "content must be a string"),
        (500, "image input is not supported - hint: you may need to provide the mmproj"),
    ],
)
@pytest.mark.parametrize("forms", [frozenset({"json_schema", "tools"}), frozenset()], ids=["forms", "no form"])
def test_a_judge_that_refuses_images_sees_the_text_and_the_notes_say_so(
    start_server: ServerFactory, status: int, reason: str, forms: frozenset[str]
) -> None:
    solver = start_server()
    blind = start_server(script=refusing(status, reason), forms=forms)
    settings = MetaScaleSettings(budget=6, batch_size=2, max_retries=0, confirm=0, stop_on_agreement=None)
    graph = create_metascale(
        chat_model(solver), reward=JudgeReward(chat_model(blind, max_retries=0)), settings=settings
    )
    result = graph.invoke(TALK)["result"]
    assert troubles(result["notes"]) == [UNSEEN]
    assert result["reward"] is not None
    assert {images(served.body) for served in blind.served} == {0}
    assert blind.count("judge") == 6
    assert result["usage"]["calls"] == len(solver.served) + sum(blind.requests.values())
    before = sum(blind.requests.values())
    assert troubles(graph.invoke(TALK)["result"]["notes"]) == [UNSEEN]
    assert sum(blind.requests.values()) - before == 6, "what it refuses is remembered"


def _member(server: OpenAIServer) -> Member:
    return Member(JudgeReward(chat_model(server, max_retries=0)))


async def test_second_looks_see_images_and_so_does_each_member_of_a_panel(start_server: ServerFactory) -> None:
    seeing, blind = start_server(), start_server(script=refusing(400, "no images"))
    panel = PanelReward([_member(seeing), _member(blind)])
    task = task_of([HumanMessage(TURN)])
    scores = await panel.score(task, ["Two."], SETTINGS, place=["here"])
    scores += await panel.look_again(task, ["Two."] * 2, SETTINGS, place=["again"], looks=[1, 2])
    assert all(score.value is not None for score in scores)
    assert blind.count("judge") == 2
    assert {images(served.body) for served in seeing.served} == {1}


def test_the_task_holds_what_the_user_and_tools_attached() -> None:
    talk = [HumanMessage(TURN), ToolMessage([IMAGE], tool_call_id="1"), HumanMessage("And here?")]
    task = task_of(talk)
    assert task == question_text(talk)
    assert task.attached == (IMAGE, IMAGE)
    assert task_of([HumanMessage("Why?")]).attached == ()
