"""Arms as pairs of a meta-thought and a model: which are offered, what the others teach, and what a pull may cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from metascale.bandits import UCB, Policy, Softmax, UpperTail
from metascale.budget.pull_costs import FIRST_GUESS, allowed_cost, expected_costs
from metascale.pool.admission import arm_statistics
from metascale.pool.arms import built_in_arm
from metascale.pool.pairs import offered, pairs_of, posterior_of
from metascale.records import Candidate, MetaThought
from metascale.settings.prices import Price
from metascale.usage import no_usage

MODELS = ["weak", "fair", "strong"]
OF_MODEL = {"weak": -0.2, "fair": 0.0, "strong": 0.2}
THOUGHTS = [f"t{number}" for number in range(8)]
CHEAP, DEAR = Price(input=0.1, output=0.4), Price(input=10, output=40)


def pool_of(*names: str) -> list[MetaThought]:
    return [{**built_in_arm("plan_first"), "id": name} for name in names]


def sample(number: int, thought: str, model: str, reward: float | None, tokens: int = 100) -> Candidate:
    made: Any = {
        "id": number,
        "round": 1,
        "meta_thought": thought,
        "model": model,
        "status": "ok",
        "reward": reward,
        "critique": None,
        "input_tokens": tokens,
        "output_tokens": tokens,
    }
    return made  # type: ignore[no-any-return]


def plan(
    pool: list[MetaThought], drawn: list[Candidate], policy: Policy, size: int, left: int, **options: Any
) -> list[tuple[str, str]]:
    """The pairs that a policy would pull next."""
    members = arm_statistics(pool, drawn)
    among = (range(len(pool)), MODELS)
    pairs = offered(pool, members, drawn, MODELS, among=among, **options)
    rng = np.random.default_rng([len(drawn), 1])
    return [tuple(pairs[index].key) for index in policy.plan([p.arm for p in pairs], size, rng, left=left)]  # type: ignore[misc]


def search(policy: Policy, true: Mapping[tuple[str, str], float], rng: np.random.Generator) -> list[Candidate]:
    """The 16 samples of a simulated run in rounds of 4, 4 and 8."""
    pool, drawn = pool_of(*THOUGHTS), list[Candidate]()
    for size in (4, 4, 8):
        for thought, model in plan(pool, drawn, policy, size, 16 - len(drawn)):
            reward = float(np.clip(true[thought, model] + 0.08 * rng.standard_normal(), 0, 1))
            drawn.append(sample(len(drawn), thought, model, reward))
    return drawn


@pytest.mark.parametrize("policy", [UpperTail(), UCB()], ids=["upper_tail", "ucb"])
def test_24_pairs_are_learned_in_16_pulls_of_a_simulation(policy: Policy) -> None:
    """A simulation: rewards are the sum of a model's part, a meta-thought's part, a pair's part and noise.

    Every pair for itself could try 16 of the 24. With shared parts most pulls go to the best model, and the mean of a
    pair that was never tried is known from its parts.
    """
    rng = np.random.default_rng(7)
    shares, correlations = [], []
    for _ in range(40):
        of_thought = {thought: 0.06 * rng.standard_normal() for thought in THOUGHTS}
        true = {
            (thought, model): 0.5 + OF_MODEL[model] + of_thought[thought] + 0.03 * rng.standard_normal()
            for thought in THOUGHTS
            for model in MODELS
        }
        drawn = search(policy, true, rng)
        shares.append(Counter(c["model"] for c in drawn)["strong"] / 16)
        pool = pool_of(*THOUGHTS)
        pairs = pairs_of(pool, arm_statistics(pool, drawn), drawn, MODELS)
        known, _ = posterior_of(pairs)
        untried = [index for index, pair in enumerate(pairs) if not pair.arm.pulls]
        truth = [true[pairs[index].key.thought, pairs[index].key.model] for index in untried]
        correlations.append(np.corrcoef(known.means[untried], truth)[0, 1])
    assert np.mean(shares) > 0.5
    assert np.mean(correlations) > 0.75


@pytest.mark.parametrize("policy", [UpperTail(), UCB(), Softmax()], ids=["upper_tail", "ucb", "softmax"])
def test_the_first_pulls_try_every_model_and_every_meta_thought_once(policy: Policy) -> None:
    pulls = plan(pool_of(*THOUGHTS), [], policy, 8, 16)
    assert {model for _, model in pulls} == set(MODELS)
    assert {thought for thought, _ in pulls} == set(THOUGHTS)


def test_models_are_compared_first_under_the_meta_thought_that_is_believed_best() -> None:
    better: MetaThought = {**pool_of("best")[0], "prior": {"advantage": 0.1, "weight": 0.5}}
    pulls = plan([*pool_of("t0", "t1"), better], [], UCB(), 5, 16)
    assert set(pulls[:3]) == {("best", model) for model in MODELS}
    assert {thought for thought, _ in pulls[3:]} == {"t0", "t1"}


@pytest.mark.parametrize("policy", [UpperTail(), UCB(), Softmax()], ids=["upper_tail", "ucb", "softmax"])
def test_under_one_meta_thought_the_models_are_the_arms(policy: Policy) -> None:
    pool = pool_of("t0")
    assert {model for _, model in plan(pool, [], policy, 3, 16)} == set(MODELS)
    drawn = [sample(n, "t0", MODELS[n % 3], 0.5 + 2 * OF_MODEL[MODELS[n % 3]]) for n in range(6)]
    pulls = Counter(model for _, model in plan(pool, drawn, policy, 6, 10))
    assert pulls["strong"] >= 4


def test_a_pair_is_offered_once_its_parts_promise_more_than_every_tried_pair() -> None:
    rewards = {("t0", "strong"): 0.6, ("t1", "strong"): 0.65, ("t0", "weak"): 0.2, ("t1", "weak"): 0.25}
    rewards |= {("t2", "weak"): 0.55, ("t0", "fair"): 0.3}
    drawn = [sample(n, *pair, reward) for n, (pair, reward) in enumerate([*rewards.items()] * 3)]
    pool = pool_of("t0", "t1", "t2")
    pairs = offered(pool, arm_statistics(pool, drawn), drawn, MODELS, among=(range(3), MODELS))
    untried = {tuple(pair.key) for pair in pairs if not pair.arm.pulls}
    assert untried == {("t2", "strong")}


def test_a_model_that_may_not_be_asked_is_not_offered_but_its_samples_teach() -> None:
    drawn = [sample(0, "t0", "strong", 0.9), sample(1, "t1", "strong", 0.3), sample(2, "t0", "weak", 0.5)]
    pool = pool_of("t0", "t1")
    pairs = offered(pool, arm_statistics(pool, drawn), drawn, MODELS, among=(range(2), ["weak"]))
    assert {pair.key.model for pair in pairs} == {"weak"}
    priors = {pair.key.thought: pair.arm.prior for pair in pairs}
    assert priors["t0"] is not None
    assert priors["t1"] is not None
    assert priors["t0"].advantage > priors["t1"].advantage


# --- money ---------------------------------------------------------------------------------------------------------

TARIFFS = {"weak": CHEAP, "fair": CHEAP, "strong": DEAR}


def test_what_a_sample_costs_follows_from_the_samples_of_its_model() -> None:
    assert expected_costs([], TARIFFS)["strong"] == pytest.approx(DEAR.of(*FIRST_GUESS))
    drawn = [sample(n, "t0", "strong", 0.5, tokens=1_000) for n in range(9)]
    costs = expected_costs(drawn, TARIFFS)
    assert costs["strong"] == pytest.approx(DEAR.of(1_000, 1_000))
    assert costs["weak"] == pytest.approx(CHEAP.of(1_000, 1_000))
    drawn.append(sample(9, "t0", "weak", 0.5, tokens=10))
    assert expected_costs(drawn, TARIFFS)["weak"] == pytest.approx(CHEAP.of(455.5, 455.5))


def test_what_a_sample_may_cost_is_what_is_left_less_its_judgement() -> None:
    assert allowed_cost(None, no_usage(), [], TARIFFS, left=4) == math.inf
    assert allowed_cost(1.0, no_usage(), [], TARIFFS, left=4) == 0.25
    drawn = [sample(0, "t0", "strong", 0.5, tokens=1_000)]
    spent = DEAR.of(1_000, 1_000)
    usage = no_usage() | {"cost_usd": spent + 0.1, "charged_usd": spent + 0.1}
    assert allowed_cost(1.0, usage, drawn, TARIFFS, left=2) == pytest.approx((0.9 - spent) / 2 - 0.1)


@pytest.mark.parametrize("policy", [UpperTail(), UCB(), Softmax()], ids=["upper_tail", "ucb", "softmax"])
def test_a_model_that_the_money_does_not_pay_for_waits(policy: Policy) -> None:
    costs = {"weak": 1.0, "fair": 3.0, "strong": 50.0}
    first = plan(pool_of("t0"), [], policy, 3, 16, costs=costs, allowed=5.0)
    assert {model for _, model in first} == {"weak", "fair"}
    later = plan(pool_of("t0"), [], policy, 3, 2, costs=costs, allowed=60.0)
    assert {model for _, model in later} == set(MODELS)
    assert {model for _, model in plan(pool_of("t0"), [], policy, 3, 16, costs=costs, allowed=0.1)} == {"weak"}


def test_of_two_equal_models_the_cheaper_one_is_asked() -> None:
    drawn = [sample(n, "t0", MODELS[n % 3], 0.7) for n in range(6)]
    costs = {"weak": 2.0, "fair": 1.0, "strong": 3.0}
    assert plan(pool_of("t0"), drawn, UCB(), 1, 10, costs=costs) == [("t0", "fair")]
    assert plan(pool_of("t0"), [], UCB(), 1, 10, costs=costs) == [("t0", "fair")]


def test_samples_that_do_not_name_their_model_have_no_price_of_their_own() -> None:
    old: Any = {name: value for name, value in sample(0, "t0", "weak", 0.5).items() if name != "model"}
    assert allowed_cost(1.0, no_usage(), [old], {}, left=3) == math.inf
