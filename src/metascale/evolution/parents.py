"""Which arms may be parents, in the order of preference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metascale.bandits import ucb_scores
from metascale.bandits.estimates import upper_tails
from metascale.evolution.children import with_class_prior
from metascale.pool.admission import PoolArm, similarity

REMARKS_READ = 4
"""How many of an arm's latest remarks are read. Not tuned."""
SAME_KIND = 0.5
"""Similarity from which two critiques count as one kind. Not tuned."""


def by_ucb(members: Sequence[PoolArm], beta: float) -> list[int]:
    """The arms that may be parents, highest UCB first (paper, section 3, phase 3).

    Args:
        members: the pool.
        beta: weight of exploration in the UCB.

    Returns:
        Indices into `members`.
    """
    ranked = np.argsort(-ucb_scores(members, beta), kind="stable")
    return [int(index) for index in ranked if may_breed(members[index])]


def by_front(members: Sequence[PoolArm]) -> list[int]:
    """The arms that may be parents: a front of different merits first, then the rest by upper tail.

    An arm has a merit for each kind of critique for which its answer has the highest reward, and one for the highest
    reward of these arms. A kind whose best answer is below the mean of all rewards is no merit. The order begins with
    the highest upper tail. Then comes the arm that adds the most merits to those before it, ties by upper tail, until
    no arm adds any. So parents differ in their strengths, as on GEPA's Pareto front (arXiv 2507.19457), whose merits
    are instances instead of kinds of critique. Children have the prior of their class (`with_class_prior`), so that a
    single lucky answer does not make a child a parent.

    Args:
        members: the pool.

    Returns:
        Indices into `members`.
    """
    waiting = [index for index, member in enumerate(members) if may_breed(member)]
    if not waiting:
        return []
    tails = upper_tails(with_class_prior(members))
    waiting.sort(key=lambda index: -tails[index])
    merits = _merits(members, waiting)
    order = [waiting.pop(0)]
    covered = set(merits[order[0]])
    while waiting:
        gains = [len(merits[index] - covered) for index in waiting]
        if max(gains) == 0:
            break
        chosen = waiting.pop(gains.index(max(gains)))
        covered |= merits[chosen]
        order.append(chosen)
    return order + waiting


def may_breed(member: PoolArm) -> bool:
    """Whether an arm may be a parent: it has a reward, says how to think, and is not retired."""
    return bool(member.rewards) and member.breeds and not member.is_blank and not member.retired


def _merits(members: Sequence[PoolArm], places: Sequence[int]) -> dict[int, set[int]]:
    """The merits of each arm: numbers of kinds of critique, and -1 for the highest reward."""
    everything = [reward for member in members for reward in member.rewards]
    mean = sum(everything) / len(everything)
    top = max(max(members[index].rewards) for index in places)
    kinds: list[str] = []
    best: list[dict[int, float]] = []
    for index in places:
        for remark in members[index].remarks[-REMARKS_READ:]:
            if remark.reward is None:
                continue
            kind = next((k for k, known in enumerate(kinds) if similarity(known, remark.critique) >= SAME_KIND), None)
            if kind is None:
                kind = len(kinds)
                kinds.append(remark.critique)
                best.append({})
            best[kind][index] = max(remark.reward, best[kind].get(index, 0.0))
    found: dict[int, set[int]] = {index: {-1} if max(members[index].rewards) == top else set() for index in places}
    for kind, earned in enumerate(best):
        highest = max(earned.values())
        for index, reward in earned.items():
            if reward == highest >= mean:
                found[index].add(kind)
    return found
