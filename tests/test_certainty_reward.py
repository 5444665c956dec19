"""The certainty of answers as a reward: free, fair to every manner of writing, and merciless to a bad arm."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver

from metascale import MetaScaleSettings, create_metascale
from metascale.bandits import Arm, UpperTail
from metascale.models import SimulatedChatModel
from metascale.result import troubles
from metascale.rewards import CertaintyReward, Drawn, Earlier, RelativeReward, SampleReward
from metascale.rewards.certainty import UNKNOWN
from metascale.rewards.scorer import Scorer
from tests.conftest import THREAD, ServerFactory, ask, chat_model
from tests.scoring import SETTINGS

LEVELS = {"restate": -0.106, "represent": -0.119, "verify": -0.084, "estimate": -0.091, "decompose": -0.08}
LEVELS |= {"chain": -0.07, "plain": -0.079, "challenge": -0.416}
"""How sure the model was under eight arms, on average (Qwen2.5-Coder-1.5B, GSM8K). `challenge` is right in 12 % of its
answers, the others in 41 % to 49 %, and the surest are not the best."""
WITHIN = 0.04
"""The robust standard deviation of the answers to one question there."""


def memo(arm: str, mean: float) -> dict[str, Any]:
    return {"arm": arm, "sureness": mean}


def sample(arm: str, mean: float | None, text: str = "So.") -> Drawn:
    certainty = None if mean is None else {"tokens": 9, "mean": -9.0, "lowest": -9.0, "tail": 0.0, "numbers": mean}
    return Drawn(text, arm, certainty, [])  # type: ignore[arg-type]


def pulls(rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
    return [memo(arm, level + rng.normal(0.0, WITHIN)) for arm, level in LEVELS.items() for _ in range(count)]


def by_arm(memos: list[dict[str, Any]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {arm: [] for arm in LEVELS}
    for one, value in zip(memos, CertaintyReward().values(memos), strict=True):
        found[one["arm"]].append(value or 0.0)
    return found


def test_a_bad_arm_is_dropped_after_its_first_pull() -> None:
    dropped, rest = 0, []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = by_arm(pulls(rng, 1))
        rest.append(values.pop("challenge")[0])
        arms = [Arm(pulls=1, rewards=tuple(own)) for own in [*values.values(), [rest[-1]]]]
        plan = UpperTail().plan(arms, 8, rng, left=24)
        dropped += len(arms) - 1 not in plan
    assert np.median(rest) < 0.03
    assert dropped >= 18


def test_manner_counts_for_less_the_better_it_is_known() -> None:
    gaps = []
    for count in (1, 4, 16):
        means = dict.fromkeys(LEVELS, 0.0)
        for seed in range(40):
            for arm, own in by_arm(pulls(np.random.default_rng(seed), count)).items():
                means[arm] += sum(own) / count / 40
        bad = means.pop("challenge")
        gaps.append(max(means.values()) - min(means.values()))
        assert bad < min(means.values()) - 0.15
    assert gaps[2] < gaps[1] < gaps[0]
    assert gaps[2] < gaps[0] / 2


def test_within_an_arm_the_surer_answer_has_the_higher_value() -> None:
    memos = pulls(np.random.default_rng(1), 5)
    values = CertaintyReward().values(memos)
    for arm in LEVELS:
        own = [(one["sureness"], value) for one, value in zip(memos, values, strict=True) if one["arm"] == arm]
        assert [value for _, value in sorted(own)] == sorted(value or 0.0 for _, value in own)


@given(
    st.lists(st.one_of(st.none(), st.builds(memo, st.sampled_from("abc"), st.floats(-20, 0))), max_size=12),
    st.randoms(),
)
def test_values_are_in_range_and_move_with_their_answers(memos: list[Any], random: Any) -> None:
    values = CertaintyReward().values(memos)
    assert all((value is None) == (one is None) for value, one in zip(values, memos, strict=True))
    assert all(value is None or 0 <= value <= 1 for value in values)
    order = random.sample(range(len(memos)), len(memos))
    assert CertaintyReward().values([memos[i] for i in order]) == pytest.approx([values[i] for i in order], abs=1e-8)


async def test_new_answers_are_valued_beside_the_earlier_ones() -> None:
    reward = CertaintyReward()
    first = await reward.score_samples("Why?", [sample("a", -0.2), sample("b", None)], SETTINGS, place=[1])
    assert [(score.value, score.error) for score in first] == [(0.5, None), (None, UNKNOWN)]
    earlier = [Earlier("So.", json.loads(json.dumps(score.memo))) for score in first]
    later = await reward.score_samples("Why?", [sample("a", -0.1)], SETTINGS, place=[2], earlier=earlier)
    memos = [*(one.memo for one in earlier), later[0].memo]
    assert reward.values(memos)[2] == later[0].value
    assert (later[0].value or 0.0) > 0.5
    assert reward.calls(5, 5) == 0


async def test_texts_alone_have_no_value() -> None:
    scorer = Scorer(CertaintyReward())
    scores, moved = await scorer.score("Why?", ["So."], SETTINGS, place=[1])
    assert (scores[0].value, scores[0].error, moved) == (None, UNKNOWN, [])
    assert isinstance(scorer.reward, RelativeReward)
    assert isinstance(scorer.reward, SampleReward)
    assert (scorer.reads_certainty, scorer.calls_per_look) == (True, None)


def search(model: Any, **settings: Any) -> dict[str, Any]:
    chosen = MetaScaleSettings.model_validate(
        {
            "reward": "certainty",
            "budget": 12,
            "batch_size": 4,
            "pool_size": 4,
            "evolution": "off",
            "seed": 1,
            **settings,
        }
    )
    graph = create_metascale(model, settings=chosen, checkpointer=InMemorySaver())
    graph.invoke(ask(), THREAD)
    return graph.get_state(THREAD).values


def test_a_run_asks_no_judge(start_server: ServerFactory) -> None:
    server = start_server()
    state = search(chat_model(server))
    assert set(server.requests) == {"compose", "solve"}
    assert state["result"]["usage"]["calls"] == 12 + 1
    rewards = [candidate["reward"] for candidate in state["candidates"]]
    assert rewards == CertaintyReward().values([candidate["memo"] for candidate in state["candidates"]])
    assert None not in rewards


def test_max_calls_is_spent_on_samples_alone() -> None:
    state = search(SimulatedChatModel(seed=1), max_calls=9)
    assert state["result"]["usage"]["samples"] == 9 - 1


def test_without_probabilities_the_majority_is_given(start_server: ServerFactory) -> None:
    server = start_server(probabilities="ignored")
    state = search(chat_model(server))
    assert all(candidate["reward"] is None for candidate in state["candidates"])
    answers = [candidate["extracted"] for candidate in state["candidates"]]
    chosen = state["candidates"][state["result"]["candidate"]]["extracted"]
    assert answers.count(chosen) == max(map(answers.count, answers))
    assert sorted(troubles(state["result"]["notes"])) == [
        f"{len(answers)} answers are not scored: no token probabilities are known",
        "nothing was scored, so the most frequent answer was chosen",
        "the server gives no token probabilities, although requests ask for them",
    ]
