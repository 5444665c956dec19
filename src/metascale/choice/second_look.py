"""The second look: which finalists to judge again, when to stop, and how sure the choice is.

Choosing the highest of many noisy scores favours lucky ones. So the leaders are judged again while that is worth its
call. Answers that can be compared are chosen by the posterior of `metascale.choice.posterior`. Free texts are chosen by
their estimated quality, in rounds that halve the field (successive halving, Karnin et al. 2013).

The constants are ours. Those without a note were tuned on simulated tasks whose noise is that of recorded judgements
(`benchmarks/confirm.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metascale.choice.posterior import CONTRAST, DOUBT, PERSISTENCE, Posterior, gain_of_votes, posterior
from metascale.choice.scores import Contender, estimate_all
from metascale.stats.normal import expected_excess, normal_tail
from metascale.stats.shrinkage import effective_count

Numbers = NDArray[np.float64]
Rule = Literal["support", "sum", "best"]

VALIDITY = 0.2
"""Share of the lasting differences between a judge's scores that are differences in quality; the rest is error that no
further look removes. It was below 0.1 for Llama's verdicts on GPQA, 0.1 for Qwen's on GSM8K and 0.4 for GPT-4's on
LLMBar."""
MARGIN = 0.05
"""By how much a free text must excel to count as better: half a mark of ten."""
MIN_GAIN = 0.00002
"""Expected gain in reward per call below which no free text is judged again."""
WORTH_A_CALL = 0.002
"""Expected gain in the chance of a right answer per call below which no final answer is judged again. Not tuned."""
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


@dataclass(frozen=True)
class Standing:
    """What votes and scores so far say about n contenders.

    Attributes:
        estimates: expected score, shape (n,), on the rewards' scale.
        worth: what contenders are compared by, shape (n,). The highest is chosen.
        errors: standard deviation of each estimate's error, on the scale of `worth` unless there is a posterior, shape
            (n,).
        scores: independent scores behind each estimate, shape (n,).
        mean: expected score of a new contender.
        spread: variance of lasting differences between contenders.
        noise: variance of one score.
        posterior: of contenders that can be compared; None for free texts.
    """

    estimates: Numbers
    worth: Numbers
    errors: Numbers
    scores: Numbers
    mean: float
    spread: float
    noise: float
    posterior: Posterior | None = None

    @property
    def lead(self) -> int:
        """The best contender so far; the first of several equal ones."""
        return int(np.argmax(self.worth))

    @property
    def chances(self) -> Posterior | None:
        """The posterior if it decides the choice, else None."""
        return self.posterior if self.posterior is not None and self.worth is self.posterior.worth else None


def standing(contenders: Sequence[Contender], rule: Rule = "support") -> Standing:
    """Estimate all contenders from all votes and scores.

    Args:
        contenders: at least one.
        rule: how final answers are compared: by the posterior (`"support"`), by the sum of their rewards (`"sum"`;
            CRISP, arXiv 2503.05188), or by their rewards alone (`"best"`). Free texts are compared by their rewards
            under any rule, or by the sum.
    """
    found = estimate_all(contenders)
    own = (found.counts, found.mean, found.spread, found.noise)
    is_comparable = any(contender.final is not None for contender in contenders)
    known = posterior(contenders, found) if is_comparable else None
    if rule == "sum":
        support = np.array([contender.support * contender.weight for contender in contenders])
        return Standing(found.estimates, found.estimates * support, found.errors * support, *own, known)
    worth = known.worth if known is not None and rule == "support" else found.estimates
    return Standing(found.estimates, worth, found.errors, *own, known)


def next_looks(contenders: Sequence[Contender], calls: int, rule: Rule = "support") -> list[int]:
    """The contenders to judge once more, all at once; none if no look is worth its call.

    The first round is a probe of two. A later round considers the largest field that the calls can still halve down to
    two, and judges those of the field that are in contention (`IN_CONTENTION`). Contenders without a score are left to
    the search.

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
    order = [int(i) for i in np.argsort(-now.worth, kind="stable") if contenders[int(i)].scores]
    order = order[: _field_size(contenders, calls)]
    gains = np.array([gain_of_looking(now, index) for index in order])
    least = MIN_GAIN if now.chances is None else WORTH_A_CALL
    if not len(gains) or gains.max() < least:
        return []
    return [index for index, gain in zip(order, gains, strict=True) if gain >= IN_CONTENTION * gains.max()][:calls]


def gain_of_looking(now: Standing, index: int) -> float:
    """The expected gain in the quality of the choice from judging a contender again, per call.

    This is the knowledge gradient (Frazier et al. 2008). Of a free text it is that of one, two or four looks, whichever
    gains most per call: one look may be too little to change a choice that several would change. Of a final answer it
    is the gain in the chance of being right.
    """
    if now.chances is not None:
        return _gain_in_chance(now.chances, math.sqrt(now.spread + now.noise), index)
    others = np.delete(now.worth, index)
    distance = abs(float(now.worth[index] - others.max()))
    known = 1 / now.spread + float(now.scores[index]) / now.noise
    gains = []
    for looks in (1, 2, 4):
        learnt = looks / now.noise
        change = float(now.errors[index]) * math.sqrt(learnt / (known + learnt))
        gains.append(expected_excess(distance, change) / looks)
    return VALIDITY * max(gains)


def _gain_in_chance(known: Posterior, deviation: float, index: int) -> float:
    """How much one more look at a judged text is expected to add to the chance that the choice is right.

    The look changes the log odds between the contender and its closest rival by a normal amount. Its mean is half of
    its variance towards the truth, as of any log-likelihood ratio.

    Args:
        known: the posterior.
        deviation: the standard deviation of one score, above 0.
        index: the contender.
    """
    rival = max((i for i in range(len(known.worth)) if i != index), key=lambda i: float(known.worth[i]))
    learnt = effective_count(2.0, PERSISTENCE) - 1
    change = CONTRAST * learnt / (float(known.judged[index]) + learnt + DOUBT) * deviation
    distance = abs(float(known.worth[index] - known.worth[rival]))
    both = float(known.chances[index] + known.chances[rival])
    behind = 1 / (1 + math.exp(distance))
    won = normal_tail(distance / change - change / 2)
    lost = normal_tail(distance / change + change / 2)
    return both * max(0.0, behind * won - (1 - behind) * lost)


def gain_of_sampling(now: Standing) -> float:
    """The expected gain in the quality of the choice from one more sample, per call."""
    if now.posterior is not None:
        return gain_of_votes(now.posterior, SAMPLE_CALLS) / SAMPLE_CALLS**2
    distance = max(0.0, float(now.worth.max()) - now.mean)
    change = now.spread / math.sqrt(now.spread + now.noise)
    return VALIDITY * expected_excess(distance, change) / SAMPLE_CALLS


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
        leaders = [int(index) for index in np.argsort(-now.worth, kind="stable")[:8]]
        looking = max(gain_of_looking(now, index) for index in leaders)
        if looking < max(MIN_GAIN, gain_of_sampling(now)):
            return 0
    return max(0, planned - spent)


def confidence(now: Standing, index: int | None = None) -> float:
    """How sure a choice is, in [0, 1].

    Of a final answer, this is the probability that it is right; of a free text, the probability that no other contender
    is better by `MARGIN`. For the latter, a share of `VALIDITY` of the lasting differences between scores counts as
    quality, errors are independent, and the integral over the quality is a Gauss-Hermite quadrature.

    Args:
        now: the standing.
        index: the contender; by default the leader.
    """
    chosen = now.lead if index is None else index
    if now.posterior is not None:
        return float(now.posterior.chances[chosen])
    middle = VALIDITY * now.worth
    known = now.scores / (now.scores + now.noise / now.spread)
    errors = np.sqrt(now.spread * VALIDITY * (1 - VALIDITY * known)) + 1e-12
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    at = middle[chosen] + nodes * errors[chosen]
    below = np.ones_like(at)
    for other in range(len(middle)):
        if other != chosen:
            below *= [normal_tail((float(middle[other]) - x - MARGIN) / float(errors[other])) for x in at.tolist()]
    return min(1.0, float(weights @ below / weights.sum()))


def _field_size(contenders: Sequence[Contender], calls: int) -> int:
    """How many contenders the next round considers."""
    if all(len(contender.scores) <= contender.support for contender in contenders):
        return PROBE
    size = PROBE
    while 4 * size - 2 <= calls and 2 * size <= max(PROBE, len(contenders) // 4):
        size *= 2
    return size
