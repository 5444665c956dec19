"""The trial of `metascale bench choice`: every rule on the same draws, at equal samples and at equal calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from metascale.budget.rounds import FIRST_ROUND
from metascale.evals.choice.draws import Draw, draws_of
from metascale.evals.choice.panels import panels_of
from metascale.evals.choice.rows import ChoiceFileError, Measure, Numbers, Question, measure_of
from metascale.evals.choice.rules import (
    MAJORITY,
    ONE,
    Entrant,
    Pick,
    drawn_by_beta,
    drawn_until_sure,
    entrants,
)
from metascale.evals.statistics import Interval
from metascale.settings import MetaScaleSettings
from metascale.stats.reliability import CalibrationBin, expected_calibration

DRAWS = 2_000
"""Random draws over all questions, for each number of samples, unless the caller says otherwise."""
SURE_ENOUGH: float = MetaScaleSettings.model_fields["stop_on_agreement"].default or 0.99
BETAS = (0.9, 0.95)
RESAMPLES = 2_000
"""Bootstrap resamples of the questions."""


@dataclass(frozen=True)
class Outcome:
    """What one rule gained at one number of samples or calls.

    Attributes:
        rule: its name.
        n: the number of samples, or of calls, at which it is compared.
        samples: answers drawn for a question.
        calls: model requests for a question on average: samples and verdicts.
        questions: questions with enough recorded answers.
        value: accuracy or quality, in [0, 1].
        interval: its 95 % bootstrap interval over questions.
        difference: to the baseline: the majority, or one sample for free texts.
        difference_interval: the difference's interval.
        looks: second looks for a question on average.
        predicted_gain: what the rule expected of its second looks.
        realised_gain: what they brought.
        predicted_gain_of_verdicts: what the posterior sees in all verdicts, compared with the votes alone.
        realised_gain_of_verdicts: what they brought.
        confidence: mean confidence; None for a rule that says none.
        right: the mean of what the confidence is about.
        calibration_error: the expected calibration error over ten bins.
        curve: the bins.
    """

    rule: str
    n: int
    samples: int
    calls: float
    questions: int
    value: float
    interval: Interval
    difference: float
    difference_interval: Interval
    looks: float
    predicted_gain: float
    realised_gain: float
    predicted_gain_of_verdicts: float
    realised_gain_of_verdicts: float
    confidence: float | None
    right: float | None
    calibration_error: float | None
    curve: list[CalibrationBin]


@dataclass(frozen=True)
class Stopping:
    """What one rule of stopping saves and loses.

    Attributes:
        rule: its name.
        samples: the budget.
        batch: samples in a round; the rule is asked after each round.
        drawn: the share of the budget that was drawn, in (0, 1].
        difference: the majority of the drawn samples compared with that of all.
        interval: the difference's 95 % bootstrap interval over questions.
    """

    rule: str
    samples: int
    batch: int
    drawn: float
    difference: float
    interval: Interval


@dataclass(frozen=True)
class Trial:
    """The whole trial of one file.

    Attributes:
        measure: accuracy, or quality.
        questions: in the file.
        at_samples: every rule at N samples.
        at_calls: every rule with the samples and verdicts that N calls buy.
        stopping: rules of stopping; empty for free texts.
        any_right: for each number of samples, the best quality among them on average.
    """

    measure: Measure
    questions: int
    at_samples: list[Outcome]
    at_calls: list[Outcome]
    stopping: list[Stopping]
    any_right: dict[int, float]


def try_rules(
    questions: Sequence[Question],
    sizes: Sequence[int] = (4, 8, 16, 32, 64),
    *,
    repeats: int | None = None,
    batch: int = FIRST_ROUND,
    seed: int = 0,
) -> Trial:
    """Measure every rule.

    Args:
        questions: at least one.
        sizes: numbers of samples and of calls; one that no question has answers for is left out.
        repeats: random draws of each question; by default about `DRAWS` over all questions.
        batch: samples in a round, where stopping is asked; it is also measured with rounds of one sample.
        seed: of the draws.

    Raises:
        ChoiceFileError: an argument is out of range, or no question has enough answers.
    """
    if not sizes or min(sizes) < 1 or batch < 1 or (repeats is not None and repeats < 1):
        raise ChoiceFileError("numbers of samples, repeats and the batch are at least 1")
    longest = max(len(question.finals) for question in questions)
    able = sorted({size for size in sizes if size <= longest})
    if not able:
        raise ChoiceFileError(f"no question has {min(sizes)} answers")
    times = repeats or max(2, min(60, DRAWS // len(questions)))
    drawn = [draws_of(question, times, [seed, number]) for number, question in enumerate(questions)]
    votes = [draws_of(q, times, [seed, number, 1], judged_first=False) for number, q in enumerate(questions)]
    rules = entrants(questions, panels_of(questions, seed=seed))
    base = next(rule for rule in rules if rule.name == (MAJORITY if any(q.is_comparable for q in questions) else ONE))
    names = [rule.name for rule in rules]
    stopping = [
        one
        for size in able
        if base.name == MAJORITY and size > batch
        for rounds in sorted({1, batch})
        for one in _stopping(_enough(votes, size), size, rounds, base)
    ]
    return Trial(
        measure=measure_of(questions),
        questions=len(questions),
        at_samples=[one for size in able for one in _compared(rules, base, drawn, size, dict.fromkeys(names, size))],
        at_calls=[
            one
            for calls in able
            for one in _compared(rules, base, drawn, calls, {rule.name: rule.samples(calls) for rule in rules})
        ],
        stopping=stopping,
        any_right={
            size: float(np.mean([max(d.quality[:size]) for draws in _enough(drawn, size) for d in draws]))
            for size in able
        },
    )


@lru_cache
def _resamples(questions: int) -> Numbers:
    """How often each question is drawn in each bootstrap resample, as shares, shape (RESAMPLES, questions)."""
    counts = np.random.default_rng(0).multinomial(questions, np.full(questions, 1 / questions), RESAMPLES)
    return counts / questions


def _interval(values: Numbers) -> Interval:
    """The 95 % percentile bootstrap interval of a mean over questions."""
    low, high = np.quantile(_resamples(len(values)) @ values, (0.025, 0.975))
    return Interval(float(low), float(high))


def _enough(drawn: Sequence[list[Draw]], size: int) -> list[list[Draw]]:
    return [draws for draws in drawn if len(draws[0].order) >= size]


def _compared(
    rules: Sequence[Entrant], base: Entrant, drawn: Sequence[list[Draw]], n: int, samples: dict[str, int]
) -> list[Outcome]:
    """The outcomes of the rules, each with its number of samples, on the questions that have enough for all of them."""
    able = _enough(drawn, max(samples.values()))
    if not able:
        return []
    usual = [[base.pick(draw, samples[base.name]) for draw in draws] for draws in able]
    baseline = _by_question(usual, _quality)
    return [
        _outcome(
            rule.name, n, samples[rule.name], [[rule.pick(d, samples[rule.name]) for d in ds] for ds in able], baseline
        )
        for rule in rules
        if samples[rule.name] >= 1
    ]


def _quality(pick: Pick) -> float:
    return pick.quality


def _by_question(picks: Sequence[Sequence[Pick]], of: Callable[[Pick], float]) -> Numbers:
    return np.array([np.mean([of(pick) for pick in own]) for own in picks])


def _outcome(rule: str, n: int, samples: int, picks: Sequence[Sequence[Pick]], baseline: Numbers) -> Outcome:
    value = _by_question(picks, _quality)
    every = [pick for own in picks for pick in own]
    sure = [pick for pick in every if pick.confidence is not None]
    stated, right = [pick.confidence or 0.0 for pick in sure], [pick.is_right for pick in sure]
    error, curve = expected_calibration(stated, right) if sure else (None, [])

    def mean(of: Callable[[Pick], float]) -> float:
        return float(_by_question(picks, of).mean())

    return Outcome(
        rule=rule,
        n=n,
        samples=samples,
        calls=mean(lambda pick: pick.calls),
        questions=len(picks),
        value=float(value.mean()),
        interval=_interval(value),
        difference=float((value - baseline).mean()),
        difference_interval=_interval(value - baseline),
        looks=mean(lambda pick: pick.looks),
        predicted_gain=mean(lambda pick: pick.predicted),
        realised_gain=mean(lambda pick: pick.quality - pick.before if pick.looks else 0.0),
        predicted_gain_of_verdicts=mean(lambda pick: pick.foreseen),
        realised_gain_of_verdicts=mean(lambda pick: pick.quality - pick.unjudged if pick.confidence else 0.0),
        confidence=float(np.mean(stated)) if sure else None,
        right=float(np.mean(right)) if sure else None,
        calibration_error=error,
        curve=curve,
    )


def _stopping(drawn: Sequence[list[Draw]], budget: int, batch: int, base: Entrant) -> list[Stopping]:
    rules: dict[str, Callable[[Draw], int]] = {
        f"gain below {1 - SURE_ENOUGH:.2g}": lambda draw: drawn_until_sure(draw, budget, batch, SURE_ENOUGH)
    }
    for surely in BETAS:
        rules[f"Beta posterior above {surely}"] = lambda draw, surely=surely: drawn_by_beta(draw, budget, batch, surely)  # type: ignore[misc]
    found = []
    for name, rule in rules.items():
        sizes = [[rule(draw) for draw in draws] for draws in drawn]
        lost = np.array(
            [
                np.mean(
                    [
                        base.pick(draw, size).quality - base.pick(draw, budget).quality
                        for draw, size in zip(draws, own, strict=True)
                    ]
                )
                for draws, own in zip(drawn, sizes, strict=True)
            ]
        )
        share = float(np.mean([size / budget for own in sizes for size in own]))
        found.append(Stopping(name, budget, batch, share, float(lost.mean()), _interval(lost)))
    return found
