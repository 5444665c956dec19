"""What the scores of a run say: estimates of quality, and the noise of the judge.

A score is the quality of an answer, plus the severity of the wording, plus noise (the model of
`metascale.stats.shrinkage`). Spread, noise and severities are estimated from the run itself, with weak priors. The
model takes what a judge repeats for quality. How much of it is quality is a matter of `choice.posterior`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metascale.stats.shrinkage import Scale, Scales, effective_count, pulled, spread_variance

Numbers = NDArray[np.float64]

JUDGE = Scales(noise=Scale(0.081, 0.2), spread=Scale(0.12, 8))
"""The noise of a score, and the spread of the contenders' qualities. The noise is that of GPT-4's repeated ratings of
one text (0.73 on a scale from 1 to 10; creative writing, in princeton-nlp/tree-of-thought-llm). Its weight is small, so
that two looks suffice to recognise an exact judge. The spread's is larger: with 2 the choices under a noisy judge were
worse."""
PRIOR_SEVERITY = 2.0
"""Scores without severity that draw the severity of a wording towards 0."""
PRIOR_COPYING = 2.0
"""Pseudo-observations, half of them copies, behind the correlation of repeated scores under one wording."""
ROUNDS_OF_FITTING = 10
"""Alternations between estimating qualities, noise and severities."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One score of one answer.

    Attributes:
        value: in [0, 1].
        answer: the answer's id.
        wording: how the judge was asked; empty if the reward has no wordings.
        is_first: whether the search itself gave the answer this score.
    """

    value: float
    answer: int
    wording: str
    is_first: bool = False


@dataclass(frozen=True)
class Contender:
    """Answers that are chosen or rejected together: all with one final answer, or a single free text.

    Attributes:
        scores: all their scores; may be none.
        support: the number of answers, at least 1.
        weight: the mean weight of their votes, above 0.
        final: the final answer in canonical form; None for a text that marks none.
        arms: the meta-thought of each answer; empty if all answers of the run have the same.
    """

    scores: tuple[Judgement, ...]
    support: int = 1
    weight: float = 1.0
    final: str | None = None
    arms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scored:
    """What the scores say about n contenders, on the rewards' scale.

    Attributes:
        averages: mean score without severity, shape (n,); the overall mean where there is no score.
        estimates: expected quality, shape (n,): the averages drawn towards the overall mean.
        errors: standard deviation of each estimate's error, shape (n,).
        counts: independent scores behind each average, shape (n,).
        mean: of all first scores.
        spread: variance of quality over contenders.
        noise: variance of one score around quality.
    """

    averages: Numbers
    estimates: Numbers
    errors: Numbers
    counts: Numbers
    mean: float
    spread: float
    noise: float


def estimate_all(contenders: Sequence[Contender]) -> Scored:
    """Estimate all contenders from all scores.

    Args:
        contenders: at least one; any of them may be without scores.
    """
    of = np.array([i for i, contender in enumerate(contenders) for _ in contender.scores], dtype=np.intp)
    scored = [score for contender in contenders for score in contender.scores]
    if not scored:
        level, noise, spread = np.full(len(contenders), 0.5), JUDGE.noise.deviation**2, JUDGE.spread.deviation**2
        return Scored(level, level, np.full(len(contenders), spread**0.5), 0 * level, 0.5, spread, noise)
    values = np.array([score.value for score in scored])
    is_first = np.array([score.is_first for score in scored])
    wordings = _wordings(scored)
    wording = np.array([wordings.index(score.wording) for score in scored])

    severity = np.zeros(len(wordings))
    weights: Numbers = _weights([(score.answer, score.wording) for score in scored], values)
    counts = np.bincount(of, weights, len(contenders)).astype(np.float64)
    firsts = values[is_first] if is_first.any() else values
    mean = float(firsts.mean())
    freedom = float(np.maximum(counts - 1, 0).sum())
    for _ in range(ROUNDS_OF_FITTING):
        fair = values - severity[wording]
        sums = np.bincount(of, weights * fair, len(contenders))
        averages = np.divide(sums, counts, out=np.full(len(contenders), mean), where=counts > 0)
        noise = JUDGE.noise.estimate(float((weights * (fair - averages[of]) ** 2).sum()), freedom)
        spread = spread_variance(firsts, np.full(len(firsts), noise), JUDGE.spread)
        estimates = pulled(averages, counts, mean, noise / spread)
        asked = np.bincount(wording, weights).astype(np.float64)
        severity = pulled(np.bincount(wording, weights * (values - estimates[of])) / asked, asked, 0.0, PRIOR_SEVERITY)
        severity -= severity[0]
    errors = np.sqrt(noise / (counts + noise / spread))
    return Scored(averages, estimates, errors, counts, mean, spread, noise)


def _wordings(scored: Sequence[Judgement]) -> list[str]:
    """All wordings, the most frequent among first scores first: the severity of the others is relative to it."""
    firsts = Counter(score.wording for score in scored if score.is_first)
    return sorted({score.wording for score in scored}, key=lambda name: (-firsts[name], name))


def _weights(askings: Sequence[tuple[int, str]], values: Numbers) -> Numbers:
    """The weight of each score: below 1 where an answer was judged repeatedly in the same words.

    The scores of such a group are correlated. At temperature 0 they are copies. See `effective_count`.
    """
    groups: dict[tuple[int, str], list[int]] = {}
    for index, asked in enumerate(askings):
        groups.setdefault(asked, []).append(index)
    repeated = [members for members in groups.values() if len(members) > 1]
    weights = np.ones(len(values))
    if not repeated:
        return weights
    within = sum(float(((values[g] - values[g].mean()) ** 2).sum()) for g in repeated)
    freedom = sum(len(g) - 1 for g in repeated)
    overall = max(float(values.var()), JUDGE.noise.deviation**2)
    independent = pulled(within / overall / freedom, freedom, 0.5, PRIOR_COPYING)
    correlation = 1 - min(1.0, independent)
    for members in repeated:
        weights[members] = effective_count(len(members), correlation) / len(members)
    return weights
