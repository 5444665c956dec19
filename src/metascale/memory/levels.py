"""What holds for all tasks and what holds for tasks like this one: one shrinking posterior on two levels.

The reward of an arm on a task is the level of its kind of task, plus the arm's part that holds for all tasks, plus its
part for this kind, plus noise. All are normal. The part for this kind is drawn towards the part for all tasks, and that
one towards the average arm: the less evidence, the more. Arms with a common model or meta-thought are alike on both
levels (`metascale.pool.parts`).

The kind of the new task is not given. Earlier runs count by the similarity of their tasks; what remains of them counts
for the level of all tasks, by the kinds that the memory has found itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metascale.pool.parts import ArmKey, likeness
from metascale.stats.shrinkage import Joint, Scale, spread_variance

Numbers = NDArray[np.float64]
Whole = NDArray[np.int64]

SQUARINGS = 3
"""A remembered task counts by the cosine similarity, squared this often: its 8th power. Ours, as `SHARES`: tuned on one
half of the 93 kinds of a record of ten models (`docs/reference/policies.md`), and on random subsets of its models and
kinds."""
SHARES = (0.70, 0.19, 0.11)
"""How the variance between the mean rewards of arms on kinds of task is split: levels of kinds, what arms have for one
kind only, and what they have for all tasks."""
NOISE = Scale(0.32, 10)
"""The deviation of one reward on tasks of one kind. Like `SPREAD`, it is a weak prior; rewards replace it."""
SPREAD = Scale(0.42, 10)
"""The deviation of the mean rewards of arms on kinds of task."""
LOCAL = 2.0
"""Rewards on similar tasks that the noise of all tasks counts for beside theirs. Ours, tuned like `SQUARINGS`."""
LEAST_NOISE = 0.05
"""The least share of the noise of all tasks that is assumed of similar ones: equal rewards do not mean no noise."""
SMALLEST_VARIANCE = 1e-5
SAME_KIND = 0.6
"""The cosine to the nearest remembered task from which a task is of its kind. Not tuned. In the record of
ten models, the nearest task of 99.9 % is of their kind."""


@dataclass(frozen=True)
class Evidence:
    """The rewards of earlier runs as arrays: n runs, and an observation for every arm that a run pulled.

    Attributes:
        arms: the arms.
        kinds: the number of each run's kind, shape (n,), from 0 without gaps that matter.
        runs: the run of each observation, shape (observations,), not decreasing.
        pulled: the index of its arm.
        counts: how many independent rewards it is worth, above 0.
        means: of its rewards, in [0, 1].
        variances: of its rewards around their mean.
    """

    arms: Sequence[ArmKey]
    kinds: Whole
    runs: Whole
    pulled: Whole
    counts: Numbers
    means: Numbers
    variances: Numbers


@dataclass(frozen=True)
class Levels:
    """The posterior of all arms' mean rewards.

    Attributes:
        here: on the new task.
        everywhere: on a task of a new kind, without the level and the parts of its kind.
        noise: variance of one reward around the arm's mean on similar tasks.
        near: weighted rewards of each arm on similar tasks, shape (arms,).
        share: what a deviation of the arms for all tasks, shape (arms,), changes on this task: a matrix, shape
            (arms, arms), near 0 where similar tasks have much evidence.
    """

    here: Joint
    everywhere: Joint
    noise: float
    near: Numbers
    share: Numbers


def similar(cosines: Numbers) -> Numbers:
    """How much a run counts for a new task, in [0, 1], by the cosines of the tasks' embeddings."""
    weights = np.clip(cosines, 0.0, 1.0)
    for _ in range(SQUARINGS):
        weights = np.square(weights)
    return np.asarray(weights)


def nearest_kind(cosines: Numbers) -> int | None:
    """The run whose kind of task a new task shares: the nearest one; None where the task is of a new kind.

    Args:
        cosines: of the embeddings of the new task and of earlier ones, shape (runs,).
    """
    if not len(cosines):
        return None
    nearest = int(np.argmax(cosines))
    return nearest if cosines[nearest] >= SAME_KIND else None


def levels(evidence: Evidence, near: Numbers, far: Numbers) -> Levels:
    """The posterior on both levels.

    Args:
        evidence: at least one observation.
        near: how much each run counts as similar, in [0, 1], shape (runs,).
        far: how much it counts for all tasks, in [0, 1], shape (runs,).
    """
    count = len(evidence.arms)
    kinds = int(evidence.kinds.max()) + 1
    cells = evidence.kinds[evidence.runs] * count + evidence.pulled
    counts, sums, squares = weighted_sums(evidence, far, cells, kinds * count)
    freedom = np.maximum(counts - 1, 0.0)
    noise = max(SMALLEST_VARIANCE, NOISE.estimate(float(within(counts, sums, squares).sum()), float(freedom.sum())))
    seen = counts > 0.5
    spread = max(SMALLEST_VARIANCE, spread_variance(sums[seen] / counts[seen], noise / counts[seen], SPREAD))
    of_kinds, of_pairs, of_arms = (share * spread for share in SHARES)
    alike = _scaled(likeness(evidence.arms), np.unique(evidence.pulled))

    overall = (float((evidence.counts * evidence.means).sum()) + 1) / (float(evidence.counts.sum()) + 2)
    start = Joint(np.full(count, overall), alike * of_arms + spread)
    everywhere = _everywhere(
        start, counts.reshape(kinds, count), sums.reshape(kinds, count), (noise, of_pairs, of_kinds)
    )

    known, total, squared = weighted_sums(evidence, near, evidence.pulled, count)
    deviations = float(within(known, total, squared).sum())
    local = (LOCAL * noise + deviations) / (LOCAL + float(np.maximum(known - 1, 0.0).sum()))
    local = max(local, LEAST_NOISE * noise)
    before = Joint(everywhere.means, everywhere.covariance + of_kinds + alike * of_pairs)
    here = before.given(np.diag(known / local), (total - known * before.means) / local)
    share = np.linalg.solve(before.covariance, here.covariance).T
    return Levels(here, everywhere, local, known, np.asarray(share, dtype=np.float64))


def _scaled(alike: Numbers, tried: Whole) -> Numbers:
    """The likeness of arms, scaled so that two tried arms differ by as much as two independent ones on average."""
    count = len(tried)
    if count < 2:
        return alike
    apart = 1 - (float(alike[np.ix_(tried, tried)].sum()) - count) / (count * (count - 1))
    return alike / apart


def _everywhere(start: Joint, counts: Numbers, sums: Numbers, variances: tuple[float, float, float]) -> Joint:
    """The arms' means over all kinds of task, by generalised least squares with random kinds.

    The rewards of one kind share its level, so only differences between arms within a kind teach much. Without that,
    an arm that is asked on hard kinds would look weak.

    Args:
        start: before any observation.
        counts: of each kind and arm, shape (kinds, arms).
        sums: of the rewards.
        variances: of one reward, of an arm's part for one kind, and of a kind's level.
    """
    noise, of_pairs, of_kinds = variances
    seen = counts > 1e-6
    weight = np.where(seen, 1 / (of_pairs + noise / np.where(seen, counts, 1.0)), 0.0)
    gap = np.where(seen, sums / np.where(seen, counts, 1.0) - start.means, 0.0) * weight
    of_level = 1 / (1 / of_kinds + weight.sum(axis=1))
    precision = np.diag(weight.sum(axis=0)) - (weight * of_level[:, None]).T @ weight
    return start.given(precision, gap.sum(axis=0) - (gap.sum(axis=1) * of_level) @ weight)


def weighted_sums(evidence: Evidence, weights: Numbers, cells: Whole, length: int) -> tuple[Numbers, Numbers, Numbers]:
    """Weighted counts, sums and sums of squares of the rewards in each cell, each of shape (length,)."""
    counts = weights[evidence.runs] * evidence.counts
    sums = counts * evidence.means
    squares = counts * (evidence.variances + np.square(evidence.means))
    return _binned(cells, counts, length), _binned(cells, sums, length), _binned(cells, squares, length)


def _binned(cells: Whole, weights: Numbers, length: int) -> Numbers:
    return np.bincount(cells, weights, length).astype(np.float64)


def within(counts: Numbers, sums: Numbers, squares: Numbers) -> Numbers:
    """Sums of squared deviations from the means of the cells."""
    means = sums / np.maximum(counts, 1e-12)
    return np.asarray(np.maximum(0.0, squares - sums * means))
