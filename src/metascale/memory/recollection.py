"""What earlier runs say about the meta-thoughts of a new one: pure functions over remembered runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metascale.bandits import Prior
from metascale.pool.beliefs import Beliefs, Kept, key_of
from metascale.stats.shrinkage import Scale, effective_count, pulled

Numbers = NDArray[np.float64]

SHARPNESS = 4
"""A remembered task counts by its cosine similarity to this power. Ours, as all below: chosen on recorded answers of
five kinds of task, where any power from 2 to 4 served."""
HALF_LIFE = 500
"""Runs after which a remembered one counts for half."""
NEWEST = 15.0
"""How much of the nearest and newest evidence is held against all that is older, in runs."""
CONFLICT = 2.0
"""Mean squared standardised difference between old and new evidence from which the old counts as contradicted; chance
alone makes it about 1."""
LOCAL_WEIGHT = 2.0
"""How many runs the arm's record over all tasks counts for, beside its record on similar ones."""
GLOBAL_WEIGHT = 40.0
"""How many runs of no difference between arms count for, beside the record over all tasks."""
OPTIMISM = 0.3
"""How far above its estimate an arm is believed to be, for what trying it would teach: times the standard error of the
estimate, and the square root of ln(runs) as in UCB."""
MOST_WEIGHT = 4.0
"""Most rewards that memory counts for beside those of the run: what a wrong memory can cost."""
LEAST_WEIGHT = 0.05
"""What it counts for at the least: enough to say which arms come first."""
TOLD_APART = 0.15
"""Range of advantages, beyond one standard error of an arm's mean, from which memory counts for so much; below, for
less by its square. A memory that hardly tells arms apart lets none wait: what did a little better on average may be the
worst to try again and again on one question."""
WITHIN_RUN = 0.3
"""How alike samples of one run are: n of them count as n / (1 + 0.3 (n - 1)) independent ones."""
REWARD = Scale(0.15, 1)
"""Of one reward on similar tasks."""
SMALLEST_VARIANCE = 1e-4
WORTH_KEEPING = 2
"""Samples that a meta-thought needs before it is worth keeping."""


@dataclass(frozen=True)
class Record:
    """What a meta-thought earned in one run.

    Attributes:
        pulls: samples that were scored, at least 1.
        mean: of their rewards, in [0, 1].
        variance: of their rewards, in [0, 1].
    """

    pulls: int
    mean: float
    variance: float

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one is out of its range.
        """
        if not (self.pulls >= 1 and 0 <= self.mean <= 1 and 0 <= self.variance <= 1):
            raise ValueError(f"no record of rewards: {self.pulls} pulls, mean {self.mean}, variance {self.variance}")


@dataclass(frozen=True)
class Episode:
    """One remembered run.

    Attributes:
        embedding: of the task, shape (dimensions,), of length 1.
        records: by the key of the meta-thought (`key_of`); at least one.
        kept: meta-thoughts worth trying on similar tasks.
    """

    embedding: Numbers
    records: Mapping[str, Record]
    kept: Sequence[Kept] = field(default=())


def recollect(episodes: Sequence[Episode], embedding: Numbers, *, budget: int = 1) -> Beliefs:
    """What earlier runs let one believe of every meta-thought that they tried, and of those that they did not.

    Every run counts by how similar its task is, and by how recent it is. An arm's mean on similar tasks is drawn
    towards its record over all tasks, and that towards the average arm; its advantage is the difference to the mean of
    all arms on similar tasks. Where the newest similar runs contradict the older ones, the older lose weight. A little
    optimism makes arms be tried about which little is known; the more samples a run has, the less of it, for then the
    run itself explores.

    Args:
        episodes: from old to new.
        embedding: of the new task, of length 1.
        budget: samples of the new run, at least 1.

    Returns:
        Priors. All have the same weight, at most `MOST_WEIGHT`, less where no task is similar; so what memory believes
        is outweighed by a few rewards.
    """
    keys = sorted({key for episode in episodes for key in episode.records})
    if not keys:
        return Beliefs()
    pulls, means, variances = _tables(episodes, keys)
    similarity = np.clip(np.array([episode.embedding for episode in episodes]) @ embedding, 0.0, 1.0) ** SHARPNESS
    recency = 0.5 ** (np.arange(len(episodes))[::-1] / HALF_LIFE)
    weight = similarity * recency
    weight = weight * _trust(weight, pulls, means)

    overall = float(_mean(recency, pulls, means, axis=None, towards=0.5, pseudo=2.0))
    everywhere = _mean(recency, pulls, means, axis=0, towards=overall, pseudo=GLOBAL_WEIGHT)
    level = float(_mean(weight, pulls, means, axis=None, towards=overall, pseudo=2.0))
    expected = np.clip(level + everywhere - overall, 0.0, 1.0)
    estimates = _mean(weight, pulls, means, axis=0, towards=expected, pseudo=LOCAL_WEIGHT)

    evidence = weight @ pulls
    variance = _variance(weight, pulls, means, variances, level)
    noise = OPTIMISM**2 * variance * math.log(len(episodes) + 1) / budget
    advantages = np.clip(estimates - level + np.sqrt(noise / (evidence + LOCAL_WEIGHT)), -1.0, 1.0).tolist()
    average = float(evidence.mean())
    by_chance = math.sqrt(variance / (average + LOCAL_WEIGHT))
    apart = min(1.0, max(0.0, (max(advantages) - min(advantages) - by_chance) / TOLD_APART) ** 2)
    trust = max(LEAST_WEIGHT, apart * MOST_WEIGHT * (average + 0.5) / (average + MOST_WEIGHT))
    return Beliefs(
        {key: Prior(advantage, trust) for key, advantage in zip(keys, advantages, strict=True)},
        Prior(min(1.0, math.sqrt(noise / LOCAL_WEIGHT)), trust),
    )


def worth_trying(episodes: Sequence[Episode], embedding: Numbers, at_most: int) -> list[Kept]:
    """The kept meta-thoughts that did best on the most similar tasks, best first.

    Args:
        episodes: from old to new.
        embedding: of the new task, of length 1.
        at_most: at least 0.
    """
    best: dict[str, tuple[float, Kept]] = {}
    for episode in episodes:
        near = float(np.clip(episode.embedding @ embedding, 0.0, 1.0)) ** SHARPNESS
        for kept in episode.kept:
            key, score = key_of(kept.mindset, kept.strategy), near * kept.advantage
            if score > best.get(key, (0.0, kept))[0]:
                best[key] = (score, kept)
    ranked = sorted(best.values(), key=lambda scored: -scored[0])
    return [kept for _, kept in ranked[:at_most]]


def _tables(episodes: Sequence[Episode], keys: Sequence[str]) -> tuple[Numbers, Numbers, Numbers]:
    """Independent samples, means and variances of every arm in every run, each of shape (runs, arms)."""
    place = {key: index for index, key in enumerate(keys)}
    pulls, means, variances = np.zeros((3, len(episodes), len(keys)))
    for row, episode in enumerate(episodes):
        for key, record in episode.records.items():
            column = place[key]
            pulls[row, column] = effective_count(record.pulls, WITHIN_RUN)
            means[row, column], variances[row, column] = record.mean, record.variance
    return pulls, means, variances


def _mean(
    weight: Numbers, pulls: Numbers, means: Numbers, *, axis: int | None, towards: Numbers | float, pseudo: float
) -> Numbers:
    """The weighted mean reward over runs, or over runs and arms, drawn towards a value."""
    counts = weight[:, None] * pulls
    known = np.asarray(counts.sum(axis=axis))
    mean = np.asarray((counts * means).sum(axis=axis)) / np.maximum(known, 1e-300)
    return pulled(mean, known, towards, pseudo)


def _variance(weight: Numbers, pulls: Numbers, means: Numbers, variances: Numbers, level: float) -> float:
    """Of one reward on similar tasks, over all arms."""
    counts = weight[:, None] * pulls
    squares = float((counts * (variances + np.square(means - level))).sum())
    return max(SMALLEST_VARIANCE, REWARD.estimate(squares, float(counts.sum())))


def _trust(weight: Numbers, pulls: Numbers, means: Numbers) -> Numbers:
    """What each run still counts for, by whether newer similar runs contradict it, in (0, 1].

    The newest `NEWEST` runs' worth of similar evidence is held against the rest, arm by arm: the mean of the squared
    standardised differences is about 1 where both come from one world. Above `CONFLICT` the older evidence counts less,
    by the square of the ratio, as a power prior whose power falls with the conflict.
    """
    counts = weight[:, None] * pulls
    newer = np.cumsum(counts.sum(axis=1)[::-1])[::-1] <= NEWEST
    new, old = counts[newer].sum(axis=0), counts[~newer].sum(axis=0)
    both = (new > 1) & (old > 1)
    trust = np.ones(len(weight))
    if both.any():
        new_mean = (counts * means)[newer].sum(axis=0)[both] / new[both]
        old_mean = (counts * means)[~newer].sum(axis=0)[both] / old[both]
        shared = (new[both] * new_mean + old[both] * old_mean + 1) / (new[both] + old[both] + 2)
        noise = np.maximum(SMALLEST_VARIANCE, shared * (1 - shared)) * (1 / new[both] + 1 / old[both])
        conflict = float(np.mean(np.square(new_mean - old_mean) / noise))
        trust[~newer] = min(1.0, (CONFLICT / max(conflict, 1e-9)) ** 2)
    return trust
