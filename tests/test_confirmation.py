"""The mathematics of second looks: estimates, the value of a look, and what the rules gain in simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from benchmarks.confirm import play
from metascale.choice.scores import Contender, Judgement
from metascale.choice.second_look import (
    MARGIN,
    MIN_RESERVE,
    RESERVED,
    SAMPLE_CALLS,
    VALIDITY,
    Rule,
    Standing,
    confidence,
    gain_of_looking,
    gain_of_sampling,
    next_looks,
    reserve,
    standing,
)
from metascale.stats.normal import expected_excess

RULES: tuple[Rule, ...] = ("support", "sum", "best")
SCORES = st.sampled_from([0.0, 1 / 9, 0.5, 0.7777777, 1.0]) | st.floats(0, 1)


def judged(*values: float, answer: int = 0, wordings: Sequence[str] | None = None, support: int = 1) -> Contender:
    """One answer with its first score and then its looks, by default each in words of its own."""
    words = wordings or [f"wording {number}" for number in range(len(values))]
    return Contender(
        tuple(
            Judgement(value, answer, word, is_first=number == 0)
            for number, (value, word) in enumerate(zip(values, words, strict=False))
        ),
        support,
    )


def final(name: str, *values: float, votes: int) -> Contender:
    """A final answer with as many votes, and a score of so many of its answers."""
    scores = (Judgement(value, hash((name, i)), "alone", is_first=True) for i, value in enumerate(values))
    return Contender(tuple(scores), votes, final=name)


def field(*rows: Sequence[float], support: Sequence[int] | None = None) -> list[Contender]:
    return [
        judged(*values, answer=number, support=support[number] if support else 1) for number, values in enumerate(rows)
    ]


@st.composite
def contenders(draw: st.DrawFn) -> list[Contender]:
    """Any contenders: of one or several answers, asked in the same or in other words, looked at or not."""
    found = []
    answer = 0
    for _ in range(draw(st.integers(1, 6))):
        scores: list[Judgement] = []
        support = draw(st.integers(1, 3))
        for _ in range(support):
            first = draw(st.sampled_from(["list", "alone"]))
            scores.append(Judgement(draw(SCORES), answer, first, is_first=True))
            looks = draw(st.lists(st.tuples(SCORES, st.sampled_from(["alone", "x", "y"])), max_size=3))
            scores += [Judgement(value, answer, wording) for value, wording in looks]
            answer += 1
        name = draw(st.sampled_from([None, f"answer {answer}"]))
        found.append(Contender(tuple(scores), support, final=name))
    return found


# --- estimates -----------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(contenders(), st.sampled_from(RULES), st.randoms(use_true_random=False))
def test_estimates_are_finite_and_know_no_order(found: list[Contender], rule: Rule, random: object) -> None:
    order = list(range(len(found)))
    random.shuffle(order)  # type: ignore[attr-defined]
    now, shuffled = standing(found, rule), standing([found[index] for index in order], rule)
    for name in ("estimates", "worth", "errors", "scores"):
        numbers = getattr(now, name)
        assert np.isfinite(numbers).all()
        np.testing.assert_allclose(getattr(shuffled, name), numbers[order], rtol=1e-6, atol=1e-9)
    assert (now.errors >= 0).all()
    assert now.noise > 0
    assert now.spread > 0
    assert 0 <= confidence(now) <= 1
    assert all(0 <= gain_of_looking(now, index) < math.inf for index in range(len(found)) if len(found) > 1)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rows", [[[0.5]], [[1.0]], [[1.0]] * 4, [[0.0]] * 3, [[1.0, 1.0]] * 3, [[0.3, 0.3]]])
def test_nothing_breaks_where_scores_tell_nothing(rule: Rule, rows: list[list[float]]) -> None:
    now = standing(field(*rows), rule)
    assert np.allclose(now.estimates, rows[0][0])
    assert now.lead == 0
    assert np.isfinite(now.errors).all()
    assert confidence(now) >= 1 / len(rows) - 0.02


def test_more_looks_make_surer() -> None:
    others = [[0.5], [0.6], [0.4], [0.65], [0.55]]
    noise = (0.02, -0.03, 0.01, 0.03, -0.02, -0.01)
    errors = [
        standing(field([0.8, *(0.8 + n for n in noise[:looks])], *others)).errors[0] for looks in range(1, len(noise))
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 1.5


def test_copies_of_a_score_are_hardly_worth_more_than_the_score() -> None:
    others = field([0.5], [0.6], [0.55], [0.7], [0.4], [0.65])
    once = standing([judged(0.8, answer=9), *others])
    for copies in range(2, 8):
        copied = standing([judged(*[0.8] * copies, answer=9, wordings=["wording 0"] * copies), *others])
        fresh = standing([judged(*[0.8] * copies, answer=9), *others])
        assert 1 <= copied.scores[0] <= 1.2 + 1e-9
        assert copied.errors[0] >= once.errors[0] / math.sqrt(2)
        assert copied.errors[0] > 2 * fresh.errors[0]


def test_the_more_copies_are_seen_the_less_they_count() -> None:
    rows = [0.8, 0.5, 0.6, 0.55, 0.7, 0.4, 0.65]
    for copies in (2, 3, 6):
        now = standing([judged(*[v] * copies, answer=i, wordings=["same"] * copies) for i, v in enumerate(rows)])
        assert (now.scores <= 1.1).all()


def test_scores_that_really_vary_in_the_same_words_count_in_full() -> None:
    rows = ([0.9, 0.5, 0.7], [0.2, 0.8, 0.4], [0.6, 0.3, 0.9], [0.5, 0.1, 0.4])
    now = standing([judged(*values, answer=i, wordings=["same"] * 3) for i, values in enumerate(rows)])
    assert (now.scores > 2).all()


def test_estimates_are_on_the_scale_of_the_first_scores() -> None:
    """A harsh wording of the looks, first in the alphabet, moves no estimate down to its own level."""
    first = [0.8, 0.7, 0.6, 0.75, 0.65]
    found = [judged(value, value - 0.3, answer=i, wordings=["plain", "a harsh one"]) for i, value in enumerate(first)]
    now = standing(found)
    assert now.mean == pytest.approx(np.mean(first), abs=0.06)
    alone = standing([judged(value, answer=i) for i, value in enumerate(first)])
    assert float(now.estimates.mean()) > float(alone.estimates.mean()) - 0.08


@pytest.mark.parametrize("wordings", [1, 2])
@pytest.mark.parametrize("finalists", [2, 3, 4])
@pytest.mark.parametrize("gap", [0.1, 0.2, 0.3])
def test_severe_wordings_do_not_push_the_finalists_below_the_field(gap: float, finalists: int, wordings: int) -> None:
    firsts = [0.8 - 0.01 * i for i in range(finalists)]
    looked_at = [judged(first, *[first - 0.2] * wordings, answer=i) for i, first in enumerate(firsts)]
    others = [judged(firsts[-1] - gap - 0.02 * i, answer=finalists + i) for i in range(8)]
    now = standing([*looked_at, *others])
    assert now.lead == 0
    assert now.worth[:finalists].min() > now.worth[finalists:].max()


def test_a_lucky_first_score_is_seen_through() -> None:
    others = [[0.6], [0.55], [0.5], [0.62], [0.58]]
    alone = standing(field([1.0], [0.7], *others))
    judged_low = standing(field([1.0, 0.4, 0.5], [0.7, 0.7, 0.72], *others))
    assert alone.lead == 0
    assert alone.estimates[0] < 1.0
    assert judged_low.estimates[0] < alone.estimates[0]
    assert judged_low.lead == 1


def test_rules_differ_in_what_votes_add() -> None:
    found = [final("a", 0.8, votes=1), final("b", 0.5, 0.6, 0.7, 0.6, 0.6, votes=5), final("c", 0.3, votes=1)]
    best, support, total = (standing(found, rule) for rule in ("best", "support", "sum"))
    assert best.lead == 0
    assert support.lead == total.lead == 1
    np.testing.assert_allclose(best.worth, best.estimates)
    np.testing.assert_allclose(total.worth, total.estimates * [1, 5, 1])
    np.testing.assert_allclose(total.errors, best.errors * [1, 5, 1])


# --- what a look is worth ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [-0.5, -0.01, 0.0, 0.02, 0.1, 0.7])
@pytest.mark.parametrize("deviation", [0.01, 0.08, 0.5])
def test_expected_excess_is_the_integral(distance: float, deviation: float) -> None:
    top = max(0.0, -distance) + 12 * deviation
    integral, _ = quad(lambda x: x * norm.pdf(x, -distance, deviation), 0, top, points=[max(0.0, -distance)])
    assert expected_excess(distance, deviation) == pytest.approx(integral, rel=1e-7, abs=1e-12)


@given(st.floats(-10, 10), st.floats(0, 10))
def test_expected_excess_is_never_negative_nor_less_than_what_is_certain(distance: float, deviation: float) -> None:
    excess = expected_excess(distance, deviation)
    assert excess >= 0
    assert excess >= -distance - 1e-12


@pytest.mark.parametrize("rule", RULES)
def test_a_look_is_worth_what_simulation_says(rule: Rule) -> None:
    """A single look's gain: the mean of max(own, others) after it, over what the model expects to see."""
    found = field([0.8, 0.7], [0.75, 0.8], [0.5], [0.4], [0.6], support=[1, 1, 2, 1, 1])
    now = standing(found, rule)
    scale = np.array([c.support for c in found]) if rule == "sum" else np.ones(5)
    rng = np.random.default_rng(0)
    for index in range(2):
        variance = (float(now.errors[index]) / scale[index]) ** 2
        change = scale[index] * variance / math.sqrt(variance + now.noise)
        after = now.worth[index] + change * rng.standard_normal(400_000)
        others = float(np.delete(now.worth, index).max())
        gained = float(np.maximum(after, others).mean()) - max(others, float(now.worth[index]))
        assert gain_of_looking(now, index) >= VALIDITY * gained - 1e-4
        assert gain_of_looking(now, index) == pytest.approx(VALIDITY * gained, abs=4e-3)


def test_a_sample_is_worth_what_simulation_says() -> None:
    """Its gain: how far the estimate of a new answer, after one score, exceeds the best so far on average."""
    draws = np.random.default_rng(0).standard_normal(400_000)
    for worths, mean, spread, noise in (([0.6, 0.5], 0.45, 0.02, 0.01), ([0.3, 0.2], 0.4, 0.01, 0.04)):
        now = Standing(*np.array([worths, worths, [0.1, 0.1], [1.0, 1.0]]), mean, spread, noise)
        estimates = mean + spread / math.sqrt(spread + noise) * draws
        gained = float(np.maximum(0, estimates - max(*worths, mean)).mean())
        assert gain_of_sampling(now) == pytest.approx(VALIDITY * gained / SAMPLE_CALLS, rel=0.02)


def test_a_look_is_worth_more_where_several_would_change_the_choice() -> None:
    """What k looks at one of two contenders are worth, over what the model expects to see, for each look."""
    now = Standing(*np.array([[0.7, 0.6], [0.7, 0.6], [0.06, 0.08], [1.0, 2.0]]), 0.5, 0.01, 0.04)
    draws = np.random.default_rng(1).standard_normal(2_000_000)
    gains = []
    for looks in (1, 2, 4):
        before = 1 / 0.01 + 2 / 0.04
        shrinks = math.sqrt((looks / 0.04) / (before + looks / 0.04))
        gains.append(float(np.maximum(0.0, 0.6 + 0.08 * shrinks * draws - 0.7).mean()) / looks)
    assert gains[2] > gains[1] > gains[0]
    assert gain_of_looking(now, 1) == pytest.approx(VALIDITY * gains[2], rel=0.02)


def test_a_look_at_summed_rewards_moves_the_sum_no_more_than_it_is_unsure() -> None:
    """What can be learnt is bounded by what is unknown, on whichever scale contenders are compared."""
    now = standing(field([0.8], [0.2], support=[4, 1]), "sum")
    rest = abs(float(now.worth[0] - now.worth[1]))
    assert gain_of_looking(now, 0) <= expected_excess(rest, float(now.errors[0]))
    alone = Standing(now.estimates, now.estimates, now.errors / [4, 1], now.scores, now.mean, now.spread, now.noise)
    apart = abs(float(alone.worth[0] - alone.worth[1]))
    scaled = Standing(now.estimates, 4 * alone.worth, 4 * alone.errors, now.scores, now.mean, now.spread, now.noise)
    assert apart > 0
    assert gain_of_looking(scaled, 0) == pytest.approx(4 * gain_of_looking(alone, 0))


@pytest.mark.parametrize(
    ("worth", "errors"),
    [
        ([0.7, 0.6], [0.05, 0.05]),
        ([0.7, 0.68, 0.66, 0.5], [0.03, 0.06, 0.02, 0.1]),
        ([0.5, 0.5, 0.5], [0.1, 0.1, 0.1]),
        ([0.9, 0.2], [0.05, 0.08]),
        ([0.6, 0.55, 0.5], [0.04, 0.04, 0.08]),
    ],
)
def test_confidence_is_the_share_of_worlds_in_which_no_other_is_better(worth: list[float], errors: list[float]) -> None:
    """Of what lasts in the scores, a share is quality; the rest is error that no look removes."""
    spread, noise = 0.01, 0.02
    scores = noise * (1 / np.array(errors) ** 2 - 1 / spread)
    scores = np.maximum(scores, 0.2)
    now = Standing(np.array(worth), np.array(worth), np.array(errors), scores, 0.5, spread, noise)
    rng = np.random.default_rng(1)
    lasting = rng.normal(worth, np.sqrt(noise / (scores + noise / spread)), (300_000, len(worth)))
    quality = VALIDITY * lasting + rng.normal(0, math.sqrt(spread * VALIDITY * (1 - VALIDITY)), lasting.shape)
    best_other = np.delete(quality, now.lead, axis=1).max(axis=1)
    share = float((best_other <= quality[:, now.lead] + MARGIN).mean())
    assert confidence(now) == pytest.approx(share, abs=0.01)


# --- which to look at ----------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(contenders(), st.integers(-1, 12), st.sampled_from(RULES))
def test_looks_are_never_more_than_the_calls_and_never_twice_in_a_round(
    found: list[Contender], calls: int, rule: Rule
) -> None:
    chosen = next_looks(found, calls, rule)
    assert len(chosen) <= max(0, calls)
    assert len(set(chosen)) == len(chosen)
    assert all(0 <= index < len(found) for index in chosen)
    assert len(found) > 1 or not chosen


def test_the_first_round_is_a_probe_and_later_fields_are_what_the_calls_can_halve() -> None:
    level = [judged(0.7 - 0.0001 * index, answer=index) for index in range(64)]
    assert next_looks(level, 62) == [0, 1]
    noisy = [judged(0.8, 0.6, answer=0), judged(0.6, 0.8, answer=1), *level[2:]]
    sizes = {calls: len(next_looks(noisy, calls)) for calls in (1, 2, 5, 6, 13, 14, 29, 30, 62, 500)}
    assert sizes == {1: 1, 2: 2, 5: 2, 6: 4, 13: 4, 14: 8, 29: 8, 30: 16, 62: 16, 500: 16}
    assert len(next_looks(noisy[:16], 62)) == 4


def test_nobody_is_looked_at_where_the_judge_is_exact_and_one_is_ahead() -> None:
    exact = [[0.9, 0.9, 0.9], [0.5, 0.5, 0.5], [0.4], [0.3], [0.2]]
    assert next_looks(field(*exact), 50) == []


def test_nobody_is_looked_at_without_calls_or_without_a_choice() -> None:
    assert next_looks(field([0.6], [0.5]), 0) == []
    assert next_looks(field([0.6]), 10) == []


def test_those_in_contention_are_looked_at() -> None:
    chosen = next_looks(field([0.8, 0.7], [0.78, 0.79], [0.3, 0.35], [0.2], [0.1], [0.25]), 10)
    assert set(chosen) == {0, 1}


@settings(max_examples=100, deadline=None)
@given(
    st.just([]) | contenders(),
    st.sampled_from(RULES),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(1, 200),
)
def test_what_is_kept_for_looks_is_bounded(
    found: list[Contender], rule: Rule, calls: int, spent: int, max_calls: int
) -> None:
    kept = reserve(found, rule, calls=calls, spent=spent, max_calls=max_calls)
    assert 0 <= kept <= max(0, min(calls, max_calls // RESERVED) - spent)
    if min(calls, max_calls // RESERVED) < MIN_RESERVE:
        assert kept == 0


def test_calls_are_kept_until_the_judge_turns_out_exact() -> None:
    assert reserve([], calls=16, spent=0, max_calls=64) == 16
    noisy = field([0.9, 0.5], [0.85, 0.6], *[[0.4 + 0.04 * i] for i in range(10)])
    assert reserve(noisy, calls=16, spent=2, max_calls=64) == 14
    exact = field([0.9, 0.9], [0.5, 0.5], *[[0.1 + 0.03 * i] for i in range(10)])
    assert reserve(exact, calls=16, spent=2, max_calls=64) == 0
    for found, kept in ((noisy, 14), (exact, 0)):
        assert reserve(found[::-1], calls=16, spent=2, max_calls=64) == kept, "whichever was drawn first"
    assert reserve(noisy, calls=MIN_RESERVE, spent=0, max_calls=64) == MIN_RESERVE


# --- at equal total calls, in simulation ---------------------------------------------------------------------------


def gains(scenario: str, tasks: int) -> tuple[float, float]:
    """Mean quality gained over the highest single score at 128 calls, and its standard error."""
    results = np.array([play(scenario, None, 128, seed)[:2] for seed in range(tasks)])
    gained = results[:, 1] - results[:, 0]
    return float(gained.mean()), float(gained.std(ddof=1)) / math.sqrt(tasks)


def test_second_looks_gain_where_the_judge_is_noisy() -> None:
    gain, error = gains("noisy", 240)
    assert gain > 5 * error > 0
    assert gain > 0.03


def test_second_looks_cost_next_to_nothing_where_the_judge_is_exact() -> None:
    gain, _ = gains("exact", 150)
    assert gain > -0.005
