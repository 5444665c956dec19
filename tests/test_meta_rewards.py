"""The three meta-rewards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metascale.foresight import meta_rewards

SHARES = st.floats(0, 1)


@pytest.mark.parametrize(("off", "reward"), [(0.0, 1.0), (0.1, 0.631), (0.25, 0.316), (1.0, 0.01)])
def test_difficulty_rewards_a_near_pass_rate(off: float, reward: float) -> None:
    assert meta_rewards.difficulty(0.0, off) == pytest.approx(reward, abs=5e-4)
    assert meta_rewards.difficulty(1.0, 1.0 - off) == pytest.approx(reward, abs=5e-4)


@given(one=SHARES, other=SHARES)
def test_difficulty_is_symmetric_and_bounded(one: float, other: float) -> None:
    reward = meta_rewards.difficulty(one, other)
    assert 0.01 <= reward <= 1
    assert reward == meta_rewards.difficulty(other, one)


@pytest.mark.parametrize(
    ("predicted", "lengths", "reward"),
    [
        (150, [100, 200], 1),
        (100, [100, 200], 0),
        (200, [100, 200], 0),
        (150, [150], 0),
        (150, [], 0),
        (99, [100, 98], 1),
    ],
)
def test_length_lies_strictly_inside_the_range(predicted: int, lengths: list[int], reward: float) -> None:
    assert meta_rewards.length(predicted, lengths) == reward


def test_notions_count_where_more_right_answers_than_wrong_ones_use_them() -> None:
    correct = ["By similar triangles, half.", "The Similar Triangle at the top."]
    wrong = ["Integrate by parts.", "By parts: similar triangles.", "Nothing."]
    assert meta_rewards.notions(["similar triangles", "integration by parts", "parts"], "A tower.", correct, wrong) == (
        pytest.approx(1 / 3)
    )


def test_notions_of_the_problem_and_repetitions_do_not_count() -> None:
    problem, correct = "Find the identities of two boxes.", ["identity, box, ratio"]
    assert meta_rewards.notions(["identity", "box", "ratio", "ratios"], problem, correct, []) == 1
    assert meta_rewards.notions(["identity", "boxes"], problem, correct, []) == 0
    assert meta_rewards.notions([], problem, correct, []) == 0


def test_notions_are_whole_words() -> None:
    assert meta_rewards.notions(["rate"], "", ["separate"], []) == 0
    assert meta_rewards.notions(["rate"], "", ["the rates"], []) == 1
    assert meta_rewards.notions(["glass", "series"], "", ["a glass in series"], []) == 1


def test_a_notion_that_as_many_wrong_answers_use_earns_nothing() -> None:
    assert meta_rewards.notions(["ratio"], "", ["ratio"], ["ratio"]) == 0
