"""The second look: which finalists to judge again, when to stop, and how sure the choice is.

Choosing the highest of many noisy scores favours lucky ones. So the leaders are judged again, in rounds that halve the
field (successive halving, Karnin et al. 2013). Each contender is estimated from all its scores with the model of
`metascale.stats.shrinkage`: a score is the contender's quality, plus the severity of the wording, plus noise. Spread,
noise and severities are estimated from the run itself. Estimates are drawn towards the mean, further where the scores
are noisier, which corrects for luck.

The constants are ours, tuned on simulated tasks whose noise is that of recorded judgements (`benchmarks/confirm.py`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metascale.stats.normal import expected_excess, normal_tail
from metascale.stats.shrinkage import Scale, Scales, effective_count, pulled, spread_variance

Numbers = NDArray[np.float64]
Rule = Literal["support", "sum", "best"]

JUDGE = Scales(noise=Scale(0.081, 0.2), spread=Scale(0.12, 8))
"""The noise of a score, and the spread of the contenders' qualities. The noise is that of GPT-4's repeated ratings of
one text (0.73 on a scale from 1 to 10; creative writing, in princeton-nlp/tree-of-thought-llm). Its weight is small, so
that two looks suffice to recognise an exact judge. The spread's is larger: with 2 the choices under a noisy judge were
worse."""
PRIOR_SEVERITY = 2.0
"""Scores without severity that draw the severity of a wording towards 0."""
PRIOR_COPYING = 2.0
"""Pseudo-observations, half of them copies, behind the correlation of repeated scores under one wording."""
SUPPORT_WEIGHT = 0.1
"""Reward that an answer gains when its support grows by a factor of e. On real answers (gpt-35-turbo on exams, 10
samples under each of 4 prompts) with simulated judges of AUC 0.5 to 1 this chose better than the highest score, the
vote or the sum of rewards alone, or nearly as well as the best of them."""
ROUNDS_OF_FITTING = 10
"""Alternations between estimating qualities, noise and severities."""
MIN_GAIN = 0.0001
"""Expected gain in reward per call below which no contender is judged again."""
IN_CONTENTION = 0.5
"""Share of the largest expected gain that a contender needs to be judged in the same round."""
PROBE = 2
"""Contenders in the first round, which measures the judge's noise."""
MIN_RESERVE = 6
"""Fewest calls for which any are kept for second looks instead of samples: fewer cannot halve a field, and a further
sample is worth more."""
RESERVED = 4
"""One call in `RESERVED` at most is kept for second looks where `max_calls` limits the run."""
SAMPLE_CALLS = 2
"""Model requests for one more sample and its first score."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One score of one answer.

    Attributes:
        value: in [0, 1].
        answer: the answer's id.
        wording: how the judge was asked.
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
        scores: all their scores, at least one.
        support: the number of answers, at least 1.
        weight: the mean weight of their votes, above 0.
    """

    scores: tuple[Judgement, ...]
    support: int = 1
    weight: float = 1.0


@dataclass(frozen=True)
class Standing:
    """What the scores so far say about n contenders.

    Attributes:
        estimates: expected quality, shape (n,), on the rewards' scale.
        worth: the estimates with what support adds to them, shape (n,). The highest is chosen.
        errors: standard deviation of each worth's error, shape (n,).
        scores: independent scores behind each estimate, shape (n,).
        mean: expected quality of a new contender.
        spread: variance of quality over contenders.
        noise: variance of one score around quality.
    """

    estimates: Numbers
    worth: Numbers
    errors: Numbers
    scores: Numbers
    mean: float
    spread: float
    noise: float

    @property
    def lead(self) -> int:
        """The best contender so far; the first of several equal ones."""
        return int(np.argmax(self.worth))


def standing(contenders: Sequence[Contender], rule: Rule = "support") -> Standing:
    """Estimate all contenders from all scores.

    Args:
        contenders: at least one.
        rule: what the support of an answer, times its weight, adds: `"support"` adds its logarithm times
            `SUPPORT_WEIGHT`, and less where the judge is more exact than `JUDGE` expects; `"sum"` compares the sum of
            rewards (CRISP, arXiv 2503.05188); `"best"` adds nothing.
    """
    of = np.array([i for i, contender in enumerate(contenders) for _ in contender.scores])
    scored = [score for contender in contenders for score in contender.scores]
    values = np.array([score.value for score in scored])
    is_first = np.array([score.is_first for score in scored])
    wordings = _wordings(scored)
    wording = np.array([wordings.index(score.wording) for score in scored])

    severity = np.zeros(len(wordings))
    weights: Numbers = _weights([(score.answer, score.wording) for score in scored], values)
    scores = np.bincount(of, weights=weights).astype(np.float64)
    firsts = values[is_first]
    mean = float(firsts.mean())
    freedom = float(np.maximum(scores - 1, 0).sum())
    for _ in range(ROUNDS_OF_FITTING):
        fair = values - severity[wording]
        averages = np.bincount(of, weights * fair) / scores
        noise = JUDGE.noise.estimate(float((weights * (fair - averages[of]) ** 2).sum()), freedom)
        spread = spread_variance(firsts, np.full(len(firsts), noise), JUDGE.spread)
        estimates = pulled(averages, scores, mean, noise / spread)
        asked = np.bincount(wording, weights).astype(np.float64)
        severity = pulled(np.bincount(wording, weights * (values - estimates[of])) / asked, asked, 0.0, PRIOR_SEVERITY)
        severity -= severity[0]
    errors = np.sqrt(noise / (scores + noise / spread))
    support = np.array([contender.support * contender.weight for contender in contenders])
    if rule == "sum":
        return Standing(estimates, estimates * support, errors * support, scores, mean, spread, noise)
    weight = SUPPORT_WEIGHT * min(1.0, math.sqrt(noise) / JUDGE.noise.deviation) if rule == "support" else 0.0
    return Standing(estimates, estimates + weight * np.log(support), errors, scores, mean, spread, noise)


def next_looks(contenders: Sequence[Contender], calls: int, rule: Rule = "support") -> list[int]:
    """The contenders to judge once more, all at once; none if no look is worth its call.

    The first round is a probe of two. A later round considers the largest field that the calls can still halve down to
    two, and judges those of the field that are in contention (`IN_CONTENTION`).

    Args:
        contenders: at least one.
        calls: looks that may still be made.
        rule: as in `standing`.

    Returns:
        Indices of contenders, at most `calls`.
    """
    if calls < 1 or len(contenders) < PROBE:
        return []
    now = standing(contenders, rule)
    order = np.argsort(-now.worth, kind="stable")[: _field_size(contenders, calls)]
    gains = np.array([gain_of_looking(now, int(index)) for index in order])
    if gains.max() < MIN_GAIN:
        return []
    return [int(index) for index in order[gains >= IN_CONTENTION * gains.max()]][:calls]


def gain_of_looking(now: Standing, index: int) -> float:
    """The expected gain in the quality of the choice from judging a contender again, per call.

    This is the knowledge gradient (Frazier et al. 2008) of one, two or four looks, whichever gains most per call. One
    look may be too little to change a choice that several would change.
    """
    others = np.delete(now.worth, index)
    distance = abs(float(now.worth[index] - others.max()))
    known = 1 / now.spread + float(now.scores[index]) / now.noise
    gains = []
    for looks in (1, 2, 4):
        learnt = looks / now.noise
        change = float(now.errors[index]) * math.sqrt(learnt / (known + learnt))
        gains.append(expected_excess(distance, change) / looks)
    return max(gains)


def gain_of_sampling(now: Standing) -> float:
    """The expected gain in the quality of the choice from one more sample, per call."""
    distance = max(0.0, float(now.worth.max()) - now.mean)
    change = now.spread / math.sqrt(now.spread + now.noise)
    return expected_excess(distance, change) / SAMPLE_CALLS


def reserve(contenders: Sequence[Contender], rule: Rule = "support", *, calls: int, spent: int, max_calls: int) -> int:
    """Calls to keep for second looks where they compete with samples.

    Args:
        contenders: so far; may be none.
        rule: as in `standing`.
        calls: looks that the settings allow in total.
        spent: looks already made.
        max_calls: the run's limit.

    Returns:
        At least 0; 0 where a further sample gains more than a second look.
    """
    planned = min(calls, max_calls // RESERVED)
    if planned < MIN_RESERVE:
        return 0
    if len(contenders) >= PROBE:
        now = standing(contenders, rule)
        leaders = np.argsort(-now.worth, kind="stable")[:8]
        looking = max(gain_of_looking(now, int(index)) for index in leaders)
        if looking < max(MIN_GAIN, gain_of_sampling(now)):
            return 0
    return max(0, planned - spent)


def confidence(now: Standing) -> float:
    """The probability that no contender is better than the leader, in [0, 1].

    The errors of the estimates are taken as independent. The integral over the leader's quality is a Gauss-Hermite
    quadrature.
    """
    lead = now.lead
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    at = now.worth[lead] + nodes * now.errors[lead]
    below = np.ones_like(at)
    for index in range(len(now.worth)):
        if index != lead:
            error = max(float(now.errors[index]), 1e-12)
            below *= [normal_tail((float(now.worth[index]) - x) / error) for x in at.tolist()]
    return min(1.0, float(weights @ below / weights.sum()))


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


def _field_size(contenders: Sequence[Contender], calls: int) -> int:
    """How many contenders the next round considers."""
    if all(len(contender.scores) == contender.support for contender in contenders):
        return PROBE
    size = PROBE
    while 4 * size - 2 <= calls and 2 * size <= max(PROBE, len(contenders) // 4):
        size *= 2
    return size
