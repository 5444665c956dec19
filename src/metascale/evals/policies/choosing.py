"""Ways of choosing among recorded samples of a real model: majority, weighed votes, the surest answer.

N samples of a question are drawn at random without replacement, many times, and every way of choosing sees the same
draws. All arms offer equally many samples. Answers that tie share the win. A way that reads a signal is measured on the
samples that have it, and compared with the majority of the very same draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from metascale.choice.votes import SHARPNESS, weights_of
from metascale.evals.judges.signals import COMBINED_WITH, FOLDS, combinations
from metascale.evals.recordings import (
    ASKED,
    CERTAINTY,
    OF_CERTAINTY,
    Indices,
    Numbers,
    Recordings,
    RecordingsError,
)
from metascale.evals.statistics import Interval, is_tie, mean_interval

MAJORITY = "majority"
FITTED = "votes by numbers and tail, constants cross-fitted"
TAIL_SHARES = (0.0, 0.25, 0.5, 1.0)
SHARPNESSES = (0.3, 0.5, 0.7, 1.0)
"""What cross-fitting chooses among."""

Weigh = Callable[[Indices], Numbers]
"""The weights of drawn samples, whose indices have shape (draws, N)."""


@dataclass(frozen=True)
class Chosen:
    """How often one way of choosing is right at one number of samples.

    Attributes:
        way: its name.
        samples: N.
        questions: questions with at least N samples that have what the way reads.
        right: share of right choices.
        difference: to the majority of the same samples.
        interval: the difference's 95 % bootstrap interval over questions.
        tie: whether the interval contains 0.
        calls: model requests for one question.
        tokens: tokens written for one question; None where unknown.
        at_equal_calls: the share of right choices of a majority that costs as many requests; None if too few samples
            are recorded.
        at_equal_tokens: the same for as many written tokens, interpolated between numbers of samples.
    """

    way: str
    samples: int
    questions: int
    right: float
    difference: float
    interval: Interval
    tie: bool
    calls: int
    tokens: float | None
    at_equal_calls: float | None
    at_equal_tokens: float | None


def choose_ways(
    recordings: Recordings, samples: Sequence[int] = (2, 4, 8, 16, 32), *, draws: int = 400, seed: int = 0
) -> list[Chosen]:
    """Measure every way of choosing that the recordings allow.

    What is fitted is fitted to other questions than those it is measured on.

    Args:
        recordings: the samples.
        samples: numbers of samples, each at least 1. One that no question has samples for is left out.
        draws: random draws of each question and number of samples, at least 1.
        seed: of the draws.

    Raises:
        RecordingsError: an argument is out of range.
    """
    if not samples or min(samples) < 1 or draws < 1:
        raise RecordingsError("samples and draws are at least 1")
    plan = Draws(sorted(set(samples)), draws, seed)
    signals = {**recordings.signals, **combinations(recordings, seed=seed)}
    everything = np.ones(len(recordings.question), dtype=np.bool_)
    found = list(_measured(recordings, plan, everything, {MAJORITY: equally}))
    if CERTAINTY in signals:
        base = signals.get(OF_CERTAINTY["numbers"], signals[OF_CERTAINTY["mean"]])
        tail = signals[OF_CERTAINTY["tail"]]
        constants = _cross_fitted(recordings, plan, base, tail)

        def fitted(drawn: Indices) -> Numbers:
            share, sharpness = constants[recordings.question[drawn[0, 0]]]
            return _sharpened(base + share * tail, sharpness, drawn)

        found += _measured(recordings, plan, ~np.isnan(base), {FITTED: fitted})
    for name, values in signals.items():
        ways = {f"votes by {name}": partial(weighed_by, values), f"best by {name}": partial(surest_by, values)}
        found += _measured(recordings, plan, ~np.isnan(values), ways, name)
    return found


@dataclass(frozen=True)
class Draws:
    """Random draws: numbers of samples, draws of each question and number, and their seed."""

    sizes: Sequence[int]
    draws: int
    seed: int


def right_of(recordings: Recordings, drawn: Indices, weights: Numbers) -> float:
    """The share of draws of one question in which the answer with the greatest weight is right; ties are shared.

    Args:
        recordings: the samples.
        drawn: their indices, shape (draws, N).
        weights: of the drawn samples' votes, shape (draws, N), above 0.
    """
    answers = recordings.answer[drawn]
    marked, options = answers >= 0, int(answers.max()) + 1
    if not options:
        return 0.0
    places = (np.arange(len(answers))[:, None] * options + answers)[marked]
    totals = np.bincount(places, weights[marked], len(answers) * options).reshape(-1, options)
    right = answers[recordings.right[drawn]]
    is_right = np.isin(np.arange(options), right)
    best = totals.max(axis=1, keepdims=True)
    tied = (totals >= best * (1 - 1e-12)) & (best > 0)
    return float(((tied & is_right).sum(axis=1) / np.maximum(tied.sum(axis=1), 1)).mean())


def draws_of(recordings: Recordings, question: int, among: NDArray[np.bool_], size: int, plan: Draws) -> Indices | None:
    """Random draws of samples, shape (draws, N); one draw where it takes all of them, None where there are fewer."""
    own = np.flatnonzero(among & (recordings.question == question))
    if len(own) < size:
        return None
    if len(own) == size:
        return own[None]
    order = np.random.default_rng([plan.seed, question, size]).random((plan.draws, len(own))).argsort(axis=1)
    return own[order[:, :size]]


def right_by_question(
    recordings: Recordings, among: NDArray[np.bool_], size: int, weigh: Weigh, plan: Draws
) -> Numbers:
    """The share of right choices among some of the samples for each question, shape (questions,); NaN if too few."""
    drawn = [draws_of(recordings, question, among, size, plan) for question in range(len(recordings.questions))]
    return np.array([math.nan if one is None else right_of(recordings, one, weigh(one)) for one in drawn])


def equally(drawn: Indices) -> Numbers:
    """Every vote counts 1."""
    return np.ones(drawn.shape)


def weighed_by(values: Numbers, drawn: Indices) -> Numbers:
    """Votes weighted as `weights_of` does it."""
    return weights_of(values[drawn])


def surest_by(values: Numbers, drawn: Indices) -> Numbers:
    """All weight on the best of each draw, which the others' cannot reach."""
    return np.exp2(-(-values[drawn]).argsort(axis=1, kind="stable").argsort(axis=1).astype(np.float64) * 2)


def _measured(
    recordings: Recordings,
    plan: Draws,
    among: NDArray[np.bool_],
    ways: Mapping[str, Weigh],
    signal: str = "",
) -> Iterator[Chosen]:
    """The results of ways of choosing among some of the samples."""
    among = balanced(recordings, among)
    right = partial(_right, recordings, cache(partial(_drawn, recordings, among, plan)))
    majority = cache(partial(right, weigh=equally))
    tokens = recordings.tokens[among]
    a_sample = float(tokens.mean()) if not np.isnan(tokens).any() else None
    calls, written = _costs(recordings, signal)
    for size, (name, weigh) in product(plan.sizes, ways.items()):
        chosen, equal = right(size, weigh=weigh), majority(size)
        if not len(chosen):
            continue
        interval = mean_interval(chosen - equal, seed=0)
        tokens_spent = None if a_sample is None else size * (a_sample + written)
        yield Chosen(
            way=name,
            samples=size,
            questions=len(chosen),
            right=float(chosen.mean()),
            difference=float((chosen - equal).mean()),
            interval=interval,
            tie=is_tie(interval),
            calls=size * (1 + calls),
            tokens=tokens_spent,
            at_equal_calls=_between(majority, size * (1 + calls), len(chosen)),
            at_equal_tokens=tokens_spent and a_sample and _between(majority, tokens_spent / a_sample, len(chosen)),
        )


def balanced(recordings: Recordings, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """As many samples of each arm to a question as the arm with the fewest has, the first ones."""
    kept = np.zeros_like(among)
    for question in np.unique(recordings.question[among]):
        own = among & (recordings.question == question)
        places = [np.flatnonzero(own & (recordings.arm == arm)) for arm in np.unique(recordings.arm[own])]
        for members in places:
            kept[members[: min(map(len, places))]] = True
    return kept


def _right(recordings: Recordings, drawn: Callable[[int], list[Indices]], size: int, weigh: Weigh) -> Numbers:
    """The share of right choices for each question with enough samples."""
    return np.array([right_of(recordings, one, weigh(one)) for one in drawn(size)])


def _drawn(recordings: Recordings, among: NDArray[np.bool_], plan: Draws, size: int) -> list[Indices]:
    """The draws of each question with enough samples."""
    found = (draws_of(recordings, q, among, size, plan) for q in range(len(recordings.questions)))
    return [one for one in found if one is not None]


def _between(majority: Callable[[int], Numbers], size: float, questions: int) -> float | None:
    """The accuracy of a majority of a number of samples that need not be whole; None if too few are recorded."""
    below = int(size)
    low, high = majority(below), majority(below + (size > below))
    if not len(low) == len(high) == questions:
        return None
    return float(low.mean() + (size - below) * (high.mean() - low.mean()))


def _costs(recordings: Recordings, signal: str) -> tuple[int, float]:
    """Requests and written tokens for the signal of one sample; certainty comes with the sample."""
    asked = [name for name in ASKED if signal in {name, COMBINED_WITH.format(name)}]
    return len(asked), sum(recordings.signal_tokens[name] for name in asked)


def _cross_fitted(recordings: Recordings, plan: Draws, base: Numbers, tail: Numbers) -> list[tuple[float, float]]:
    """For each question the tail's share and the sharpness of votes that do best on other questions.

    The best are those with the highest mean accuracy over all numbers of samples.
    """
    among = balanced(recordings, ~np.isnan(base))
    grid, questions = list(product(TAIL_SHARES, SHARPNESSES)), len(recordings.questions)
    right = np.full((len(grid), questions, len(plan.sizes)), np.nan)
    for question, (place, size) in product(range(questions), enumerate(plan.sizes)):
        drawn = draws_of(recordings, question, among, size, plan)
        if drawn is None:
            continue
        for at, (share, sharpness) in enumerate(grid):
            right[at, question, place] = right_of(recordings, drawn, _sharpened(base + share * tail, sharpness, drawn))
    by_question = np.nansum(right, axis=2)
    chosen = [grid[0]] * questions
    for fold in np.array_split(np.random.default_rng(plan.seed).permutation(questions), min(FOLDS, questions)):
        others = np.setdiff1d(np.arange(questions), fold)
        for question in fold:
            chosen[question] = grid[int(np.argmax(by_question[:, others].sum(axis=1)))]
    return chosen


def _sharpened(values: Numbers, sharpness: float, drawn: Indices) -> Numbers:
    raised: Numbers = weights_of(values[drawn]) ** (sharpness / SHARPNESS)
    return raised
