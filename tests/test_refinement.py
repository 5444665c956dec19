"""Answers as arms, regret and progress, and the paper's preset."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage

from metascale import MetaScaleSettings, create_metascale, prompts
from metascale.bandits import Arm
from metascale.budget.progress import progress, regret
from metascale.pool.refinement import REFINEMENT, to_refine
from metascale.records import Candidate
from tests.command_line import metascale
from tests.conftest import ask
from tests.ledgers import candidate as whole
from tests.runs import run
from tests.scripted import ScriptedModel, sensible, verdict


def candidate(number: int, reward: float | None, refines: int | None = None, **changes: Any) -> Candidate:
    made = {"round": 1, "meta_thought": "a", "text": f"Answer {number}.", "refines": refines}
    return whole(number, reward, **{**made, **changes})


def test_the_leaders_are_refined_in_turn() -> None:
    answers = [candidate(0, 0.2), candidate(1, 0.9), candidate(2, 0.5), candidate(3, 0.7), candidate(4, None)]
    assert to_refine(answers, 5) == [1, 3, 2, 1, 3]
    assert to_refine([*answers, candidate(5, 0.1, refines=1)], 2) == [3, 2]
    assert to_refine([candidate(0, None), candidate(1, 0.9, status="truncated")], 2) == []
    better = [*answers, candidate(5, 0.95, refines=1)]
    assert to_refine(better, 3) == [5, 3, 5]


def refine(**settings: Any) -> tuple[dict[str, Any], ScriptedModel]:
    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
        if kind == "judge":
            return verdict(9 if "mended" in messages[1].text else 5, "The third step is <b>wrong</b>.")
        if kind == "solve" and "critical reader" in messages[-1].text:
            return f"Answer {number}, mended."
        return sensible(kind, number, messages)

    return run(write, settings={"evolution": "off", "seed": 3, **settings})


def test_refinements_are_samples_with_a_lineage_and_win_where_they_pay() -> None:
    state, model = refine(budget=24, refine=True)
    assert state["result"]["usage"]["samples"] == len(state["candidates"]) == 24
    refined = [c for c in state["candidates"] if c["refines"] is not None]
    assert {c["meta_thought"] for c in refined} == {REFINEMENT}
    assert len(refined) > 24 / len(state["pool"])
    assert state["result"]["meta_thought"]["id"] == REFINEMENT
    by_id = {c["id"]: c for c in state["candidates"]}
    assert all(by_id[c["refines"]]["round"] < c["round"] for c in refined)

    requests = [m for m in model.requests("solve") if "critical reader" in m[-1].text]
    assert len(requests) == len(refined)
    answers = {c["text"] for c in state["candidates"]}
    for messages in requests:
        assert isinstance(messages[-2], AIMessage)
        assert messages[-2].text in answers
        assert prompts.apart(messages[-3].text)[0] == ask()["messages"][-1]["content"]
        assert "The third step is <b>wrong</b>." in messages[-1].text
        assert "write it again" not in messages[0].text, "an answer is refined under its own meta-thought"


def test_nothing_is_refined_unless_asked_for_or_before_anything_is_scored() -> None:
    state, _ = refine(budget=16)
    assert all(c["refines"] is None for c in state["candidates"])
    state, _ = refine(budget=16, refine=True, batch_size=16)
    assert all(c["refines"] is None for c in state["candidates"])


def test_a_dead_judge_leaves_nothing_to_refine() -> None:
    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
        return RuntimeError("down") if kind == "judge" else sensible(kind, number, messages)

    settings = MetaScaleSettings(budget=12, refine=True, max_retries=0)
    result = create_metascale(ScriptedModel(write=write), settings=settings).invoke(ask())["result"]
    assert result["usage"]["samples"] == 12
    assert result["reward"] is None


def test_regret_and_progress_by_hand() -> None:
    arms = [Arm(3, (0.5, 0.5, 0.5)), Arm(2, (0.9, 0.7)), Arm(0)]
    assert regret(arms) == pytest.approx(3 * 0.3)
    assert regret([]) == regret([Arm(0)]) == regret([Arm(4, (0.1,) * 4)]) == 0
    assert regret([Arm(2), Arm(1, (0.4,))]) == 0
    rounds = [candidate(i, 0.1 * (i % 5), round=1 + i // 4) for i in range(12)]
    found = progress(rounds)
    assert found[0] is None
    assert all(value is not None and 0 <= value < 1 for value in found[1:])
    assert progress([]) == []


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_every_round_tells_its_progress(*, asynchronous: bool) -> None:
    graph = create_metascale("simulated", settings=MetaScaleSettings(stop_on_agreement=None, budget=12, seed=2))
    if asynchronous:
        events = [event async for event in graph.astream(ask(), stream_mode="custom")]
    else:
        events = list(graph.stream(ask(), stream_mode="custom"))
    scored = [event for event in events if event["event"] == "scored"]
    assert [event["round"] for event in scored] == [1, 2, 3]
    assert all(event["regret"] >= 0 for event in scored)
    result = graph.invoke(ask())["result"]
    assert len(result["progress"]) == 3
    assert math.isfinite(result["regret"])


def test_the_papers_way_is_one_word_away() -> None:
    paper = MetaScaleSettings.paper(budget=8)
    assert (paper.policy, paper.confirm, paper.final_choice, paper.evolution) == ("ucb", 0, "best", "always")
    assert MetaScaleSettings.paper(policy="softmax").policy == "softmax"
    done = metascale("solve", "--model", "simulated", "--preset", "paper", "--budget", "8", "--json", "What is love?")
    found = json.loads(done.stdout)
    assert found["finalists"] == []
    assert found["usage"]["calls"] == 8 + 8 + 1
    done = metascale("solve", "--preset", "papr", "Why?")
    assert (done.returncode, done.stderr) == (2, "metascale: unknown preset 'papr'; did you mean 'paper'?\n")
