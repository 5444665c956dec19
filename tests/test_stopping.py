"""The mathematics of early stopping: agreement and expected progress."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from metascale.bandits import Arm
from metascale.budget.stopping import MIN_REWARDS, agreement, expected_progress

REWARDS = st.sampled_from([0.0, 1 / 9, 0.5, 1.0]) | st.floats(0, 1)
ARMS = st.lists(
    st.tuples(st.lists(REWARDS, max_size=6), st.integers(0, 3)).map(
        lambda found: Arm(len(found[0]) + found[1], tuple(found[0]))
    ),
    min_size=1,
    max_size=5,
)


def votes(*counts: int) -> list[str]:
    return [f"{answer}" for answer, count in enumerate(counts) for _ in range(count)]


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 5))
def test_agreement_is_the_tail_of_a_beta_distribution(first: int, second: int, third: int) -> None:
    largest, runner_up, _ = sorted((first, second, third), reverse=True)
    expected = beta.sf(0.5, largest + 1, runner_up + 1)
    assert agreement(votes(first, second, third)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_agreement_of_nothing_is_none_and_of_a_tie_is_even() -> None:
    assert agreement([]) == 0.0
    assert agreement(votes(1)) == pytest.approx(0.75)
    assert agreement(votes(7, 7)) == pytest.approx(0.5)
    assert agreement(votes(4)) == pytest.approx(1 - 0.5**5)


def test_agreement_grows_with_the_lead_and_falls_with_the_runner_up() -> None:
    leads = [agreement(votes(first, 5)) for first in range(5, 40)]
    assert leads == sorted(leads)
    runners_up = [agreement(votes(30, second)) for second in range(31)]
    assert runners_up == sorted(runners_up, reverse=True)
    assert agreement(votes(6, 2)) == agreement(votes(2, 6)) == agreement(votes(6, 2, 1, 1))


@pytest.mark.parametrize(("first", "second"), [(700, 650), (5_000, 4_900), (50_000, 49_800), (100_000, 0)])
def test_agreement_of_large_counts_is_exact(first: int, second: int) -> None:
    found = agreement(votes(first, second))
    assert found == pytest.approx(beta.sf(0.5, first + 1, second + 1), rel=1e-8)
    assert 0.5 <= found <= 1


def test_progress_is_open_until_enough_is_known() -> None:
    assert expected_progress([Arm(MIN_REWARDS - 1, (0.5,) * (MIN_REWARDS - 1))]) == math.inf
    assert expected_progress([Arm(MIN_REWARDS, (0.5,) * MIN_REWARDS), Arm()]) == math.inf
    assert expected_progress([Arm(20), Arm(20)]) == math.inf
    assert expected_progress([Arm(MIN_REWARDS, (0.4, 0.6) * (MIN_REWARDS // 2)), Arm(2)]) < math.inf


def test_progress_falls_as_rewards_saturate() -> None:
    found = [expected_progress([Arm(n + 3, (0.2, 0.4, 0.6, *[0.9] * n))]) for n in (10, 20, 40, 80)]
    assert found == sorted(found, reverse=True)
    assert expected_progress([Arm(9, (0.1, 0.9) * 4 + (0.98,))]) <= 0.02 + 1e-12
    assert expected_progress([Arm(9, (0.1, 0.9) * 4 + (1.0,))]) == 0
    assert expected_progress([Arm(9, (0.7,) * 9), Arm(9, (0.7,) * 9)]) < 1e-9


def test_an_arm_below_the_best_promises_less_the_more_is_known_of_it() -> None:
    best = Arm(8, (0.9,) * 8)
    found = [expected_progress([best, Arm(n, (0.2, 0.3) * (n // 2))]) for n in (2, 8, 32, 128)]
    assert found == sorted(found, reverse=True)
    varied = expected_progress([best, Arm(8, (0.1, 0.95, 0.2, 0.85, 0.15, 0.9, 0.05, 0.8))])
    assert varied > expected_progress([best, Arm(8, (0.5,) * 8)])


@settings(max_examples=300)
@given(ARMS)
def test_progress_is_never_negative_nor_undefined(arms: list[Arm]) -> None:
    progress = expected_progress(arms)
    assert progress >= 0
    assert progress == math.inf or progress <= 1
    known = sum(len(arm.rewards) for arm in arms)
    assert math.isinf(progress) == (known < MIN_REWARDS or not all(arm.pulls for arm in arms))
