"""Samples with the same final answer share verdicts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metascale.choice.ranking import field_of
from metascale.records import Candidate
from metascale.rewards.sharing import shared_rewards, to_judge
from tests.ledgers import candidate as whole
from tests.runs import run

ONE_ROUND = {"budget": 8, "batch_size": 8, "pool_size": 2, "evolve_every": 0}


def sample(number: int, answer: str | None, **other: Any) -> Candidate:
    return whole(number, other.pop("reward", None), extracted=answer, **{"round": 1, **other})


def ids(candidates: list[Candidate]) -> list[int]:
    return [candidate["id"] for candidate in candidates]


def test_a_final_answer_is_judged_again_each_time_its_support_doubles_at_most_thrice() -> None:
    assert ids(to_judge([sample(n, "7") for n in range(40)], [])) == [0, 1, 3]
    before = [sample(0, "7", reward=0.5), sample(1, "7", reward=0.5, shared=True)]
    assert ids(to_judge([sample(2, "7"), sample(3, "8"), sample(4, "7")], before)) == [2, 3, 4]


def test_what_cannot_be_compared_is_judged_itself() -> None:
    whole = [sample(n, "7") for n in range(5)]
    cut = [sample(n, "7", status="truncated") for n in (5, 6)]
    assert ids(to_judge([*whole, *cut, sample(7, None)], [])) == [0, 1, 3, 5, 6, 7]
    hardly_marked = [sample(0, "7"), sample(1, "7"), sample(2, "7"), *(sample(n, None) for n in range(3, 7))]
    assert ids(to_judge(hardly_marked, [])) == list(range(7))


def test_a_shared_reward_is_the_mean_of_the_verdicts_and_no_verdict_itself() -> None:
    candidates = [
        sample(0, "7", reward=0.2),
        sample(1, "7", reward=0.6),
        sample(2, "7", reward=0.1, shared=True),
        sample(3, "8", reward=0.9),
        sample(4, "7", error="not scored: no verdict"),
        sample(5, "9", error="not scored: no verdict"),
        sample(6, "7", status="truncated"),
    ]
    assert shared_rewards(candidates) == pytest.approx({2: 0.4, 4: 0.4})
    (seven, eight) = sorted(field_of(candidates[:4], "support").contenders, key=lambda one: -one.support)
    assert seven.support == 3
    assert sorted(score.value for score in seven.scores) == [0.2, 0.6]
    assert [score.value for score in eight.scores] == [0.9]


def judging(answers: list[str], fails: int = 0) -> Any:
    """A model that gives these answers and scores the k-th of all judgements k out of 10, after some that fail."""

    def write(kind: str, number: int, messages: list[Any]) -> str | Exception:  # noqa: ARG001
        if kind == "judge":
            if number < fails:
                return ValueError("the judge is not well")
            return json.dumps({"critique": "Fine.", "score": 1 + number % 10})
        return f"Working.\n#### {answers[number % len(answers)]}"

    return write


def test_a_run_asks_one_judge_about_few_of_the_answers_that_agree() -> None:
    state, model = run(judging(["5"] * 7 + ["6"]), settings={**ONE_ROUND, "confirm": 1})
    drawn = state["candidates"]
    own = [c for c in drawn if not c.get("shared")]
    looks = sum(len(c["looks"]) for c in drawn)
    assert len(own) == 4
    assert len(model.requests("judge")) == 4 + looks
    fives = [c["reward"] for c in own if c["extracted"] == "5"]
    assert all(c["reward"] == pytest.approx(sum(fives) / 3) for c in drawn if c.get("shared"))
    assert all(c["critique"] is None for c in drawn if c.get("shared"))
    assert state["result"]["usage"]["calls"] == 8 + 4 + looks


@pytest.mark.parametrize("changes", [{"confirm": 0}, {"final_choice": "best"}])
def test_each_answer_is_judged_where_answers_are_not_compared(changes: dict[str, Any]) -> None:
    state, model = run(judging(["5"]), settings={**ONE_ROUND, "confirm": 0, **changes})
    assert len(model.requests("judge")) == 8
    assert not any(c.get("shared") for c in state["candidates"])


def test_answers_whose_verdicts_all_failed_are_judged_by_those_that_would_have_shared_them() -> None:
    state, model = run(judging(["5"], fails=6), settings={**ONE_ROUND, "confirm": 1})
    assert all(c["reward"] is not None for c in state["candidates"])
    assert len([c for c in state["candidates"] if c.get("shared")]) == 3
    assert len(model.requests("judge")) - sum(len(c["looks"]) for c in state["candidates"]) == 6 + 5


def test_max_calls_is_kept_though_no_answer_agrees() -> None:
    answers = [str(number) for number in range(40)]
    state, model = run(judging(answers), settings={"budget": 40, "max_calls": 21, "pool_size": 2, "evolve_every": 0})
    assert len(model._requests) <= 21
    assert state["result"]["usage"]["calls"] == len(model._requests)


def test_second_looks_go_to_samples_that_were_not_judged() -> None:
    def write(kind: str, number: int, messages: list[Any]) -> str:  # noqa: ARG001
        if kind == "judge":
            return json.dumps({"critique": "Fine.", "score": 6})
        return f"Working {number}.\n#### {5 + (number >= 4)}"

    state, _ = run(write, settings={**ONE_ROUND, "confirm": 2})
    looked = [c for c in state["candidates"] if c["looks"]]
    assert looked
    assert all(c.get("shared") for c in looked)
