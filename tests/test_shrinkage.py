"""The one model of shrinkage: by hand, by its limits, and in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from metascale.stats.shrinkage import Scale, Scales, effective_count, pulled, shrink, spread_variance

PRIOR = Scales(noise=Scale(0.2, 2), spread=Scale(0.1, 2))


def numbers(*values: float) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def test_a_mean_is_drawn_by_pseudo_observations() -> None:
    assert pulled(0.8, 3, 0.2, 1) == pytest.approx((3 * 0.8 + 0.2) / 4)
    assert pulled(0.8, 0, 0.2, 1) == 0.2
    assert pulled(0.8, 3, 0.2, 0) == pytest.approx(0.8)
    assert pulled(numbers(0.8, 0.4), numbers(3, 1), 0.2, 1).tolist() == pytest.approx([0.65, 0.3])


def test_a_variance_is_drawn_by_degrees_of_freedom() -> None:
    assert Scale(0.2, 2).estimate(0.0, 0.0) == pytest.approx(0.04)
    assert Scale(0.2, 2).estimate(0.5, 8.0) == pytest.approx((2 * 0.04 + 0.5) / 10)
    assert Scale(0.2, 1).estimate(numbers(0.0, 0.5), numbers(0, 4)).tolist() == pytest.approx([0.04, 0.108])


def test_two_groups_by_hand() -> None:
    found = shrink(numbers(0.3, 0.7), numbers(2, 4), numbers(0.02, 0.06), PRIOR)
    noise = (2 * 0.04 + 0.08) / (2 + 4)
    spread = (2 * 0.01 + (0.08 - (noise / 2 + noise / 4) / 2)) / (2 + 1)
    assert found.noise == pytest.approx(math.sqrt(noise))
    assert found.spread == pytest.approx(math.sqrt(spread))
    assert found.centre == pytest.approx(0.5)
    precision = [n / noise + 1 / spread for n in (2, 4)]
    means = [(n * mean / noise + 0.5 / spread) / p for n, mean, p in zip((2, 4), (0.3, 0.7), precision, strict=True)]
    assert found.means.tolist() == pytest.approx(means)
    assert found.errors.tolist() == pytest.approx([p**-0.5 for p in precision])
    own = [math.sqrt((3 * noise + squares) / (3 + n - 1)) for n, squares in ((2, 0.02), (4, 0.06))]
    assert found.deviations.tolist() == pytest.approx(own)


def test_a_group_without_observations_is_expected_at_the_centre() -> None:
    found = shrink(numbers(0.2, 0.6, 0.9), numbers(3, 3, 0), numbers(0.1, 0.1, 0), PRIOR)
    assert found.centre == pytest.approx(0.4)
    assert found.means[2] == pytest.approx(found.centre)
    assert found.errors[2] == pytest.approx(found.spread)
    nothing = shrink(numbers(0.4, 0.6), numbers(0, 0), numbers(0, 0), PRIOR)
    assert (nothing.centre, nothing.noise, nothing.spread) == pytest.approx((0.5, 0.2, 0.1))
    assert nothing.means.tolist() == pytest.approx([0.5, 0.5])


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9), st.floats(0, 2)), min_size=1, max_size=9))
def test_means_stay_between_the_centre_and_their_group(groups: list[tuple[float, int, float]]) -> None:
    means, counts, squares = (np.array(column, dtype=np.float64) for column in zip(*groups, strict=True))
    found = shrink(means, counts, squares, PRIOR)
    assert (np.abs(found.means - found.centre) <= np.abs(means - found.centre) + 1e-12).all()
    assert (found.errors > 0).all()
    assert (found.errors <= found.spread + 1e-12).all()
    assert (found.deviations > 0).all()


def test_shrunk_means_are_nearer_to_the_truth_and_know_their_errors() -> None:
    rng = np.random.default_rng(0)
    shrunk, plain, inside = [], [], []
    for _ in range(150):
        truth = 0.5 + 0.1 * rng.standard_normal(60)
        counts = rng.integers(1, 8, 60)
        draws = [t + 0.2 * rng.standard_normal(n) for t, n in zip(truth, counts.tolist(), strict=True)]
        means = np.array([own.mean() for own in draws])
        squares = np.array([np.square(own - own.mean()).sum() for own in draws])
        found = shrink(means, counts.astype(np.float64), squares, PRIOR)
        shrunk.append(np.square(found.means - truth).mean())
        plain.append(np.square(means - truth).mean())
        inside.append((np.abs(found.means - truth) < 1.96 * found.errors).mean())
    assert np.mean(shrunk) < 0.6 * np.mean(plain)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.04)


def test_the_spread_is_unbiased_where_the_prior_hardly_counts() -> None:
    rng = np.random.default_rng(1)
    errors = np.tile([0.01, 0.02, 0.03, 0.04], 5)
    found = [
        spread_variance(
            0.3 * rng.standard_normal(20) + np.sqrt(errors) * rng.standard_normal(20), errors, Scale(1, 1e-9)
        )
        for _ in range(4_000)
    ]
    assert np.mean(found) == pytest.approx(0.09, rel=0.02)
    assert spread_variance(numbers(), numbers(), Scale(0.1, 2)) == pytest.approx(0.01)
    assert spread_variance(numbers(0.7), numbers(0.01), Scale(0.1, 2)) == pytest.approx(0.01)
    assert spread_variance(numbers(0.5, 0.5), numbers(0.1, 0.1), Scale(0.1, 2)) == pytest.approx(0.02 / 3)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
def test_correlated_observations_count_as_their_mean_varies(correlation: float) -> None:
    rng = np.random.default_rng(2)
    common, own = rng.standard_normal((20_000, 1)), rng.standard_normal((20_000, 5))
    means = (math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own).mean(axis=1)
    assert effective_count(5.0, correlation) == pytest.approx(1 / means.var(), rel=0.04)
    assert effective_count(1.0, correlation) == 1
