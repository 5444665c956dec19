"""Priors for the meta-thoughts of a new run from remembered runs. Pure functions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metascale.bandits import Prior
from metascale.bandits.routing import knowledge_gradient
from metascale.memory.levels import Evidence, Levels, Whole, levels, similar, weighted_sums, within
from metascale.pool.beliefs import Beliefs, Kept, key_of
from metascale.pool.parts import NEW, PAIR, THOUGHT, ArmKey, base_of
from metascale.stats.shrinkage import Joint, effective_count

Numbers = NDArray[np.float64]

FADING = 300.0
"""Rewards on similar tasks after which an older one counts for half. Kinds that are rarely asked do not fade meanwhile.
Not tuned, except that shorter ones forgot too much of the record of ten models."""
FADING_EVERYWHERE = 3_000.0
"""The same for what holds for all tasks, in rewards on any task."""
NEWEST = 15.0
"""Rewards from either end of a memory at which old and new evidence are split and compared; then twice as many, and
so on."""
NARROW = 2.0
"""Rewards are taken for right or wrong answers unless their variance in cells is less than 1 / `NARROW` of that of such
answers; in cells of few rewards the latter is estimated too large. Not tuned."""
EXACT_FIRST = 0.5
"""A sum of squared deviations for which rewards are taken for right or wrong answers before any are compared: that of
about two. Not tuned."""
BEYOND_CHANCE = 3.0
"""Standard deviations by which a conflict must exceed its mean to count. Tuned on a few orders of the record of ten
models: 2 discounts more runs that nothing contradicts, and 4 keeps wrong ones longer."""
LEAST_COMPARED = 0.45
"""Evidence from which old and new rewards of an arm are compared: the product of both counts over their sum."""
MOST_WEIGHT = 4.0
"""The most rewards that memory counts for beside those of the run. It bounds the cost of a wrong memory."""
LEAST_WEIGHT = 0.05
"""The fewest rewards that it counts for: enough to decide which arms come first."""
TOLD_APART = 0.4
"""Range of the arms' expected rewards, beyond the error of one, from which memory has its full weight; in standard
deviations of one reward. Below, the weight falls with the square of the range, so that a memory that hardly
distinguishes the arms delays none: the arm that is slightly better on average may be the worst on one question. Tuned
with four samples a question, on the record of ten models and on exams of one model under four prompts."""
WITHIN_RUN = 0.3
"""Correlation of the rewards of one run; see `effective_count`."""
SMALLEST_VARIANCE = 1e-4
MOST_ARMS = 40
"""The most arms that are compared. Every run may compose new meta-thoughts; most are never seen again."""
ELSEWHERE = 0.05
"""What a reward on any task counts for, beside one on a similar task, in the choice of these arms."""
WORTH_KEEPING = 2
"""Samples that a meta-thought needs before it is worth keeping."""


@dataclass(frozen=True)
class Record:
    """The rewards of a meta-thought in one run.

    Attributes:
        pulls: scored samples, at least 1.
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
        records: by the arm's name (`ArmKey`); at least one.
        kept: meta-thoughts that are worth trying on similar tasks.
        kind: the name of the task's kind, found by the memory; runs without one are of one kind.
    """

    embedding: Numbers
    records: Mapping[str, Record]
    kept: Sequence[Kept] = field(default=())
    kind: str = ""


def evidence_of(episodes: Sequence[Episode], arms: Sequence[ArmKey]) -> Evidence:
    """The rewards of some arms in earlier runs as arrays.

    Args:
        episodes: from old to new.
        arms: one of them was pulled in at least one run.
    """
    place = {str(arm): index for index, arm in enumerate(arms)}
    found = [
        (row, place[key], effective_count(record.pulls, WITHIN_RUN), record.mean, record.variance)
        for row, episode in enumerate(episodes)
        for key, record in episode.records.items()
        if key in place
    ]
    runs, pulled, counts, means, variances = (np.array(column) for column in zip(*found, strict=True))
    kinds = {kind: number for number, kind in enumerate(dict.fromkeys(episode.kind for episode in episodes))}
    numbers = np.array([kinds[episode.kind] for episode in episodes])
    return Evidence(arms, numbers, runs, pulled, counts.astype(np.float64), means.astype(np.float64), variances)


def recollect(
    episodes: Sequence[Episode], embedding: Numbers, *, budget: int = 1, models: Collection[str] = ()
) -> Beliefs:
    """Priors of all arms: those that earlier runs tried, and any other; see `advantages`.

    An arm that no run has tried begins at what is known of its model or its meta-thought.

    Args:
        episodes: from old to new.
        embedding: of the new task, of length 1.
        budget: samples of the new run, at least 1.
        models: of the new run; empty where they are not known.

    Returns:
        Priors of equal weight: at most `MOST_WEIGHT`, so that a few rewards outweigh them, and smaller where no task is
        similar.
    """
    if not episodes:
        return Beliefs()
    near = similar(np.array([episode.embedding for episode in episodes]) @ embedding)
    tried = most_tried(episodes, near)
    known_models, thoughts = {arm.model for arm in tried}, {arm.thought for arm in tried}
    names = known_models | {model for model in models if base_of(model) in set(map(base_of, known_models))}
    pairs = {ArmKey(thought, model) for thought in [*thoughts, NEW] for model in [*names, NEW]}
    evidence = evidence_of(episodes, [*tried, *sorted(pairs - set(tried))])
    known = remembered_levels(evidence, near)
    found = advantages(known, budget=budget, rng=np.random.default_rng(len(episodes)))
    priors = dict(zip(map(str, evidence.arms), priors_of(known, found, len(tried)), strict=True))
    return Beliefs(priors, priors[str(ArmKey(NEW, NEW))])


def priors_of(known: Levels, values: Numbers, tried: int) -> list[Prior]:
    """Priors of equal weight; the weight grows with the evidence and with the differences between the arms.

    An arm that no run has tried is hoped to be better than the best one by at most the deviation of one reward.

    Args:
        known: the posterior.
        values: the arms' `advantages`.
        tried: how many of the first arms were tried; their mean value is the average arm's.
    """
    average = float(known.near.sum()) / tried
    centring = np.eye(tried) - 1 / tried
    errors = np.diag(centring @ known.here.covariance[:tried, :tried] @ centring)
    spread = float(np.ptp(known.here.means[:tried])) - math.sqrt(float(errors.mean()))
    apart = min(1.0, max(0.0, spread / (TOLD_APART * math.sqrt(known.noise))) ** 2)
    weight = max(LEAST_WEIGHT, apart * MOST_WEIGHT * (average + 0.5) / (average + MOST_WEIGHT))
    hoped = np.minimum(values, values[:tried].max() + math.sqrt(known.noise))
    centred = np.clip(hoped - values[:tried].mean(), -1.0, 1.0)
    return [Prior(value, weight) for value in centred.tolist()]


def remembered_levels(evidence: Evidence, near: Numbers) -> Levels:
    """The posterior on both levels, where old evidence fades and contradicted evidence loses weight.

    Args:
        evidence: at least one observation, from old to new.
        near: the similarity of each run in [0, 1], shape (runs,); see `similar`.
    """
    everything = np.ones(len(near))
    cells = evidence.kinds[evidence.runs] * len(evidence.arms) + evidence.pulled
    trusted = _trusted(everything, evidence, cells)
    here = near * _faded(near, evidence, FADING) * np.minimum(trusted, _trusted(near, evidence, evidence.pulled))
    return levels(evidence, here, (1 - near) * _faded(everything, evidence, FADING_EVERYWHERE) * trusted)


def advantages(known: Levels, *, budget: int, rng: np.random.Generator) -> Numbers:
    """Each arm's expected reward, plus what trying it is worth to later questions; shape (arms,).

    What it teaches about tasks like this one is worth the knowledge gradient, as often as such tasks were asked before:
    the future of a kind is expected to be as long as its past. For what holds for all tasks the arms' parts are
    drawn from their posterior (Thompson sampling), which cannot settle on one arm too early; the more
    similar tasks have settled the estimates, the less they change them. Both fall with the budget, because a run with
    many samples explores by itself.

    Args:
        known: the posterior.
        budget: samples of the new run, at least 1.
        rng: draws the parts.
    """
    means = np.clip(known.here.means, 0.0, 1.0)
    gain = knowledge_gradient(Joint(means, known.here.covariance), known.noise, float(known.near.sum()) / budget)
    spread, axes = np.linalg.eigh(known.everywhere.covariance)
    drawn = axes @ (np.sqrt(np.maximum(spread, 0.0)) * rng.standard_normal(len(means)))
    return np.asarray(means + gain + known.share @ drawn / math.sqrt(budget))


def worth_trying(
    episodes: Sequence[Episode], embedding: Numbers, at_most: int, models: Collection[str] = ()
) -> list[Kept]:
    """The kept meta-thoughts of the highest advantages on the most similar tasks, best first.

    Of an advantage with another model, only the meta-thought's own part counts.

    Args:
        episodes: from old to new.
        embedding: of the new task, of length 1.
        at_most: how many to return, at least 0.
        models: of the new run; empty where they are not known.
    """
    best: dict[str, tuple[float, Kept]] = {}
    keeping = [episode for episode in episodes if episode.kept]
    nears = similar(np.array([episode.embedding @ embedding for episode in keeping])).tolist()
    for episode, near in zip(keeping, nears, strict=True):
        for kept in episode.kept:
            is_own = not kept.model or not models or kept.model in models
            share = 1.0 if is_own else THOUGHT / (THOUGHT + PAIR)
            key, score = key_of(kept.mindset, kept.strategy), near * kept.advantage * share
            if score > best.get(key, (0.0, kept))[0]:
                best[key] = (score, kept)
    ranked = sorted(best.values(), key=lambda scored: -scored[0])
    return [kept for _, kept in ranked[:at_most]]


def most_tried(episodes: Sequence[Episode], near: Numbers) -> list[ArmKey]:
    """The arms that are compared: those with most evidence on similar tasks, at most `MOST_ARMS`.

    Args:
        episodes: from old to new.
        near: how much each of them counts as similar, in [0, 1], shape (runs,).
    """
    evidence: defaultdict[str, float] = defaultdict(float)
    for episode, weight in zip(episodes, near.tolist(), strict=True):
        for key, record in episode.records.items():
            evidence[key] += (weight + ELSEWHERE) * effective_count(record.pulls, WITHIN_RUN)
    return [ArmKey.of(key) for key in sorted(evidence, key=lambda key: -evidence[key])[:MOST_ARMS]]


def _faded(weight: Numbers, evidence: Evidence, half_life: float) -> Numbers:
    """The factor of each run's weight by its age, in (0, 1].

    Args:
        weight: how much each run counts, shape (runs,).
        evidence: of the runs.
        half_life: rewards after which an older one counts for half.
    """
    return np.asarray(0.5 ** (_rewards_since(weight, evidence) / half_life))


def _trusted(weight: Numbers, evidence: Evidence, cells: Whole) -> Numbers:
    """The factor of each run's weight in (0, 1]: below 1 for runs that newer ones contradict.

    Newer evidence is compared with all older evidence, split at each of `_splits`. Rewards are taken for right or wrong
    answers, unless they lie closer together. An arm's differences in all its cells are pooled (Mantel and Haenszel
    1959), so that neither side needs many rewards in one. The mean of the arms' squared standardised differences is
    about 1 where nothing has changed. Where it is higher than by chance, the older evidence is discounted by the square
    of the ratio: a power prior whose power falls with the conflict. The discounts of all splits are multiplied.

    Args:
        weight: how much each run counts, shape (runs,).
        evidence: of the runs.
        cells: what is comparable: a number from 0 for each observation, whose remainder by the number of arms is the
            arm.
    """
    counts = weight[evidence.runs] * evidence.counts
    since = _rewards_since(weight, evidence)
    age = since[evidence.runs]
    arms = len(evidence.arms)
    length = int(cells.max()) // arms * arms + arms
    known, total, squares = weighted_sums(evidence, weight, cells, length)
    shared = (total + 1) / (known + 2)
    exact = shared * (1 - shared)
    freedom = np.maximum(known - 1, 0.0)
    narrower = (EXACT_FIRST + within(known, total, squares).sum()) / (EXACT_FIRST + (freedom * exact).sum())
    noise = np.maximum(SMALLEST_VARIANCE, exact * min(1.0, NARROW * float(narrower)))
    trusted = np.ones(len(weight))
    for split in _splits(float(since[0])):
        newer = counts * (age <= split)
        new, earned = np.bincount(cells, newer, length), np.bincount(cells, newer * evidence.means, length)
        compared = new * (known - new) / np.maximum(known, SMALLEST_VARIANCE)
        difference = earned - new * total / np.maximum(known, SMALLEST_VARIANCE)
        each = [values.reshape(-1, arms).sum(axis=0) for values in (compared, difference, compared * noise)]
        pooled, differences, variances = (values[each[0] > LEAST_COMPARED] for values in each)
        if len(pooled):
            conflict = float(np.mean(np.square(differences) / variances))
            by_chance = 1 + BEYOND_CHANCE * math.sqrt(2 / len(pooled))
            trusted[since > split] *= min(1.0, (by_chance / max(conflict, 1e-9)) ** 2)
    return trusted


def _splits(rewards: float) -> list[float]:
    """Where old evidence ends: `NEWEST`, twice as many and so on from either end, in rewards from the newest on."""
    half = [NEWEST * 2**power for power in range(64) if NEWEST * 2 ** (power + 1) <= rewards]
    return sorted({*half, *(rewards - split for split in half)})


def _rewards_since(weight: Numbers, evidence: Evidence) -> Numbers:
    """How many rewards count from each run on, its own included, shape (runs,)."""
    counts = np.bincount(evidence.runs, weight[evidence.runs] * evidence.counts, len(weight))
    return np.asarray(np.cumsum(counts[::-1])[::-1])
