"""The entrants of a memory's replay: each chooses arms for one question after the other, and learns from rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metascale.bandits import Policy, Prior, UpperTail
from metascale.bandits.routing import Pace
from metascale.evals.policies.matrix import Numbers
from metascale.evals.policies.replay import draw
from metascale.memory.levels import Evidence, nearest_kind, similar
from metascale.memory.recollection import WITHIN_RUN, advantages, priors_of, remembered_levels
from metascale.pool.parts import ArmKey
from metascale.stats.shrinkage import effective_count, pulled

KNOWN_LENGTH = 2.0
"""Answers that an arm's mean length over all tasks counts for beside its answers to similar tasks. Not tuned."""


@dataclass(frozen=True)
class Stream:
    """The questions of a record, and the rules of their replay.

    Attributes:
        cosines: of all pairs of questions, shape (questions, questions).
        kinds: the kind of each question.
        marks: the recorded samples of each question and arm, each in [0, 1]; an arm may have none.
        samples: drawn for each question, at least 1.
        seed: seed of orders, samples, noise and policies.
        costs: what each recorded sample cost, shaped like `marks`; empty without prices.
        asking: what reading each question costs with each arm, shape (questions, arms); empty without prices.
    """

    cosines: NDArray[np.float32]
    kinds: Sequence[str]
    marks: Sequence[Sequence[Numbers]]
    samples: int
    seed: int
    costs: Sequence[Sequence[Numbers]]
    asking: Numbers

    @property
    def arms(self) -> int:
        """The number of arms."""
        return len(self.marks[0])


@dataclass(frozen=True)
class Turn:
    """One question of a stream.

    Attributes:
        question: its number.
        rewards: of each arm's samples, in the order of drawing.
        costs: of each arm's samples in the same order; empty without prices.
        rng: of the entrant.
    """

    question: int
    rewards: Sequence[Sequence[float]]
    costs: Sequence[Sequence[float]]
    rng: np.random.Generator


class Learner(Protocol):
    """Chooses arms for a stream of questions, and learns from their rewards."""

    def choose(self, turn: Turn) -> list[int]:
        """Choose the arms to draw from, in order, and learn from the rewards of these samples only."""
        ...


class Remembered:
    """What a memory holds of a stream so far: the arrays of `Evidence`, which grow in place."""

    def __init__(self, stream: Stream, most: int) -> None:
        """Make room.

        Args:
            stream: the stream.
            most: runs to hold.
        """
        self.stream = stream
        self.arms = [ArmKey(str(arm)) for arm in range(stream.arms)]
        self.questions, self.kinds = np.zeros((2, most), dtype=np.int64)
        self.runs, self.pulled = np.zeros((2, most * stream.samples), dtype=np.int64)
        self.values = np.zeros((4, most * stream.samples))
        self.length = self.observed = self.found = 0

    def cosines(self, question: int) -> Numbers:
        """Of a question and the remembered ones."""
        return np.asarray(self.stream.cosines[question, self.questions[: self.length]], dtype=np.float64)

    def evidence(self) -> Evidence:
        """All rewards so far."""
        counts, means, variances, _ = self.values[:, : self.observed]
        kinds, runs, pulls = self.kinds[: self.length], self.runs[: self.observed], self.pulled[: self.observed]
        return Evidence(self.arms, kinds, runs, pulls, counts, means, variances)

    def lengths(self, near: Numbers) -> Numbers:
        """The expected cost of each arm's answer, shape (arms,), from similar tasks and drawn towards all tasks."""
        arms, runs, pulls = self.stream.arms, self.runs[: self.observed], self.pulled[: self.observed]
        costs, weights = self.values[3, : self.observed], near[runs]
        every = float(costs.mean()) if self.observed else 0.0
        tried, total = _binned(pulls, np.ones(len(pulls)), arms), _binned(pulls, costs, arms)
        overall = pulled(total / np.maximum(tried, 1), tried, every, 1.0)
        known, cost = _binned(pulls, weights, arms), _binned(pulls, weights * costs, arms)
        return pulled(cost / np.maximum(known, 1e-12), known, overall, KNOWN_LENGTH)

    def add(self, question: int, earned: dict[int, list[float]], costs: dict[int, float]) -> None:
        """Remember a run.

        Args:
            question: its question.
            earned: the rewards of its arms.
            costs: the mean cost of their answers.
        """
        nearest = nearest_kind(self.cosines(question))
        self.questions[self.length] = question
        self.kinds[self.length] = self.found if nearest is None else self.kinds[nearest]
        self.found += nearest is None
        for arm, rewards in earned.items():
            count = effective_count(float(len(rewards)), WITHIN_RUN)
            self.runs[self.observed], self.pulled[self.observed] = self.length, arm
            self.values[:, self.observed] = count, np.mean(rewards), np.var(rewards), costs.get(arm, 0.0)
            self.observed += 1
        self.length += 1


class Remembering:
    """A memory: with one sample it is a router; with more, `UpperTail` starts with its priors.

    A `pace` holds the cost of all questions together to a limit.
    """

    policy: Policy = UpperTail()

    def __init__(self, stream: Stream, misled: Sequence[tuple[int, int, float]] = (), pace: Pace | None = None) -> None:
        """Start with wrong runs, each of a question, an arm and a reward."""
        self.stream, self.pace = stream, pace
        self.memory = Remembered(stream, len(stream.kinds) + len(misled))
        for question, arm, reward in misled:
            self.memory.add(question, {arm: [reward]}, {})

    def choose(self, turn: Turn) -> list[int]:
        """Choose by the posterior; see `Learner.choose`."""
        chosen = self._chosen(turn)
        earned = {arm: list(turn.rewards[arm][: chosen.count(arm)]) for arm in dict.fromkeys(chosen)}
        costs = {arm: float(np.mean(turn.costs[arm][: len(own)])) for arm, own in earned.items()} if turn.costs else {}
        self.memory.add(turn.question, earned, costs)
        return chosen

    def _chosen(self, turn: Turn) -> list[int]:
        samples, arms = self.stream.samples, self.stream.arms
        if not self.memory.length:
            return _shuffled(self.policy, turn.rewards, [None] * arms, samples, turn.rng)
        near = similar(self.memory.cosines(turn.question))
        known = remembered_levels(self.memory.evidence(), near)
        values = advantages(known, budget=samples, rng=turn.rng)
        if samples > 1:
            return _shuffled(self.policy, turn.rewards, priors_of(known, values, arms), samples, turn.rng)
        values = np.where([len(own) > 0 for own in turn.rewards], values, -np.inf)
        if self.pace is None:
            return [int(np.argmax(values + 1e-9 * turn.rng.random(arms)))]
        arm = self.pace.choose(values, self.stream.asking[turn.question] + self.memory.lengths(near))
        self.pace.spend(float(self.stream.asking[turn.question][arm]) + turn.costs[arm][0])
        return [arm]


@dataclass(frozen=True)
class Forgetting:
    """`UpperTail` without a memory: it starts anew for every question."""

    stream: Stream

    def choose(self, turn: Turn) -> list[int]:
        """Choose by policy; see `Learner.choose`."""
        return _shuffled(UpperTail(), turn.rewards, [None] * self.stream.arms, self.stream.samples, turn.rng)


@dataclass(frozen=True)
class Always:
    """All samples from one arm: best-of-N; from others only where a question has no more of it.

    Attributes:
        stream: the stream.
        arm: the arm.
    """

    stream: Stream
    arm: int

    def choose(self, turn: Turn) -> list[int]:
        """Choose the arm; see `Learner.choose`."""
        own = [self.arm] * min(self.stream.samples, len(turn.rewards[self.arm]))
        return own or [next(arm for arm, rewards in enumerate(turn.rewards) if rewards)]


class ToldTheKind:
    """Thompson sampling that knows the kind of every question, which a memory has to find out by itself.

    The posterior of an arm on a kind is a Beta distribution. It begins at the arm's rate over all kinds, which is drawn
    too, moved by how hard this kind was for all arms. Draws keep half of the deviation, since a whole one explores too
    much. Form and constants were chosen in hindsight on the record of ten models, in its favour.

    A `pace` holds the cost of all questions together to a limit.
    """

    STRENGTH = 16.0
    """How many rewards the beginning is worth."""
    HARDNESS = 4.0
    """How many rewards on a kind the assumption that it is as hard as others is worth."""
    WIDTH = 0.5
    """The part of a posterior's deviation that a draw keeps."""
    FIRST = 10
    """Arms with fewer rewards are asked before all others, at any price."""

    def __init__(self, stream: Stream, pace: Pace | None = None) -> None:
        """Know nothing of the arms."""
        self.stream, self.pace = stream, pace
        self.overall = np.ones((stream.arms, 2))
        self.counts = {kind: np.zeros((stream.arms, 2)) for kind in stream.kinds}
        self.surplus = {kind: np.zeros(2) for kind in stream.kinds}
        self.paid = {kind: np.zeros((stream.arms, 2)) for kind in stream.kinds}

    def choose(self, turn: Turn) -> list[int]:
        """Draw one posterior for every sample; see `Learner.choose`."""
        kind, chosen = self.stream.kinds[turn.question], list[int]()
        for _ in range(min(self.stream.samples, sum(len(own) for own in turn.rewards))):
            dry = [chosen.count(arm) >= len(own) for arm, own in enumerate(turn.rewards)]
            values = np.where(dry, -np.inf, self._drawn(kind, turn.rng))
            fewest = np.where(dry, np.inf, self.overall.sum(axis=1) - 2)
            arm = self._paced(self.pace, values, turn) if self.pace is not None else int(np.argmax(values))
            arm = int(np.argmin(fewest)) if fewest.min() < self.FIRST else arm
            self._pay(kind, arm, turn)
            self._learn(kind, arm, turn.rewards[arm][chosen.count(arm)])
            chosen.append(arm)
        return chosen

    def _drawn(self, kind: str, rng: np.random.Generator) -> Numbers:
        rates = np.clip(self._around(self.overall, rng), 0.0, 1.0)
        total, count = self.surplus[kind]
        start = np.clip(rates + total / (count + self.HARDNESS) * (1 - np.abs(2 * rates - 1)), 0.02, 0.98)
        return self._around(self.counts[kind] + self.STRENGTH * np.stack([start, 1 - start], axis=1), rng)

    def _around(self, counts: Numbers, rng: np.random.Generator) -> Numbers:
        totals = counts.sum(axis=1)
        means = counts[:, 0] / totals
        deviations = np.sqrt(means * (1 - means) / (totals + 1))
        return np.asarray(means + self.WIDTH * deviations * rng.standard_normal(len(means)))

    def _learn(self, kind: str, arm: int, reward: float) -> None:
        self.counts[kind][arm] += (reward, 1 - reward)
        self.overall[arm] += (reward, 1 - reward)
        self.surplus[kind] += (reward - self.overall[arm, 0] / self.overall[arm].sum(), 1)

    def _paced(self, pace: Pace, values: Numbers, turn: Turn) -> int:
        kind, asking = self.stream.kinds[turn.question], self.stream.asking[turn.question]
        totals, tried = sum(self.paid.values(), np.zeros((self.stream.arms, 2))).T
        every = float(totals.sum() / max(tried.sum(), 1))
        overall = pulled(totals / np.maximum(tried, 1), tried, every, 1.0)
        own, known = self.paid[kind].T
        expected = asking + pulled(own / np.maximum(known, 1), known, overall, KNOWN_LENGTH)
        return pace.choose(values, expected)

    def _pay(self, kind: str, arm: int, turn: Turn) -> None:
        if self.pace is not None:
            self.pace.spend(float(self.stream.asking[turn.question, arm]) + turn.costs[arm][0])
            self.paid[kind][arm] += (turn.costs[arm][0], 1)


def _binned(pulls: NDArray[np.int64], weights: Numbers, arms: int) -> Numbers:
    return np.bincount(pulls, weights, arms).astype(np.float64)


def _shuffled(
    policy: Policy,
    rewards: Sequence[Sequence[float]],
    priors: Sequence[Prior | None],
    samples: int,
    rng: np.random.Generator,
) -> list[int]:
    """Draw from the arms in random order, so that no arm gains from its position."""
    order = [arm for arm in rng.permutation(len(rewards)).tolist() if rewards[arm]]
    drawn = draw(policy, [rewards[arm] for arm in order], samples, rng, priors=[priors[arm] for arm in order])
    return [order[place] for place in drawn]
