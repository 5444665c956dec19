"""Which final answer is right: one posterior over those that were given, from votes and from verdicts.

Both kinds of evidence err persistently. A model that repeats a wrong answer repeats its reasons, so even a unanimous
vote is sometimes wrong, and the more so if all votes come from one meta-thought. A judge that takes a wrong answer for
right does so again when it is asked again, so a second verdict on one text tells less than the first.

The posterior is log-linear. A final answer with the share `s` of `N` votes weighs `s ** sharpness`, times the
exponential of how far its verdicts lie above those of the others. "None of these" weighs `wrong`, for the consensus
that no further vote corrects, plus the share of votes that are still unseen. It weighs less where the verdicts are high
on the whole. The chance of each is its share of all weights.

The constants are ours. Those of the votes were fitted to the logarithmic loss, with equal weight for each recording, on
1 to 64 votes on multiple-choice questions (gpt-35-turbo on eleven exams under one to four prompts, Llama-3.3-70B on
GPQA) and on open ones (Qwen2.5-Coder-1.5B on GSM8K under one to eight meta-thoughts). Those of the verdicts were chosen
on Llama's own verdicts on its GPQA answers, and change no choice for the worse under Qwen's verdicts, P(True) and
digits. `docs/reference/policies.md` says how well they do on recordings that they were not fitted to.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metascale.choice.scores import Contender, Scored
from metascale.stats.normal import expected_excess
from metascale.stats.shrinkage import effective_count

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Consensus:
    """What agreement is worth for one kind of question.

    Attributes:
        sharpness: exponent of a final answer's share of the votes.
        wrong: weight of a wrong consensus under one meta-thought, relative to a unanimous answer.
    """

    sharpness: float
    wrong: float


CLOSED = Consensus(sharpness=1.0, wrong=0.18)
"""Where a few answers are possible, as in multiple choice: models agree on wrong ones, too. The fit gives `wrong` 0.21,
of which a part is due to an exam on which gpt-35-turbo does no better than chance."""
OPEN = Consensus(sharpness=2.0, wrong=0.03)
"""Where answers can be anything, as numbers: wrong ones scatter, so a leading answer is likelier right than its share
of the votes says."""
UNSEEN = 0.5
"""Votes for answers that nobody gave yet: the share `UNSEEN / (N + UNSEEN)` is still open."""
BY_ARMS = 0.5
"""`wrong` falls with this power of the effective number of meta-thoughts that voted."""
UNMARKED = 0.5
"""Vote of a text that marks no final answer."""
CONTRAST = 4.0
"""Log weight of a final answer whose verdicts lie 1 above the average, for certain."""
DOUBT = 1.5
"""Independent verdicts at which half of an answer's contrast counts."""
PERSISTENCE = 0.5
"""Correlation of two judgements of one text, however they are worded: GPT-4's three prompts on LLMBar, in both orders,
err with a mean correlation of 0.5, and of the variance of Llama's verdicts on GPQA, 0.65 is the answer's."""
LEVEL = 2.5
"""Log weight that "none of these" loses where all verdicts are 1 above what is usual."""
APPROVALS, USUAL_APPROVAL, USUAL_P_TRUE, USUAL_MARK = 0.75, 0.9, 0.95, 0.55
"""Where at least the first share of the scores is 0 or 1, they are taken for approvals rather than marks. The others
are the mean scores at which verdicts say nothing about the answers as a whole: models approve most of what they wrote.
"""
P_TRUE = "p_true"
"""The wording under which P(True) is scored."""
FEW = frozenset({"yes", "no", "true", "false"})
"""Final answers, besides single letters, that tell a question of few possible answers."""


@dataclass(frozen=True)
class Posterior:
    """What is known of n contenders that can be compared by their final answers.

    Attributes:
        worth: log weights, shape (n,). The highest is chosen.
        chances: the probability of each that it is right, shape (n,); their sum is below 1.
        votes: their votes, as if those of verdicts were votes, shape (n,).
        judged: independent judgements of each, shape (n,).
        cast: all votes.
        sharpness: see `Consensus`.
    """

    worth: Numbers
    chances: Numbers
    votes: Numbers
    judged: Numbers
    cast: float
    sharpness: float


def posterior(contenders: Sequence[Contender], scored: Scored) -> Posterior:
    """The posterior over contenders.

    Args:
        contenders: at least one; those without a final answer count as one unmarked text each.
        scored: their scores.
    """
    votes = np.array([c.support * c.weight * (1.0 if c.final is not None else UNMARKED) for c in contenders])
    cast = float(sum(c.support for c in contenders))
    kind = CLOSED if is_closed([c.final for c in contenders if c.final is not None]) else OPEN
    judged = np.array([judgements(c, float(n)) for c, n in zip(contenders, scored.counts, strict=True)])
    verdicts = CONTRAST * (scored.averages - scored.mean) * judged / (judged + DOUBT)
    worth = kind.sharpness * np.log(votes / (cast + UNSEEN)) + verdicts
    wrong = kind.wrong * effective_arms(contenders) ** -BY_ARMS
    nothing = (wrong + UNSEEN / (cast + UNSEEN)) * math.exp(-level(contenders, scored))
    weights = np.exp(worth)
    chances = weights / (weights.sum() + nothing)
    return Posterior(worth, chances, votes * np.exp(verdicts / kind.sharpness), judged, cast, kind.sharpness)


def is_closed(finals: Sequence[str]) -> bool:
    """Whether the final answers are those of a question with few possible ones: letters, yes and no, true and false."""
    return bool(finals) and all((len(final) == 1 and final.isalpha()) or final.casefold() in FEW for final in finals)


def effective_arms(contenders: Sequence[Contender]) -> float:
    """The effective number of meta-thoughts behind the answers: the inverse of the sum of their squared shares."""
    names = Counter(name for contender in contenders for name in contender.arms)
    counts = np.array(list(names.values()), dtype=np.float64)
    return float(counts.sum() ** 2 / (counts**2).sum()) if names else 1.0


def judgements(contender: Contender, count: float) -> float:
    """How many independent judgements a contender's scores are worth, given those that count in their own wording."""
    texts = len({score.answer for score in contender.scores})
    return texts * effective_count(max(1.0, count / texts), PERSISTENCE) if texts else 0.0


def level(contenders: Sequence[Contender], scored: Scored) -> float:
    """What the height of all verdicts says for the answers that were given, as a log weight.

    0 for rewards without a wording: their scale is unknown.
    """
    firsts = [score for contender in contenders for score in contender.scores if score.is_first and score.wording]
    if not firsts:
        return 0.0
    if all(score.wording == P_TRUE for score in firsts):
        usual = USUAL_P_TRUE
    else:
        approvals = sum(score.value in {0.0, 1.0} for score in firsts)
        usual = USUAL_APPROVAL if approvals >= APPROVALS * len(firsts) else USUAL_MARK
    return LEVEL * (scored.mean - usual) * len(firsts) / (len(firsts) + 1)


def gain_of_votes(now: Posterior, left: int) -> float:
    """By how much `left` more samples are expected to raise the chance that the choice is right, in [0, 1].

    Votes are predicted as a Pólya urn (Dirichlet-multinomial) with two more votes in it, half a one of them for each
    rival; the difference between the leader and a rival is taken as normal, with the urn's mean and variance. A rival
    that overtakes gains what its chance then exceeds the leader's by. The gain never falls as `left` grows, because
    shares of an urn are a martingale.
    """
    if left < 1:
        return 0.0
    urn = now.cast + 2.0
    lead = int(np.argmax(now.votes))
    first = float(now.votes[lead])
    unseen = (UNSEEN / (now.cast + UNSEEN)) ** now.sharpness * float(now.chances[lead]) / math.exp(now.worth[lead])
    rivals = [(float(v), float(c)) for i, (v, c) in enumerate(zip(now.votes, now.chances, strict=True)) if i != lead]
    gain = 0.0
    for second, chance in [*rivals, (0.0, unseen)]:
        drift = (first - second) / urn
        both = min(1.0, (first + second + 1) / urn)
        variance = left * (urn + left) / (urn + 1) * max(0.0, both - drift**2)
        overtaken = expected_excess((first - second) + left * drift, math.sqrt(variance))
        scale = (first + second + 1) * (1 + left / urn)
        gain += (float(now.chances[lead]) + chance) * now.sharpness * overtaken / scale
    return min(1.0, gain)
