"""Statistics of the reports, against scipy and statsmodels and on made-up arenas whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.proportion import proportion_confint

from metascale.evals.report.records import Battle, BattleVerdict
from metascale.evals.report.style import Style, matches_of, style_difference, style_of, verdict_outcome
from metascale.evals.statistics import (
    RIDGE,
    Interval,
    Match,
    bootstrap_win_rates,
    bradley_terry,
    is_tie,
    mcnemar,
    mean_interval,
    paired_bootstrap,
    wilson,
    win_rate,
)
from metascale.stats.reliability import CalibrationBin, auc, expected_calibration

STRENGTHS = {"base": 0.0, "weak": -0.8, "strong": 0.7, "best": 1.4}
SWAY = 0.9


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def arena(size: int, seed: int) -> list[Match]:
    """Random pairs with the strengths above."""
    rng = np.random.default_rng(seed)
    names = list(STRENGTHS)
    matches = []
    for _ in range(size):
        first, second = (names[i] for i in rng.choice(len(names), 2, replace=False))
        won = rng.random() < sigmoid(STRENGTHS[first] - STRENGTHS[second])
        matches.append(Match(first, second, float(won)))
    return matches


def swayed_arena(size: int, seed: int) -> list[Match]:
    """Equal players; one writes more, and the judge adds SWAY logits for a standard deviation of the difference."""
    rng = np.random.default_rng(seed)
    matches = []
    for player, verbosity in (("verbose", 0.4), ("terse", -0.1)):
        length = np.clip(rng.normal(verbosity, 0.3, size), -1, 1)
        matches += [(player, float(value)) for value in length]
    spread = float(np.std([value for _, value in matches]))
    return [
        Match(player, "base", float(rng.random() < sigmoid(SWAY * value / spread)), style=(value, 0.25))
        for player, value in matches
    ]


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 20), (20, 20), (7, 20), (731, 1319), (2.5, 4)])
def test_wilson_is_statsmodels(successes: float, trials: int, confidence: float) -> None:
    expected = proportion_confint(successes, trials, alpha=1 - confidence, method="wilson")
    interval = wilson(successes, trials, confidence)
    assert interval == pytest.approx(expected, abs=1e-12)
    assert 0 <= interval.low <= successes / trials <= interval.high <= 1


@pytest.mark.parametrize(
    ("successes", "trials", "confidence"),
    [(0, 0, 0.95), (1, -1, 0.95), (-1, 3, 0.95), (4, 3, 0.95), (math.nan, 3, 0.95), (1, 3, 0.0), (1, 3, 1.0)],
)
def test_wilson_refuses_what_is_no_proportion(successes: float, trials: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"trials|confidence"):
        wilson(successes, trials, confidence)


@pytest.mark.parametrize(
    ("only_first", "only_second"), [(0, 1), (5, 5), (9, 2), (2, 9), (0, 12), (40, 61), (700, 600), (3000, 3200)]
)
def test_mcnemar_is_the_exact_test(only_first: int, only_second: int) -> None:
    first = [True] * only_first + [False] * only_second + [True, False, True]
    second = [False] * only_first + [True] * only_second + [True, False, True]
    p = mcnemar(first, second)
    table = [[2, only_first], [only_second, 1]]
    assert p == pytest.approx(reference_mcnemar(table, exact=True).pvalue, rel=1e-8)
    assert p == pytest.approx(stats.binomtest(only_first, only_first + only_second).pvalue, rel=1e-8)


def test_mcnemar_without_a_difference_and_with_unequal_lengths() -> None:
    assert mcnemar([True, False], [True, False]) == 1.0
    assert mcnemar([], []) == 1.0
    with pytest.raises(ValueError, match="shorter"):
        mcnemar([True, False], [True])


def test_paired_bootstrap_is_scipys() -> None:
    rng = np.random.default_rng(1)
    first = rng.random(150)
    second = 0.7 * first + 0.3 * rng.random(150) - 0.02
    ours = paired_bootstrap(first, second, seed=2, resamples=8_000)
    reference: Any = stats.bootstrap(
        (first, second),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        paired=True,
        method="percentile",
        n_resamples=8_000,
        rng=np.random.default_rng(3),
    ).confidence_interval
    width = reference.high - reference.low
    assert ours == pytest.approx((reference.low, reference.high), abs=0.06 * width)
    unpaired = mean_interval(first, seed=2)
    assert ours.high - ours.low < 0.6 * (unpaired.high - unpaired.low)


def test_bootstrap_depends_on_the_seed_alone_and_narrows_with_confidence() -> None:
    values = np.random.default_rng(0).random(40)
    assert mean_interval(values, seed=5) == mean_interval(values, seed=5) != mean_interval(values, seed=6)
    wide, narrow = mean_interval(values, seed=5), mean_interval(values, seed=5, confidence=0.5)
    assert wide.low < narrow.low < values.mean() < narrow.high < wide.high
    assert mean_interval([0.25, 0.25], seed=0) == (0.25, 0.25)
    assert paired_bootstrap([1.0, 2.0], [0.5, 1.5], seed=0) == (0.5, 0.5)


def test_the_mean_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    intervals = [mean_interval(rng.random(60), seed=i, resamples=300, confidence=0.9) for i in range(300)]
    assert 0.84 < np.mean([low <= 0.5 <= high for low, high in intervals]) < 0.95


@pytest.mark.parametrize("values", [[], [math.nan], [[1.0, 2.0]]])
def test_bootstrap_refuses_what_has_no_mean(values: Any) -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval(values, seed=0)


def test_bootstrap_refuses_other_arguments() -> None:
    with pytest.raises(ValueError, match="paired"):
        paired_bootstrap([1.0, 2.0], [1.0], seed=0)
    with pytest.raises(ValueError, match="resample"):
        mean_interval([1.0], seed=0, resamples=0)
    with pytest.raises(ValueError, match="confidence"):
        mean_interval([1.0], seed=0, confidence=95)
    with pytest.raises(ValueError, match="resample"):
        bootstrap_win_rates(arena(10, 0), anchor="base", seed=0, resamples=0)


def test_a_tie_is_an_interval_with_zero() -> None:
    assert is_tie(Interval(-0.1, 0.2))
    assert is_tie(Interval(0.0, 0.2))
    assert not is_tie(Interval(0.01, 0.2))
    assert not is_tie(Interval(-0.2, -0.01))


def test_bradley_terry_recovers_known_strengths() -> None:
    ratings = bradley_terry(arena(8_000, 1), anchor="base")
    assert ratings.strengths == pytest.approx(STRENGTHS, abs=0.12)
    assert ratings.strengths["base"] == 0
    assert ratings.style == ()
    assert win_rate(ratings, "best") == pytest.approx(sigmoid(1.4), abs=0.02)
    assert win_rate(ratings, "base") == 0.5
    with pytest.raises(KeyError):
        win_rate(ratings, "nobody")


def test_another_anchor_shifts_strengths_and_keeps_their_differences() -> None:
    matches = arena(2_000, 2)
    base, best = (bradley_terry(matches, anchor=anchor).strengths for anchor in ("base", "best"))
    assert {name: value - best["base"] for name, value in best.items()} == pytest.approx(base, abs=1e-3)


def test_one_opponent_gives_the_share_of_wins() -> None:
    matches = [Match("a", "base", 1.0)] * 6 + [Match("base", "a", 1.0)] * 3 + [Match("a", "base", 0.5)] * 3
    assert win_rate(bradley_terry(matches, anchor="base"), "a") == pytest.approx(7.5 / 12, abs=1e-4)
    shares = [Match("a", "base", 0.8), Match("a", "base", 0.6)]
    assert win_rate(bradley_terry(shares, anchor="base"), "a") == pytest.approx(0.7, abs=1e-3)


def test_a_match_of_weight_three_counts_as_three() -> None:
    matches = swayed_arena(200, 3)
    heavy = [Match(m.first, m.second, m.outcome, 3.0 if m.outcome else 1.0, m.style) for m in matches]
    repeated = [m for m in matches for _ in range(3 if m.outcome else 1)]
    ours, expected = (bradley_terry(given, anchor="base", style=True) for given in (heavy, repeated))
    assert ours.strengths == pytest.approx(expected.strengths, abs=1e-6)
    assert ours.style == pytest.approx(expected.style, abs=1e-6)
    assert ours.strengths["verbose"] > bradley_terry(matches, anchor="base", style=True).strengths["verbose"]


@pytest.mark.parametrize("wins", [1, 50, 5_000])
def test_perfectly_separated_players_stay_finite_and_ordered(wins: int) -> None:
    matches = [Match("a", "b", 1.0), Match("b", "base", 1.0)] * wins
    strengths = bradley_terry(matches, anchor="base").strengths
    assert 0 < strengths["b"] < strengths["a"] < 40
    slope = wins * (sigmoid(strengths["a"] - strengths["b"]) - 1) + RIDGE * strengths["a"]
    assert slope == pytest.approx(0, abs=1e-6)


def test_extreme_weights_still_reach_the_minimum() -> None:
    matches = [Match("a", "base", 1.0, 1e6), Match("a", "base", 0.0, 1e-3), Match("c", "a", 1.0), Match("a", "c", 0.2)]
    strengths = bradley_terry(matches, anchor="base").strengths
    a, c = strengths["a"], strengths["c"]
    expected = 2 * sigmoid(c - a) - 1.8
    assert expected + RIDGE * c == pytest.approx(0, abs=1e-6)
    assert 1e6 * (sigmoid(a) - 1) + 1e-3 * sigmoid(a) - expected + RIDGE * a == pytest.approx(0, abs=1e-6)


def test_players_who_never_met_the_anchor_are_rated_among_themselves() -> None:
    matches = [Match("a", "base", 1.0), Match("a", "base", 0.0), *[Match("x", "y", 1.0)] * 3, Match("x", "y", 0.0)]
    strengths = bradley_terry(matches, anchor="base").strengths
    assert strengths["x"] - strengths["y"] == pytest.approx(math.log(3), abs=0.01)
    assert strengths["x"] + strengths["y"] == pytest.approx(0, abs=1e-6)


def test_bootstrap_intervals_of_win_rates_cover_the_truth() -> None:
    matches = arena(1_500, 4)
    intervals = bootstrap_win_rates(matches, anchor="base", seed=0, resamples=100)
    assert set(intervals) == {"weak", "strong", "best"}
    ratings = bradley_terry(matches, anchor="base")
    for player, (low, high) in intervals.items():
        assert low < sigmoid(STRENGTHS[player]) < high
        assert low < win_rate(ratings, player) < high
        assert 0.02 < high - low < 0.15
    assert intervals == bootstrap_win_rates(matches, anchor="base", seed=0, resamples=100)
    assert intervals != bootstrap_win_rates(matches, anchor="base", seed=1, resamples=100)


def test_a_win_rate_of_single_matches_has_jeffreys_interval() -> None:
    for won, played in ((30, 30), (0, 12), (18, 40)):
        matches = [Match("a", "base", float(index < won)) for index in range(played)]
        low, high = bootstrap_win_rates(matches, anchor="base", seed=0, resamples=600)["a"]
        expected = stats.beta.ppf([0.025, 0.975], won + 0.5, played - won + 0.5)
        assert (low, high) == pytest.approx(expected, abs=0.03)
        assert low <= won / played + 0.001
        assert won / played - 0.001 <= high
        assert high - low > 0.05


def judged(rng: np.random.Generator, questions: int, verdicts: Sequence[float], agreement: float) -> list[Match]:
    """Two games about each question, the second often with the first one's verdict, and strong verdicts threefold."""
    outcomes, weights = (1.0, 1.0, 0.5, 0.0, 0.0), (3.0, 1.0, 1.0, 1.0, 3.0)
    matches = []
    for question in range(questions):
        first, second = rng.choice(5, 2, p=verdicts)
        both = (first, first if rng.random() < agreement else second)
        matches += [Match("a", "base", outcomes[one], weights[one], cluster=str(question)) for one in both]
    return matches


@pytest.mark.parametrize("verdicts", [(0.1, 0.3, 0.2, 0.3, 0.1), (0.75, 0.24, 0, 0.01, 0)])
def test_intervals_of_win_rates_cover_as_often_as_they_say(verdicts: tuple[float, ...]) -> None:
    weights = np.array(verdicts) * (3, 1, 1, 1, 3)
    truth = float(weights @ (1, 1, 0.5, 0, 0) / weights.sum())
    rng = np.random.default_rng(6)
    intervals = [
        bootstrap_win_rates(judged(rng, 30, verdicts, 0.5), anchor="base", seed=seed, resamples=60)["a"]
        for seed in range(80)
    ]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert covered > 0.86
    assert np.mean([high - low for low, high in intervals]) < 0.45


def test_a_player_of_one_match_is_hardly_known() -> None:
    matches = [Match("rare", "base", 1.0), *[Match("often", "base", 1.0), Match("often", "base", 0.0)] * 20]
    intervals = bootstrap_win_rates(matches, anchor="base", seed=0)
    assert intervals["rare"].high > 0.99
    assert 0.05 < intervals["rare"].low < 0.4
    assert intervals["often"].high - intervals["often"].low < 0.35


def test_style_control_takes_the_length_out_of_the_strength() -> None:
    matches = swayed_arena(4_000, 5)
    without = bradley_terry(matches, anchor="base")
    assert without.strengths["verbose"] > 0.7
    assert without.style == ()
    ratings = bradley_terry(matches, anchor="base", style=True)
    assert ratings.strengths["verbose"] == pytest.approx(0, abs=0.15)
    assert ratings.strengths["terse"] == pytest.approx(0, abs=0.15)
    assert ratings.style == pytest.approx((SWAY, 0), abs=0.1)
    assert ratings.style[1] == 0
    raw = bootstrap_win_rates(matches, anchor="base", seed=0, resamples=40)
    controlled = bootstrap_win_rates(matches, anchor="base", seed=0, resamples=40, style=True)
    assert raw["verbose"].low > 0.6
    assert controlled["verbose"].low < 0.5 < controlled["verbose"].high


def test_the_side_a_player_stands_on_does_not_matter() -> None:
    rng = np.random.default_rng(7)
    matches = swayed_arena(500, 6)
    turned = [
        Match(m.second, m.first, 1 - m.outcome, m.weight, tuple(-x for x in m.style)) if rng.random() < 0.5 else m
        for m in [Match(m.first, m.second, m.outcome, style=m.style[:1]) for m in matches]
    ]
    ours, expected = (bradley_terry(given, anchor="base", style=True) for given in (turned, matches))
    assert ours.strengths == pytest.approx(expected.strengths, abs=1e-3)


def test_bradley_terry_refuses_what_it_cannot_rate() -> None:
    match = Match("a", "base", 1.0)
    with pytest.raises(ValueError, match="no matches"):
        bradley_terry([], anchor="base")
    with pytest.raises(ValueError, match="anchor"):
        bradley_terry([match], anchor="other")
    with pytest.raises(ValueError, match="style features"):
        bradley_terry([match, Match("a", "base", 0.0, style=(1.0,))], anchor="base", style=True)
    for wrong in (Match("a", "base", 1.5), Match("a", "base", math.nan), Match("a", "base", 1.0, 0.0)):
        with pytest.raises(ValueError, match="outcome"):
            bradley_terry([match, wrong], anchor="base")
    with pytest.raises(ValueError, match="finite"):
        bradley_terry([Match("a", "base", 1.0, style=(math.inf,))], anchor="base", style=True)


def test_expected_calibration_by_hand() -> None:
    error, bins = expected_calibration([0.05, 0.15, 0.3, 0.3, 0.95, 1.0], [False, True, True, False, True, True])
    assert error == pytest.approx((0.05 + 0.85 + 2 * 0.2 + 2 * 0.025) / 6)
    assert bins == [
        CalibrationBin(0.0, 0.1, 1, 0.05, 0.0),
        CalibrationBin(0.1, 0.2, 1, 0.15, 1.0),
        CalibrationBin(0.3, 0.4, 2, 0.3, 0.5),
        CalibrationBin(0.9, 1.0, 2, pytest.approx(0.975), 1.0),
    ]
    one_error, one_bin = expected_calibration([0.5, 1.0], [True, False], bins=1)
    assert (one_error, one_bin) == (0.25, [CalibrationBin(0.0, 1.0, 2, 0.75, 0.5)])


@pytest.mark.parametrize("bins", [3, 7, 10, 100])
def test_a_confidence_on_an_edge_opens_its_bin(bins: int) -> None:
    edges = [i / bins for i in range(bins)]
    _, found = expected_calibration(edges, [True] * bins, bins=bins)
    assert [(b.low, b.count) for b in found] == [(edge, 1) for edge in edges]


def test_honest_confidences_are_calibrated() -> None:
    rng = np.random.default_rng(8)
    stated = rng.random(20_000)
    assert expected_calibration(stated.tolist(), (rng.random(20_000) < stated).tolist())[0] < 0.02
    assert expected_calibration(stated.tolist(), (rng.random(20_000) < stated**2).tolist())[0] > 0.1


@pytest.mark.parametrize(
    ("confidences", "right", "bins"),
    [
        ([], [], 10),
        ([0.5], [], 10),
        ([1.1], [True], 10),
        ([-0.1], [True], 10),
        ([math.nan], [True], 10),
        ([0.5], [1], 0),
    ],
)
def test_calibration_refuses_what_is_no_confidence(confidences: Any, right: Any, bins: int) -> None:
    with pytest.raises(ValueError, match=r"finite|confidences"):
        expected_calibration(confidences, right, bins=bins)


@pytest.mark.parametrize("levels", [2, 5, 1_000_000])
def test_auc_is_mann_whitney(levels: int) -> None:
    rng = np.random.default_rng(levels)
    right = rng.random(300) < 0.4
    scores = rng.integers(levels, size=300) + right * levels // 4
    expected = stats.mannwhitneyu(scores[right], scores[~right]).statistic / (right.sum() * (~right).sum())
    assert auc(scores.tolist(), right.tolist()) == pytest.approx(expected, abs=1e-12)


def test_auc_at_its_ends_and_without_a_class() -> None:
    assert auc([0.1, 0.2, 0.9], [False, False, True]) == 1.0
    assert auc([0.9, 0.2], [False, True]) == 0.0
    assert auc([0.5, 0.5, 0.5], [False, True, True]) == 0.5
    assert auc([0.1, 0.2], [True, True]) is None
    assert auc([0.1, 0.2], [False, False]) is None
    assert auc([], []) is None
    with pytest.raises(ValueError, match="answers"):
        auc([0.1], [True, False])
    with pytest.raises(ValueError, match="finite"):
        auc([0.1, math.nan], [True, False])


ANSWER = """# Title
Some **bold words** and __more of them__, 2 * 3 * 4.

1. one
2. **two**
   - nested
+ plus
#hashtag, 1.5 and -3

```python
# a comment
- not an item
x = "**not bold**"
```

   ~~~
   ## hidden
   ```
   ~~~
###### Last
* star
"""


def test_style_counts_markdown_outside_code() -> None:
    assert style_of(ANSWER) == Style(length=len(ANSWER.split()), headers=2, lists=5, bold=3)
    assert style_of("") == Style(0, 0, 0, 0)
    assert style_of("one  two\nthree") == Style(3, 0, 0, 0)


def test_an_unclosed_code_block_reaches_to_the_end() -> None:
    assert style_of("# Head\n```\n# comment\n- item\n**b**") == Style(8, 1, 0, 0)
    assert style_of("- a ```code``` span\n# Head\n```") == Style(7, 1, 1, 0)
    assert style_of("````\n```\n# in\n````\n# out") == Style(7, 1, 0, 0)


def test_style_difference_is_relative_and_antisymmetric() -> None:
    first, second = Style(300, 2, 0, 5), Style(100, 0, 0, 5)
    assert style_difference(first, second) == (0.5, 1.0, 0.0, 0.0)
    assert style_difference(second, first) == (-0.5, -1.0, 0.0, 0.0)


def test_verdicts_become_outcomes_and_strong_ones_weigh_three() -> None:
    outcomes = {verdict: verdict_outcome(verdict) for verdict in get_args(BattleVerdict)}
    assert outcomes == {"A>>B": (1, 3), "A>B": (1, 1), "A=B": (0.5, 1), "B>A": (0, 1), "B>>A": (0, 3)}


def test_battles_become_matches_against_the_baseline() -> None:
    style = (0.5, 0.0, -1.0, 0.0)
    battles = [
        Battle("A>>B", swapped=False, style=style),
        Battle(None, swapped=True, style=style),
        Battle("B>A", swapped=True, style=style),
    ]
    matches = matches_of("metascale", battles)
    assert matches == [
        Match("metascale", "baseline", 1.0, 3.0, style),
        Match("metascale", "baseline", 0.0, 1.0, style),
    ]
    assert matches_of("m", battles[2:], baseline="gpt")[0].second == "gpt"
    assert win_rate(bradley_terry(matches, anchor="baseline"), "metascale") == pytest.approx(0.75, abs=1e-3)


def test_judgements_of_one_question_are_resampled_together() -> None:
    outcomes = np.random.default_rng(0).integers(0, 2, 120).tolist()
    alone = [Match("x", "base", float(won)) for won in outcomes for _ in range(2)]
    paired = [Match("x", "base", float(won), cluster=str(q)) for q, won in enumerate(outcomes) for _ in range(2)]
    narrow, wide = (
        bootstrap_win_rates(matches, anchor="base", seed=1, resamples=400)["x"] for matches in (alone, paired)
    )
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(2**0.5, rel=0.2)
