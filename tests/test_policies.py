"""Every bandit policy: what all promise, what each is for, and a landscape on which the default earns its place."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.stats import norm

from benchmarks.policies.entrants import ALL_POLICIES
from benchmarks.policies.max_ucb import MaxUCB, scaled_maxima
from benchmarks.policies.moments import SMALLEST_VARIANCE, moments
from benchmarks.policies.successive_halving import SuccessiveHalving, quotas
from benchmarks.policies.thompson import Thompson, common_normal, expected_maximum
from metascale import MetaScaleSettings
from metascale.bandits import (
    POLICIES,
    UCB,
    Arm,
    Policy,
    Prior,
    RoundRobin,
    Single,
    Softmax,
    UpperTail,
    create_policy,
    mean_rewards,
    upper_tail,
)
from metascale.bandits.base import highest, untried
from metascale.bandits.posterior import DEVIATIONS, LOG_DEVIATIONS, SPREADS, _kinds_of_pools, posterior
from metascale.bandits.softmax import largest_remainder
from metascale.bandits.ucb import ucb_scores
from metascale.bandits.upper_tail import SCALE, _all_are_due, _improvements, _tables

REWARDS = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0]))
MISSING = st.one_of(st.integers(0, 2), st.just(10_000))
PRIORS = st.none() | st.builds(Prior, st.floats(-1, 1), st.floats(0.01, 1_000))


@st.composite
def arms_of(draw: st.DrawFn, *, least: int = 0) -> Arm:
    """An arm with at least `least` pulls."""
    rewards = draw(st.lists(REWARDS, max_size=6))
    missing = draw(MISSING) if rewards else max(least, draw(MISSING))
    return Arm(len(rewards) + missing, tuple(rewards), prior=draw(PRIORS))


ARM, PULLED = arms_of(), arms_of(least=1)
ARMS = st.lists(ARM, min_size=1, max_size=12)
COMPARING = [name for name in ALL_POLICIES if name != "single"]
every_policy = pytest.mark.parametrize("policy", [make() for make in ALL_POLICIES.values()], ids=list(ALL_POLICIES))
comparing_policy = pytest.mark.parametrize("policy", [ALL_POLICIES[name]() for name in COMPARING], ids=COMPARING)
few = settings(max_examples=40, deadline=None)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def arm(*rewards: float) -> Arm:
    return Arm(len(rewards), rewards)


@every_policy
@few
@given(arms=ARMS, size=st.integers(1, 20), beyond=st.sampled_from([0, 1, 50, 10**12]))
def test_a_plan_is_a_whole_round_of_known_arms_and_repeats(
    policy: Policy, arms: list[Arm], size: int, beyond: int
) -> None:
    plan = policy.plan(arms, size, rng(), left=size + beyond)
    assert len(plan) == size
    assert all(type(index) is int and 0 <= index < len(arms) for index in plan)
    assert plan == policy.plan(arms, size, rng(), left=size + beyond)


@comparing_policy
@few
@given(arms=ARMS, size=st.integers(1, 20))
def test_every_arm_is_pulled_before_any_is_compared(policy: Policy, arms: list[Arm], size: int) -> None:
    known = [replace(arm, prior=None) for arm in arms]
    fresh = [index for index, arm in enumerate(known) if arm.pulls == 0]
    assert policy.plan(known, size, rng(), left=size + 9)[: len(fresh)] == fresh[:size]


@pytest.mark.parametrize("policy", [ALL_POLICIES[name]() for name in COMPARING if name != "upper_tail"])
def test_first_pulls_go_in_the_order_of_the_priors(policy: Policy) -> None:
    arms = [Arm(prior=Prior(-0.1, 2.0)), Arm(), Arm(3, (0.5, 0.6, 0.4)), Arm(prior=Prior(0.1, 2.0))]
    assert policy.plan(arms, 3, rng(), left=12) == [3, 1, 0]


@every_policy
@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_equal_rewards_favour_no_arm(policy: Policy, value: float) -> None:
    arms = [arm(*[value] * 5)] * 4
    first = Counter(policy.plan(arms, 1, rng(seed), left=30)[0] for seed in range(200))
    assert set(first) == ({0} if isinstance(policy, Single) else {0, 1, 2, 3})
    assert min(first.values()) > 25


@every_policy
def test_hundreds_of_arms_and_a_single_one(policy: Policy) -> None:
    draws = rng(1)
    many = [arm(*draws.random(3)) for _ in range(400)]
    assert len(policy.plan(many, 64, rng(), left=1_000)) == 64
    assert policy.plan([arm(0.3, 0.4)], 5, rng(), left=5) == [0] * 5
    assert policy.plan([Arm()], 5, rng(), left=5) == [0] * 5


@pytest.mark.parametrize("name", ["ucb", "softmax", "round_robin", "max_ucb", "successive_halving", "upper_tail"])
@few
@given(
    arms=st.lists(PULLED, min_size=1, max_size=8),
    size=st.integers(1, 10),
    data=st.data(),
)
def test_without_ties_the_order_of_arms_is_nothing(name: str, arms: list[Arm], size: int, data: st.DataObject) -> None:
    policy = ALL_POLICIES[name]()
    plans = [policy.plan(arms, size, rng(seed), left=size + 20) for seed in range(6)]
    order = data.draw(st.permutations(range(len(arms))))
    moved = policy.plan([arms[index] for index in order], size, rng(), left=size + 20)
    if all(plan == plans[0] for plan in plans) and name != "softmax":
        assert [order[index] for index in moved] == plans[0]
    if all(sorted(plan) == sorted(plans[0]) for plan in plans):
        assert sorted(order[index] for index in moved) == sorted(plans[0])


def test_thompson_is_indifferent_to_the_order_of_arms_in_distribution() -> None:
    arms = [arm(0.4, 0.6, 0.5), arm(0.7, 0.5), arm(0.55, 0.6, 0.5, 0.4)]
    there = Counter(Thompson().plan(arms, 3_000, rng(1), left=3_000)[:400])
    back = Counter(2 - index for index in Thompson().plan(arms[::-1], 3_000, rng(2), left=3_000)[:400])
    assert all(abs(there[index] - back[index]) < 100 for index in range(3))


@pytest.mark.parametrize("name", [name for name in COMPARING if name != "round_robin"])
@pytest.mark.parametrize("size", [1, 4])
def test_the_best_of_clearly_different_arms_gets_most_pulls(name: str, size: int) -> None:
    draws = rng(5)
    rewards: list[list[float]] = [[], [], [], []]
    for left in range(40, 0, -size):
        for index in ALL_POLICIES[name]().plan([arm(*earned) for earned in rewards], size, rng(left), left=left):
            rewards[index].append(float(np.clip(draws.normal((0.2, 0.2, 0.7, 0.2)[index], 0.08), 0, 1)))
    assert len(rewards[2]) >= 15
    assert max(map(len, rewards)) == len(rewards[2])


@pytest.mark.parametrize("name", ["ucb", "upper_tail", "max_ucb", "thompson", "successive_halving"])
def test_a_round_is_spread_over_arms_that_look_alike(name: str) -> None:
    alike = [arm(0.4, 0.6, 0.5), arm(0.5, 0.4, 0.6), arm(0.6, 0.5, 0.4), arm(0.5, 0.6, 0.4)]
    assert len(set(ALL_POLICIES[name]().plan(alike, 8, rng(), left=40))) == 4


@pytest.mark.parametrize("name", ["ucb", "upper_tail", "max_ucb", "thompson", "round_robin", "successive_halving"])
def test_an_arm_that_never_gets_scored_does_not_take_the_budget(name: str) -> None:
    policy, draws = ALL_POLICIES[name](), rng(3)
    arms = [Arm(), Arm(), Arm()]
    for left in range(60, 0, -1):
        (index,) = policy.plan(arms, 1, rng(left), left=left)
        earned = () if index == 0 else (float(draws.normal(0.5, 0.1)),)
        arms[index] = Arm(arms[index].pulls + 1, arms[index].rewards + earned)
    assert arms[0].pulls <= 25


def test_scores_that_differ_only_by_rounding_are_ties() -> None:
    scores = np.array([0.1 + 0.2, 0.3, 0.29])
    assert {highest(scores, rng(seed)) for seed in range(30)} == {0, 1}


def test_settings_name_the_policy_and_what_it_is_made_with() -> None:
    for name in POLICIES:
        assert create_policy(MetaScaleSettings.model_validate({"policy": name})) == POLICIES[name]()
    assert create_policy(MetaScaleSettings(policy="ucb", beta=0.7)) == UCB(0.7)
    assert create_policy(MetaScaleSettings(policy="softmax", softmax_temperature=0.4)) == Softmax(0.4)


def test_round_robin_levels_the_pulls() -> None:
    assert RoundRobin().plan([arm(0.9), arm(0.1, 0.2, 0.3, 0.4)], 3, rng(), left=3) == [0, 0, 0]
    arms = [Arm(), Arm(), arm(0.9), arm(0.1, 0.2, 0.3)]
    plan = RoundRobin().plan(arms, 8, rng(), left=8)
    assert [one.pulls + plan.count(index) for index, one in enumerate(arms)] == [3, 3, 3, 3]


def test_where_nothing_is_scored_every_arm_is_in_the_middle() -> None:
    arms = [Arm(2), Arm(), Arm(1, prior=Prior(0.2, 1.0))]
    assert mean_rewards(arms).tolist() == pytest.approx([0.5, 0.5, 0.7])
    known = moments(arms)
    assert known.means.tolist() == [0.5, 0.5, 0.5]
    assert known.pooled == pytest.approx(SMALLEST_VARIANCE)


def test_a_prior_that_counts_for_a_reward_may_wait() -> None:
    arms = [Arm(prior=Prior(0.1, 1.0)), Arm(prior=Prior(0.2, 0.99)), Arm()]
    assert untried(arms, 3, but_believed=True) == [1, 2]
    assert untried(arms, 3) == [1, 0, 2]


@pytest.mark.parametrize(
    ("pulled", "size", "left", "is_due"),
    [
        *((0, 1, 16, True), (0, 1, 15, False), (4, 1, 4, True), (3, 1, 5, False), (4, 1, 3, False)),
        *((4, 4, 8, True), (4, 2, 8, False)),
    ],
)
def test_believed_arms_wait_no_longer_than_to_the_middle(pulled: int, size: int, left: int, *, is_due: bool) -> None:
    arms = [arm(*[0.5] * pulled) if pulled else Arm(prior=Prior(0.3, 4.0)), *[Arm(prior=Prior(-0.3, 4.0))] * 3]
    assert _all_are_due(arms, size, left) is is_due


def test_moments_draw_variances_together() -> None:
    known = moments([arm(0.2, 0.4), arm(0.5, 0.5, 0.8), Arm(3, (0.7,)), Arm(2)])
    everything = [0.2, 0.4, 0.5, 0.5, 0.8, 0.7]
    pooled = (0.02 + 0.06 + np.var(everything)) / (1 + 2 + 1)
    assert known.scored.tolist() == [2, 3, 1, 0]
    assert known.means == pytest.approx([0.3, 0.6, 0.7, np.mean(everything)])
    assert known.pooled == pytest.approx(pooled)
    assert known.variances == pytest.approx([(0.02 + 3 * pooled) / 4, (0.06 + 3 * pooled) / 5, pooled, pooled])


def test_single_leaves_every_other_arm_alone() -> None:
    assert Single(1).plan([Arm(), Arm(), arm(1.0)], 3, rng(), left=3) == [1, 1, 1]
    for missing in (-1, 3):
        with pytest.raises(ValueError, match="no arm"):
            Single(missing).plan([Arm()] * 3, 1, rng(), left=1)


def test_ucb_is_the_papers_formula() -> None:
    arms = [arm(0.2, 0.6), arm(0.5, 0.3, 0.4, 0.4, 0.4), Arm(2, (0.1,)), Arm()]
    bounds = ucb_scores(arms, 0.5)
    logarithm = math.log(9)
    by_hand = [0.4 + 0.5 * math.sqrt(logarithm / pulls) for pulls in (2, 5)] + [0.1 + 0.5 * math.sqrt(logarithm / 2)]
    assert bounds[:3] == pytest.approx(by_hand)
    assert bounds[3] == math.inf
    assert ucb_scores([Arm(1), arm(0.3)], 1.0) == pytest.approx([0.3 + math.sqrt(math.log(2))] * 2)
    assert ucb_scores([arm(0.3)], 1.0) == pytest.approx([0.3]), "ln 1 is 0"


def test_ucb_counts_what_it_has_planned() -> None:
    arms = [arm(0.6, 0.6), arm(0.5, 0.5)]
    pulls, planned = [2, 2], []
    for _ in range(9):
        bounds = [mean + 0.3 * math.sqrt(math.log(sum(pulls)) / n) for mean, n in zip((0.6, 0.5), pulls, strict=True)]
        planned.append(bounds.index(max(bounds)))
        pulls[planned[-1]] += 1
    assert set(planned) == {0, 1}
    assert UCB(0.3).plan(arms, 9, rng(), left=9) == planned
    fresh = [Arm(), arm(0.3, 0.3), Arm()]
    for policy in (UCB(0.1), MaxUCB(0.1)):
        for seed in range(20):
            planned = policy.plan(fresh, 4, rng(seed), left=9)
            assert planned[:2] == [0, 2], "first pulls first"
            assert sorted(planned[2:]) == [0, 2], "and they count"


def test_max_ucb_is_balefs_formula() -> None:
    arms = [arm(0.2, 0.6), arm(0.4, 0.3, 0.5, 0.1), Arm(1)]
    assert scaled_maxima(arms) == pytest.approx([0.99, 0.01 + 0.98 * 0.8, 0.01 + 0.98 * 0.9])
    bonus = [(0.5 * math.log(8) / pulls) ** 2 for pulls in (2, 4, 1)]
    assert bonus == pytest.approx([0.27025, 0.06756, 1.08102], abs=1e-5)
    assert MaxUCB(0.5).plan(arms, 1, rng(), left=9) == [2]
    assert MaxUCB(0.1).plan(arms, 1, rng(), left=9) == [0]
    after_one = [0.99 + (0.5 * math.log(9) / 2) ** 2, 0.794 + (0.5 * math.log(9) / 4) ** 2, 0.892 + 0.25 * 1.2069]
    assert max(after_one) == after_one[0]
    assert MaxUCB(0.5).plan(arms, 2, rng(), left=9) == [2, 0]
    maxima, pulls, planned = scaled_maxima(arms), np.array([2, 4, 1]), []
    for t in range(8, 28):
        planned.append(int(np.argmax(maxima + (0.7 * math.log(t) / pulls) ** 2)))
        pulls[planned[-1]] += 1
    assert len(set(planned)) == 3
    assert MaxUCB(0.7).plan(arms, 20, rng(), left=20) == planned


@pytest.mark.parametrize(("arms", "horizon"), [(1, 9), (2, 5), (5, 40), (8, 56), (8, 4), (256, 300)])
def test_quotas_spend_no_more_than_the_horizon(arms: int, horizon: int) -> None:
    ends = quotas(arms, horizon)
    assert len(ends) == math.ceil(math.log2(arms))
    assert ends == sorted(ends)
    alive = [math.ceil(arms / 2**stage) for stage in range(len(ends))]
    spent = sum(count * (end - before) for count, end, before in zip(alive, ends, [0, *ends], strict=False))
    assert spent <= max(arms, horizon)


@pytest.mark.parametrize("size", [1, 4, 56])
def test_halving_halves(size: int) -> None:
    means = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    arms = [Arm()] * 8
    for left in range(56, 0, -size):
        for index in SuccessiveHalving().plan(arms, size, rng(left), left=left):
            arms[index] = Arm(arms[index].pulls + 1, (*arms[index].rewards, means[index]))
    pulls = [one.pulls for one in arms]
    assert sorted(pulls) == [3, 3, 3, 3, 7, 7, 15, 15]
    if size < 56:
        assert pulls == sorted(pulls)


def test_among_equals_halving_keeps_the_arm_that_has_more_pulls() -> None:
    arms = [arm(0.5, 0.5, 0.5), arm(0.5, 0.5, 0.5, 0.5), arm(0.5, 0.5, 0.5), arm(0.5, 0.5, 0.5, 0.5)]
    assert quotas(4, 20) == [3, 7]
    assert {1, 3} == set(SuccessiveHalving().plan(arms, 6, rng(), left=6))


def test_halving_does_not_take_back_an_arm_that_it_dropped() -> None:
    arms = [arm(0.5, 0.5, 0.5), arm(0.4, 0.4, 0.4), arm(0.6, 0.6, 0.6, 0.0, 0.0), arm(0.9, 0.9, 0.9, 0.8)]
    assert quotas(4, 20) == [3, 7]
    assert sorted(SuccessiveHalving().plan(arms, 5, rng(), left=5)) == [2, 2, 3, 3, 3]


@pytest.mark.parametrize("draws", [1, 2, 3, 8, 64, 1_000, 100_000])
def test_the_expected_maximum_is_close_to_the_integral(draws: int) -> None:
    exact, _ = integrate.quad(
        lambda z: z * draws * norm.pdf(z) * norm.cdf(z) ** (draws - 1), -8, 10, points=[0, 2, 4], limit=500
    )
    assert expected_maximum(draws) == pytest.approx(exact, abs=0.026)


def test_the_common_normal_is_what_the_moments_say() -> None:
    arms = [arm(0.2, 0.4), arm(0.5, 0.5, 0.8), arm(0.9), Arm(2)]
    known = moments(arms)
    means = np.array([0.3, 0.6, 0.9])
    noise = known.pooled * (1 / 2 + 1 / 3 + 1) * (1 - 1 / 3)
    squares = float(np.square(means - 0.6).sum()) - noise
    assert squares > 0
    assert common_normal(known) == pytest.approx((0.6, (squares + 2 * 0.07**2) / 4))
    alike = moments([arm(0.4, 0.6), arm(0.6, 0.4)])
    assert common_normal(alike) == pytest.approx((0.5, 2 * 0.07**2 / 3)), "never below what the prior says"
    assert common_normal(moments([Arm(1)])) == pytest.approx((0.5, 0.07**2))


def test_softmax_shares_what_first_pulls_leave_among_the_others() -> None:
    assert Counter(Softmax().plan([arm(0.5), Arm()], 5, rng(), left=5)) == {0: 4, 1: 1}
    assert Softmax().plan([Arm(), Arm()], 2, rng(), left=2) == [0, 1]
    assert sorted(Softmax().plan([Arm(), Arm()], 4, rng(), left=4)) == [0, 0, 1, 1]
    halves = np.array([1.3, 2.4, 3.3]) / 7
    assert all(largest_remainder(halves, 7, rng(seed)).tolist() == [1, 3, 3] for seed in range(9))
    assert Softmax(0.001).plan([arm(1.0), arm(0.9)], 3, rng(), left=3) == [0, 0, 0]


def test_thompson_learns_of_an_arm_from_the_others() -> None:
    lone = arm(0.9)
    alike = [arm(0.48, 0.5, 0.52, 0.5)] * 8
    apart = [arm(*[mean - 0.02, mean, mean + 0.02, mean]) for mean in np.linspace(0.1, 0.9, 8)]
    assert common_normal(moments([*alike, lone]))[1] < common_normal(moments([*apart, lone]))[1]

    def share(arms: Sequence[Arm], index: int) -> float:
        return sum(Thompson().plan(arms, 1, rng(seed), left=1) == [index] for seed in range(300)) / 300

    rival = arm(0.6, 0.58, 0.62, 0.6, 0.6, 0.6)
    unscored = Arm(1)
    good = [arm(0.78, 0.8, 0.82, 0.8)] * 6
    poor = [arm(0.18, 0.2, 0.22, 0.2)] * 6
    assert share([unscored, rival, *good], 0) > share([unscored, rival, *poor], 0) + 0.02


def thompson_indices(arms: Sequence[Arm], planned: np.ndarray, left: int, draws: np.random.Generator) -> np.ndarray:
    """What each arm may yield under draws of what is unknown, by the model that `Thompson` states.

    `planned` holds the pulls of each arm that are planned already, shape (runs, arms), as the result has it.
    """
    known = moments(arms, 6.0)
    center, between = common_normal(known)
    pulls = np.array([one.pulls for one in arms]) + planned
    freedom = np.maximum(0, pulls - 1) + 6
    variances = stats.invgamma.rvs(freedom / 2, scale=freedom * known.variances / 2, random_state=draws)
    variances = np.minimum(variances, 0.25)
    trust = between * known.scored / (between * known.scored + variances)
    spreads = np.sqrt(1 / (1 / between + pulls / variances))
    means = stats.norm.rvs(center + (known.means - center) * trust, spreads, random_state=draws)
    return np.asarray(means + np.sqrt(variances) * expected_maximum(left))


@pytest.mark.parametrize("left", [1, 12])
def test_thompson_draws_from_the_posterior_of_its_model(left: int) -> None:
    arms = [arm(*[0.5, 0.56, 0.62] * 4), Arm(1), arm(0.2, 0.6, 0.4), Arm(2, (0.5,)), arm(0.75, 0.35)]
    drawn = np.argmax(thompson_indices(arms, np.zeros((40_000, 5)), left, rng(7)), axis=1)
    pulled = Counter(Thompson().plan(arms, 1, rng(seed), left=left)[0] for seed in range(4_000))
    shares = (np.bincount(drawn, minlength=5) / 40_000).tolist()
    assert [pulled[k] / 4_000 for k in range(5)] == pytest.approx(shares, abs=0.025)


def test_thompson_counts_what_it_has_planned() -> None:
    """What is planned narrows what is believed of an arm, so that a long round is not spent on one gamble."""
    arms = [arm(*[0.5, 0.56, 0.62] * 4), Arm(1), arm(0.2, 0.6, 0.4), arm(0.75, 0.35)]
    draws, expected = rng(3), np.zeros((500, 4), dtype=int)
    for left in range(80, 0, -1):
        best = np.argmax(thompson_indices(arms, expected, left, draws), axis=1)
        expected[np.arange(500), best] += 1
    planned = [Thompson().plan(arms, 80, rng(seed), left=80).count(3) for seed in range(60)]
    error = math.sqrt(np.var(expected[:, 3]) / 500 + np.var(planned) / 60)
    assert abs(np.mean(expected[:, 3]) - np.mean(planned)) < 3.5 * error
    assert Thompson().plan([Arm(), Arm()], 3, rng(), left=3)[:2] == [0, 1]


def test_thompson_looks_for_spread_while_much_is_left() -> None:
    steady, varied = arm(*[0.54, 0.55, 0.56] * 6), arm(*[0.2, 0.5, 0.8] * 6)

    def varied_share(left: int) -> float:
        return sum(Thompson().plan([steady, varied], 1, rng(seed), left=left) == [1] for seed in range(200)) / 200

    assert varied_share(64) > 0.9
    assert varied_share(1) < 0.5


def by_quadrature(arms: list[Arm]) -> tuple[list[float], list[float], list[float]]:
    """Of each arm its mean's posterior mean and deviation, and its own deviation's mean logarithm.

    Summed over a fine grid instead of in closed form.
    """
    known = posterior(arms)
    grid = np.linspace(-8, 8, 4_001)
    logs = np.zeros((len(arms), len(SPREADS), len(DEVIATIONS), len(grid)))
    for k, one in enumerate(arms):
        rewards = (np.array(one.rewards) - known.centre) / known.unit
        for i, spread in enumerate(SPREADS):
            for j, deviation in enumerate(DEVIATIONS):
                weight, believed = (one.prior.weight, one.prior.advantage / known.unit) if one.prior else (0.0, 0.0)
                before = 1 / (1 / spread**2 + weight / deviation**2)
                expected = before * weight * believed / deviation**2
                logs[k, i, j] = -0.5 * (grid - expected) ** 2 / before - 0.5 * np.log(before) + LOG_DEVIATIONS[i, j]
                for reward in rewards:
                    logs[k, i, j] += -0.5 * ((reward - grid) / deviation) ** 2 - np.log(deviation)
    masses = np.exp(logs - logs.max())
    of_arm = masses.sum(axis=(2, 3))
    of_kind = of_arm.prod(axis=0) / of_arm.prod(axis=0).sum()
    masses *= (of_kind / of_arm)[..., None, None]
    means = (masses * grid).sum(axis=(1, 2, 3))
    squares = (masses * np.square(grid)).sum(axis=(1, 2, 3))
    logarithms = (masses.sum(axis=(1, 3)) * np.log(DEVIATIONS)).sum(axis=1)
    deviations = np.sqrt(squares - np.square(means)) * known.unit
    return (means * known.unit + known.centre).tolist(), deviations.tolist(), logarithms.tolist()


def test_the_posterior_of_the_upper_tail_is_that_of_its_model() -> None:
    arms = [arm(0.3, 0.5, 0.7, 0.5), arm(0.48, 0.58), arm(0.9), Arm(), Arm(1, (0.5,), prior=Prior(0.2, 3.0))]
    known = posterior(arms)
    means, deviations, logarithms = by_quadrature(arms)
    assert known.weights.sum(axis=(1, 2)) == pytest.approx(np.ones(5))
    assert (known.expected * known.unit + known.centre).tolist() == pytest.approx(means, abs=1e-4)
    squares = (known.weights * (np.square(known.deviations) + np.square(known.means))).sum(axis=(1, 2))
    spread = np.sqrt(squares - np.square(known.expected)) * known.unit
    assert spread.tolist() == pytest.approx(deviations, abs=1e-4)
    assert (np.log(known.variances) / 2).tolist() == pytest.approx(logarithms, abs=1e-4)


def test_the_posterior_measures_in_the_rewards_own_spread() -> None:
    """By hand: the centre is the mean over scored arms, less their advantages; a quarter of a reward says 0.15."""
    arms = [arm(0.2, 0.4), Arm(2, (0.9,), prior=Prior(0.3, 2.0)), Arm(3)]
    known = posterior(arms)
    assert known.centre == pytest.approx((0.3 + 0.6) / 2)
    assert known.unit == pytest.approx(math.sqrt((0.26 + 0.25 * 0.0225) / 3.25))
    nothing = posterior([Arm(1), Arm()])
    assert (nothing.centre, nothing.unit) == (0.5, 0.15)
    assert nothing.expected == pytest.approx([0, 0])
    assert posterior([arm(0.7)]).unit == pytest.approx(0.15 * math.sqrt(0.2))


def test_the_pools_that_there_may_be_are_log_normal_in_their_deviations() -> None:
    spreads, deviations = _kinds_of_pools()
    assert spreads.tolist() == SPREADS.tolist() == [0.25] * 4 + [0.7] * 4
    assert deviations.tolist() == LOG_DEVIATIONS.tolist()
    assert np.exp(deviations).sum(axis=1) == pytest.approx(np.ones(8))
    wide = [norm.pdf(math.log(deviation), 0, 0.4) for deviation in DEVIATIONS]
    assert np.exp(deviations[3]) == pytest.approx(np.array(wide) / sum(wide))
    narrow = [norm.pdf(math.log(deviation), math.log(0.7), 0.1) for deviation in DEVIATIONS]
    assert np.exp(deviations[0]) == pytest.approx(np.array(narrow) / sum(narrow), abs=1e-11)


def test_an_odd_arm_counts_as_luck_among_equals_and_as_a_sign_among_the_unequal() -> None:
    lone = arm(0.6, 0.62)
    alike = [arm(0.4, 0.6), arm(0.5, 0.45), arm(0.55, 0.5), arm(0.45, 0.58)]
    apart = [arm(0.2, 0.22), arm(0.8, 0.79), arm(0.4, 0.43), arm(0.65, 0.6)]

    def kept(arms: list[Arm]) -> float:
        known = posterior(arms)
        drawn = float((known.weights * known.means).sum(axis=(1, 2))[0]) * known.unit
        return drawn / (0.61 - known.centre)

    assert kept([lone, *alike]) < 0.4
    assert kept([lone, *apart]) > 0.5


def test_the_improvement_of_many_draws_is_what_simulation_finds() -> None:
    highest_draws = rng(1).standard_normal((200_000, 12)).max(axis=1)
    chances, excesses = _tables(12)
    for bar in (-1.0, 0.5, 2.0):
        assert np.interp(bar, SCALE, chances) == pytest.approx((highest_draws > bar).mean(), abs=0.005)
        assert np.interp(bar, SCALE, excesses) == pytest.approx(np.maximum(0, highest_draws - bar).mean(), abs=0.01)


def test_upper_tail_stays_finite_on_rewards_of_any_kind() -> None:
    worlds = [[arm(*[1.0] * 400), arm(0.0)], [arm(*[0.5] * 9), arm(0.5)], [Arm(5), Arm(5)], [arm(1e-9), arm(0.0, 1e-9)]]
    for arms in worlds:
        assert set(UpperTail().plan(arms, 6, rng(), left=3_000)) <= {0, 1}


def test_a_prior_decides_the_first_pulls_and_rewards_the_later_ones() -> None:
    believed = [Arm(prior=Prior(advantage, 2.0)) for advantage in (-0.1, 0.1, 0.0)]
    assert UpperTail().plan(believed, 1, rng(), left=1) == [1]
    refuted = [
        Arm(4, (0.8, 0.9, 0.8, 0.9), prior=believed[0].prior),
        Arm(4, (0.2, 0.3, 0.1, 0.2), prior=believed[1].prior),
    ]
    assert UpperTail().plan(refuted, 1, rng(), left=8) == [0]


def test_a_wrong_prior_keeps_no_arm_waiting_beyond_half_of_the_budget() -> None:
    arms = [Arm(prior=Prior(0.2, 4.0)), *[Arm(prior=Prior(-0.2, 4.0))] * 3]
    qualities = (0.3, 0.4, 0.5, 0.9)
    for left in range(16, 0, -1):
        (k,) = UpperTail().plan(arms, 1, rng(left), left=left)
        arms[k] = Arm(arms[k].pulls + 1, (*arms[k].rewards, qualities[k]), prior=arms[k].prior)
    assert all(one.pulls for one in arms)
    assert arms[3].pulls >= 4


def test_an_arm_without_a_prior_is_tried_before_believed_ones() -> None:
    arms = [Arm(prior=Prior(0.3, 4.0)), Arm(), Arm(prior=Prior(0.1, 4.0))]
    assert UpperTail().plan(arms, 1, rng(), left=8) == [1]
    assert UCB().plan(arms, 3, rng(), left=8) == [0, 2, 1]


def test_priors_count_as_so_many_rewards_in_means() -> None:
    assert mean_rewards(
        [arm(0.5, 0.7), Arm(prior=Prior(0.1, 2.0)), Arm(2, (0.9,), prior=Prior(-0.2, 1.0)), Arm()]
    ).tolist() == (pytest.approx([0.6, 0.8, (0.9 + 0.5) / 2, 0.7]))


def test_upper_tail_prefers_the_larger_spread_among_equal_means() -> None:
    steady, varied = arm(*[0.48, 0.5, 0.52] * 3), arm(*[0.3, 0.5, 0.7] * 3)
    assert UpperTail().plan([steady, varied], 4, rng(), left=40) == [1, 1, 1, 1]
    assert UCB().plan([steady, varied], 4, rng(), left=40) != [1, 1, 1, 1]


def test_upper_tail_trusts_luck_as_far_as_the_steadiest_arm_shows_the_judge_to_be_exact() -> None:
    """High rewards of a varied arm are quality where some arm is steady, and else perhaps the judge's noise."""
    better, varied = arm(*[0.48, 0.56, 0.64, 0.72] * 3), arm(*[0.26, 0.42, 0.58, 0.74] * 3)
    steady, unsteady = arm(*[0.39, 0.4, 0.41] * 3), arm(*[0.28, 0.4, 0.52] * 3)
    for left in (4, 8, 16):
        assert UpperTail().plan([better, varied, steady], 1, rng(), left=left) == [1]
        assert UpperTail().plan([better, varied, unsteady], 1, rng(), left=left) == [0]


def improvements_on_a_grid(arms: list[Arm], left: int) -> tuple[list[float], list[float]]:
    """Posterior mean and deviation of each arm's v, from the formulas of `UpperTail` and a fine grid of means."""
    known = posterior(arms)
    tops = [max(one.rewards, default=-math.inf) for one in arms]
    bar = leader = 0.0
    if max(tops) > -math.inf:
        bar = (max(tops) - known.centre) / known.unit
        leader = float(np.mean([mean for mean, top in zip(known.expected, tops, strict=True) if top == max(tops)]))
    z = np.linspace(-60, 12, 14_401)
    p = 1 - norm.cdf(z) ** left
    g = integrate.cumulative_trapezoid(p[::-1], dx=z[1] - z[0], initial=0)[::-1]
    grid = np.linspace(-4, 4, 401)
    masses = norm.pdf(grid) / norm.pdf(grid).sum()
    averages, deviations = [], []
    for k, one in enumerate(arms):
        first = second = 0.0
        for i in range(len(SPREADS)):
            for j, sd in enumerate(DEVIATIONS):
                mean = known.means[k, i, j] + known.deviations[k, i, j] * grid
                share = 1 - 0.7 * min(1.0, known.variances.min() / sd**2)
                x, y = (bar - mean) / sd, ((1 - known.centre) / known.unit - mean) / sd
                higher = sd * (np.interp(x, z, g) - np.interp(y, z, g))
                v = share * higher + (1 - share) * (mean - leader) * np.interp(x, z, p)
                first += known.weights[k, i, j] * float((masses * v).sum())
                second += known.weights[k, i, j] * float((masses * v**2).sum())
        scored = (len(one.rewards) + 1) / (one.pulls + 1)
        averages.append(scored * first)
        deviations.append(scored * math.sqrt(second - first**2))
    return averages, deviations


@pytest.mark.parametrize("left", [1, 5, 40])
@pytest.mark.parametrize(
    "arms",
    [
        [arm(0.3, 0.5, 0.7, 0.5), arm(0.48, 0.7), Arm(3, (0.45, 0.5)), Arm(1), arm(0.66, 0.1)],
        [Arm(1, prior=Prior(0.3, 2.0)), Arm(2), Arm(1, prior=Prior(-0.2, 1.0))],
        [arm(0.4, 0.5, 0.6), Arm(1, prior=Prior(1.0, 900.0)), arm(0.5, 0.55)],
    ],
    ids=["scored", "unscored", "far above"],
)
def test_the_index_of_the_upper_tail_is_its_formula(arms: list[Arm], left: int) -> None:
    expected, deviation = _improvements(arms, left)
    on_a_grid = improvements_on_a_grid(arms, left)
    assert expected.tolist() == pytest.approx(on_a_grid[0], rel=0.03, abs=0.003)
    assert deviation.tolist() == pytest.approx(on_a_grid[1], rel=0.06, abs=0.003)


def test_upper_tail_counts_what_it_has_planned_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def improvements(_: Sequence[Arm], left: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append(left)
        return np.array([0.3, 0.1, 0.05]), np.array([0.1, 0.3, 0.9])

    monkeypatch.setattr(upper_tail, "_improvements", improvements)
    arms = [arm(*[0.5] * 6), arm(0.4, 0.5, 0.6), Arm()]
    left, pulls, known = 30, [6, 3, 2], [6, 3, 1]
    planned = [2]
    for _ in range(13):
        bonus = [
            0.65 * math.log(1 + (left - len(planned) - 1) / n) * math.sqrt(before / n)
            for n, before in zip(pulls, known, strict=True)
        ]
        indices = [0.3 + bonus[0] * 0.1, 0.1 + bonus[1] * 0.3, 0.05 + bonus[2] * 0.9]
        planned.append(indices.index(max(indices)))
        pulls[planned[-1]] += 1
    assert set(planned) == {0, 1, 2}
    assert UpperTail(0.65).plan(arms, 14, rng(), left=30) == planned
    assert asked == [29]


def test_upper_tail_seeks_no_luck_where_rewards_end() -> None:
    """The same arms, once with room above their best reward, and once where it is 1 already."""
    for shift, chosen in ((0.0, 1), (0.2, 0)):
        better = arm(*[reward + shift for reward in [0.6, 0.64, 0.56] * 3])
        varied = arm(*[reward + shift for reward in [0.2, 0.5, 0.8] * 3])
        assert UpperTail().plan([better, varied], 1, rng(), left=8) == [chosen]


def test_upper_tail_explores_as_far_as_there_is_time_to_use_it() -> None:
    arms = [arm(*[0.6, 0.7, 0.8, 0.7] * 3), arm(0.66), *[arm(0.5, 0.45, 0.55)] * 3]
    assert UpperTail().plan(arms, 1, rng(), left=60) == [1]
    assert UpperTail().plan(arms, 1, rng(), left=1) == [0]


def best_quality(policy: Policy, qualities: np.ndarray, rewards: np.ndarray, size: int) -> float:
    """The hidden quality of the answer of highest reward after all pulls; both arrays are (arms, pulls)."""
    count, budget = rewards.shape
    arms = [Arm()] * count
    best, chosen = -1.0, 0.0
    for left in range(budget, 0, -size):
        for k in policy.plan(arms, size, rng(left), left=left):
            reward, quality = float(rewards[k, arms[k].pulls]), float(qualities[k, arms[k].pulls])
            arms[k] = Arm(arms[k].pulls + 1, (*arms[k].rewards, reward))
            if reward > best:
                best, chosen = reward, quality
    return chosen


@pytest.mark.parametrize("other", [lambda: UCB(math.sqrt(2)), RoundRobin], ids=["ucb", "round_robin"])
def test_upper_tail_finds_better_answers_in_64_pulls(other: Callable[[], Policy]) -> None:
    """Tasks whose eight arms differ in mean and spread, or in spread alone; the same samples for both policies."""
    gains = []
    for task in range(100):
        draws = rng(task)
        means = 0.5 + draws.normal(0, 0.12 * (task % 2), 8)
        spreads = draws.uniform(0.05, 0.15, 8) if task % 2 else draws.uniform(0.02, 0.25, 8)
        qualities = np.clip(means[:, None] + spreads[:, None] * draws.standard_normal((8, 64)), 0, 1)
        rewards = np.clip(qualities + 0.03 * draws.standard_normal((8, 64)), 0, 1)
        ours, theirs = (best_quality(policy, qualities, rewards, 4) for policy in (UpperTail(), other()))
        gains.append(ours - theirs)
    error = np.std(gains, ddof=1) / math.sqrt(len(gains))
    assert np.mean(gains) > 3 * error
