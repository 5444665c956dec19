"""Which requests count as stragglers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metascale.models.latencies import BURST, ENOUGH, MARGIN, Latencies, limit_of

pytestmark = pytest.mark.stragglers
positive = st.floats(1e-3, 1e4)


def log_normal(rng: np.random.Generator, spread: float, count: int) -> list[float]:
    return [float(value) for value in 2.0 * np.exp(spread * rng.standard_normal(count))]


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("known", [4, 16, 128])
def test_few_ordinary_requests_are_taken_for_stragglers(spread: float, known: int) -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        limit = limit_of(log_normal(rng, spread, known))
        shares.append(np.mean(np.array(log_normal(rng, spread, 100)) > limit))
    assert np.mean(shares) < (0.01 if spread < 1 else 0.06)


def test_stragglers_among_the_known_do_not_hide_the_next_one() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        seconds = np.array(log_normal(rng, 0.5, 64))
        seconds[rng.random(64) < 0.05] *= 100
        assert 2 * 2.0 <= limit_of(list(seconds)) < 0.2 * 2.0 * 100


def test_a_server_that_became_slow_is_known_again() -> None:
    latencies = Latencies()
    for _ in range(200):
        latencies.observe(0.2)
    limit = latencies.limit
    assert limit is not None
    assert limit < 1
    for _ in range(200):
        latencies.observe(max(latencies.limit or 0.0, 3.0))  # given up at the limit, so it took at least that
    limit = latencies.limit
    assert limit is not None
    assert limit > 3


def test_the_limit_leaves_time_to_write_the_longest_reply_so_far() -> None:
    latencies = Latencies()
    for seconds, tokens in [(1.0, 50), (1.1, 55), (0.9, 45), (1.0, 50), (1.0, 50), (20.0, 1_000)]:
        latencies.observe(seconds, tokens)
    limit = latencies.limit
    assert limit is not None
    assert limit == pytest.approx(2 * 20.0)


def test_an_allowance_that_is_given_back_may_be_used() -> None:
    latencies = Latencies()
    assert latencies.take_allowance()
    assert not latencies.take_allowance()
    latencies.give_back()
    assert latencies.take_allowance()


def test_nothing_is_known_of_the_first_requests() -> None:
    latencies = Latencies()
    for _ in range(ENOUGH):
        assert latencies.limit is None
        latencies.observe(1.0)
    assert latencies.limit is not None


@settings(deadline=None)
@given(st.lists(positive, min_size=ENOUGH, max_size=200), st.randoms(use_true_random=False))
def test_the_limit_is_above_half_of_the_requests_in_any_order(seconds: list[float], random: object) -> None:
    limit = limit_of(seconds)
    assert limit >= np.median(seconds) + MARGIN - 1e-9
    shuffled = list(seconds)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert limit_of(shuffled) == limit


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=400))
def test_no_more_than_a_share_of_all_requests_is_sent_twice(wishes: list[bool]) -> None:
    latencies = Latencies()
    twice = 0
    for wish in wishes:
        latencies.observe(1.0)
        if wish and latencies.take_allowance():
            twice += 1
    assert twice <= 1 + 0.1 * len(wishes) + 1e-9
    for _ in range(1_000):
        latencies.observe(1.0)
    left = 0
    while latencies.take_allowance():
        left += 1
    assert left == BURST
