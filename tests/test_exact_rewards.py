"""Exact rewards: the choice is by reward alone, and a verified answer ends the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from metascale import MetaScaleSettings, Score, VerifierReward, create_metascale
from metascale.cli.session import Session
from metascale.graphs import METHODS
from tests.conftest import ask
from tests.scripted import ScriptedModel, discovering

JUDGED = [name for name, method in METHODS.items() if method.judged]
AGREED = [0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9]
"""Rewards of eight answers that agree."""


def answers(right_at: int | None) -> Callable[..., Any]:
    """A model that gives the answer 7, save once."""

    def write(kind: str, number: int, messages: Any) -> Any:
        if kind == "solve":
            return f"Way {number}: the final answer is {5 if number == right_at else 7}."
        return discovering(kind, number, messages)

    return write


def key(_: str, answer: str) -> float:
    """The grade of an answer: exactly 1 for 5, and less for each 7."""
    return 1.0 if "is 5" in answer else AGREED[int(answer.split()[1].rstrip(":")) % len(AGREED)]


class Rejudging(VerifierReward):
    """An exact reward that could be asked again."""

    calls_per_look = 1

    async def look_again(self, *_: Any, **__: Any) -> list[Score]:
        raise AssertionError("an exact reward is never asked twice")


def solved(reward: Any, *, method: str = "metascale", right_at: int | None = 8, **chosen: Any) -> dict[str, Any]:
    settings = MetaScaleSettings.model_validate({"budget": 9, "batch_size": 1, "pool_size": 2, **chosen})
    graph = METHODS[method].create(ScriptedModel(write=answers(right_at)), reward=reward, settings=settings)
    result: dict[str, Any] = graph.invoke(ask())["result"]
    return result


@pytest.mark.parametrize("method", JUDGED)
@pytest.mark.parametrize("chosen", [{}, {"final_choice": "sum"}, {"confirm": 8}, {"target_reward": None}])
def test_one_verified_answer_beats_eight_that_agree(method: str, chosen: dict[str, Any]) -> None:
    result = solved(VerifierReward(key), method=method, **chosen)
    assert result["reward"] == 1.0
    assert "is 5" in result["answer"]
    assert result["finalists"] == []
    assert result["confidence"] == 1.0
    assert result["notes"][-1] == "the confidence rests on an exact reward"


@pytest.mark.parametrize("method", JUDGED)
def test_the_first_verified_answer_ends_the_search(method: str) -> None:
    result = solved(VerifierReward(key), method=method, right_at=2, budget=16, synthesize=True)
    assert result["stop_reason"] == "target_reward"
    assert result["usage"]["samples"] == 3
    assert result["reward"] == 1.0


@pytest.mark.parametrize(("target", "samples", "reason"), [(None, 9, "budget"), (0.6, 1, "target_reward")])
def test_a_target_of_the_users_own_wins(target: float | None, samples: int, reason: str) -> None:
    result = solved(VerifierReward(key), right_at=2, target_reward=target)
    assert result["usage"]["samples"] == samples
    assert result["stop_reason"] == reason


def test_a_run_may_switch_the_end_off_by_its_context() -> None:
    graph = create_metascale(
        ScriptedModel(write=answers(0)), reward=VerifierReward(key), settings=MetaScaleSettings(budget=3, batch_size=1)
    )
    assert graph.invoke(ask())["result"]["usage"]["samples"] == 1
    out = graph.invoke(ask(), context=MetaScaleSettings(target_reward=None))
    assert out["result"]["usage"]["samples"] == 3


def test_without_a_verified_answer_the_highest_reward_wins() -> None:
    result = solved(VerifierReward(lambda _, answer: 0.95 if "is 5" in answer else key("", answer)))
    assert result["stop_reason"] == "budget"
    assert result["reward"] == 0.95


def test_an_exact_reward_that_could_be_asked_again_is_not() -> None:
    result = solved(Rejudging(key), confirm=100, target_reward=0.6)
    assert result["stop_reason"] == "target_reward"
    assert solved(Rejudging(key), target_reward=None)["reward"] == 1.0


class OwnReward:
    """A user's reward."""

    def calls(self, new: int, earlier: int = 0) -> int:  # noqa: ARG002
        return 0

    async def score(self, question: str, answers: Sequence[str], settings: Any, *, place: Any) -> list[Score]:  # noqa: ARG002
        return [Score(key(question, answer)) for answer in answers]


def test_a_reward_says_itself_whether_it_is_exact() -> None:
    noisy = solved(OwnReward(), stop_on_agreement=None)
    assert noisy["stop_reason"] == "budget"
    assert noisy["reward"] != 1.0, "eight answers that agree outweigh one score"
    exact = OwnReward()
    exact.exact = True  # type: ignore[attr-defined]
    assert solved(exact)["reward"] == 1.0
    inexact = VerifierReward(key)
    inexact.exact = False
    assert solved(inexact, stop_on_agreement=None)["reward"] == noisy["reward"]
    assert solved(OwnReward())["stop_reason"] == "agreement"


async def test_an_interrupted_run_gives_the_verified_answer() -> None:
    settings = MetaScaleSettings(budget=9, batch_size=9, pool_size=2, target_reward=None)
    reward = VerifierReward(key)
    graph = create_metascale(
        ScriptedModel(write=answers(8)), reward=reward, settings=settings, checkpointer=InMemorySaver()
    )
    session = Session(graph, settings, "t", reward=reward)
    ended = await session.solve("Why?", lambda _: None)
    assert session._ended(ended.state, interrupted=True).result["reward"] == 1.0
