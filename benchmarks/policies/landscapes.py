"""Landscapes: simulated tasks with hidden qualities, to compare policies on. SIMULATION, no language model.

A task has arms; a sample of an arm has a hidden quality q in [0, 1], and a judge who sees q through noise gives it the
reward r in [0, 1]. Policies see rewards; their score is the quality of the answer they finally choose. The j-th pull of
an arm has the same quality and reward for every policy (common random numbers), so policies differ only by their
choices.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metascale.bandits import Arm, Policy

Numbers = NDArray[np.float64]

ARMS = 8
"""Arms of every task: the pool of the paper."""
GRID = np.linspace(0, 1, 201)
"""Grid of qualities for the oracle's computations."""
BELOW = np.linspace(-6, 6, 2401)
NORMAL_CDF = np.array([NormalDist().cdf(z) for z in BELOW.tolist()])

_TASK, _UNIFORM, _POLICY, _LOOKS, _BIRTH = range(5)


@dataclass(frozen=True)
class Landscape(ABC):
    """A kind of task.

    Attributes:
        name: its name in tables.
        noise: standard deviation of the judge's normal noise, at least 0.
        points: values that a reward can take, equally spaced from 0 to 1; None for any value.
    """

    name: str
    noise: float
    points: int | None = None

    @abstractmethod
    def arms(self, rng: np.random.Generator) -> Numbers:
        """Draw the arms of a task: their parameters, shape (ARMS, parameters)."""

    @abstractmethod
    def qualities(self, arms: Numbers, rng: np.random.Generator, depth: int) -> Numbers:
        """Draw the qualities in [0, 1] of the first `depth` pulls of each arm, shape (ARMS, depth)."""

    @abstractmethod
    def masses(self, arms: Numbers) -> Numbers:
        """The probability that a sample's quality is nearest to each point of `GRID`.

        Args:
            arms: parameters, shape (..., parameters).

        Returns:
            Shape (..., len(GRID)); sums to 1.
        """

    @abstractmethod
    def child(self, parents: Numbers, change: float) -> Numbers:
        """The parameters of a child of some arms: those of the best of them, its mean moved by `change`.

        Args:
            parents: parameters, shape (parents, parameters), at least one.
            change: of the mean quality.

        Returns:
            Shape (parameters,).
        """

    def centre(self, quality: Numbers) -> Numbers:
        """The reward without noise, by quality."""
        return quality

    def judged(self, quality: Numbers, rng: np.random.Generator) -> Numbers:
        """The judge's rewards of samples of the given qualities, in [0, 1]."""
        reward = np.clip(self.centre(quality) + self.noise * rng.standard_normal(quality.shape), 0, 1)
        return reward if self.points is None else np.round(reward * (self.points - 1)) / (self.points - 1)


@dataclass(frozen=True)
class Normal(Landscape):
    """Qualities normal within an arm and clipped to [0, 1].

    Attributes:
        spread: standard deviation of the arms' means around 0.5, at least 0.
        low: smallest standard deviation of an arm, above 0; deviations are uniform.
        high: the largest.
    """

    spread: float = 0.0
    low: float = 0.1
    high: float = 0.1

    def arms(self, rng: np.random.Generator) -> Numbers:
        """Draw means and standard deviations; see `Landscape.arms`."""
        means = 0.5 + self.spread * rng.standard_normal(ARMS)
        return np.stack([means, rng.uniform(self.low, self.high, ARMS)], axis=1)

    def qualities(self, arms: Numbers, rng: np.random.Generator, depth: int) -> Numbers:
        """Draw qualities; see `Landscape.qualities`."""
        return np.clip(arms[:, :1] + arms[:, 1:] * rng.standard_normal((len(arms), depth)), 0, 1)

    def child(self, parents: Numbers, change: float) -> Numbers:
        """Move the mean and keep the deviation; see `Landscape.child`."""
        mean, deviation = parents[np.argmax(parents[:, 0])]
        return np.array([mean + change, deviation])

    def masses(self, arms: Numbers) -> Numbers:
        """Clipped values lie at the ends; see `Landscape.masses`."""
        edges = (GRID[1:] + GRID[:-1]) / 2
        below = _normal_cdf((edges - arms[..., :1]) / arms[..., 1:])
        return np.diff(below, axis=-1, prepend=0, append=1)


@dataclass(frozen=True)
class RightOrWrong(Landscape):
    """Samples that are right (quality 1) or wrong (0), at a rate drawn from Beta(1, 3) for each arm.

    Attributes:
        wrong: the reward of a wrong sample without noise.
        gap: the lead of a right sample's.
    """

    wrong: float = 0.35
    gap: float = 0.3

    def arms(self, rng: np.random.Generator) -> Numbers:
        """Draw rates; see `Landscape.arms`."""
        return rng.beta(1, 3, (ARMS, 1))

    def qualities(self, arms: Numbers, rng: np.random.Generator, depth: int) -> Numbers:
        """Draw right and wrong; see `Landscape.qualities`."""
        return (rng.random((len(arms), depth)) < arms).astype(np.float64)

    def child(self, parents: Numbers, change: float) -> Numbers:
        """Move the rate, within [0, 1]; see `Landscape.child`."""
        rate: Numbers = np.clip(parents.max(axis=0) + change, 0.0, 1.0)
        return rate

    def masses(self, arms: Numbers) -> Numbers:
        """Only 0 and 1 occur; see `Landscape.masses`."""
        masses = np.zeros((*arms.shape[:-1], len(GRID)))
        masses[..., 0], masses[..., -1] = 1 - arms[..., 0], arms[..., 0]
        return masses

    def centre(self, quality: Numbers) -> Numbers:
        """A right sample's reward is `gap` above a wrong one's."""
        return self.wrong + self.gap * quality


LANDSCAPES: tuple[Landscape, ...] = (
    Normal("S1 close means, exact judge", 0.03, None, 0.03, 0.10, 0.14),
    Normal("S2 far means, exact judge", 0.03, None, 0.12, 0.05, 0.15),
    Normal("S3 close means, noisy judge", 0.15, None, 0.03, 0.10, 0.14),
    Normal("S4 far means, noisy judge", 0.15, None, 0.12, 0.05, 0.15),
    Normal("S5 equal means, unequal spreads", 0.03, None, 0.0, 0.02, 0.25),
    Normal("S6 far means, 11-point scale", 0.08, 11, 0.12, 0.05, 0.15),
    RightOrWrong("S7 right or wrong", 0.20),
)
"""The seven landscapes. Judges range from nearly exact to as noisy as the qualities are spread (GPT-4's recorded
ratings of one text have a standard deviation of 0.08 on this scale). Arms differ in mean, in spread, in both, or
hardly; one scale is coarse, and one landscape knows only right and wrong."""


@dataclass(frozen=True)
class Task:
    """One simulated question.

    Attributes:
        landscape: the landscape it was drawn from.
        seed: its seed; the same seed gives the same task at any depth.
        arms: parameters of the arms, hidden from policies: shape (ARMS, parameters), with one more row per child.
        quality: quality of each arm's pulls in order, in [0, 1], shape (arms, depth), hidden too.
        reward: first reward of each pull, in [0, 1], shape (arms, depth).
    """

    landscape: Landscape
    seed: tuple[int, ...]
    arms: Numbers
    quality: Numbers
    reward: Numbers

    @classmethod
    def draw(cls, landscape: Landscape, seed: Sequence[int], depth: int) -> Task:
        """Draw the task of this seed, with `depth` pulls (at least 1) of each arm."""
        rng = np.random.default_rng([*seed, _TASK])
        arms = landscape.arms(rng)
        quality_rng, judge_rng = rng.spawn(2)
        quality = landscape.qualities(arms, quality_rng, depth)
        return cls(landscape, tuple(seed), arms, quality, landscape.judged(quality, judge_rng))

    def generator(self) -> np.random.Generator:
        """The policy's generator, the same for every policy."""
        return np.random.default_rng([*self.seed, _POLICY])

    def uniform(self, pulls: int) -> list[int]:
        """Arms drawn uniformly at random with replacement."""
        arms: list[int] = np.random.default_rng([*self.seed, _UNIFORM]).integers(ARMS, size=pulls).tolist()
        return arms

    def born(self, parents: Sequence[int], delta: float, sigma: float) -> Task:
        """The task with one more arm, a child whose mean is that of its best parent plus `delta + sigma * z`.

        The z of a task's n-th child is the same for every entrant.
        """
        rng = np.random.default_rng([*self.seed, _BIRTH, len(self.arms)])
        change = delta + sigma * float(rng.standard_normal())
        child = self.landscape.child(self.arms[list(parents)], change)[None]
        quality = self.landscape.qualities(child, rng, self.quality.shape[1])
        return replace(
            self,
            arms=np.concatenate([self.arms, child]),
            quality=np.concatenate([self.quality, quality]),
            reward=np.concatenate([self.reward, self.landscape.judged(quality, rng)]),
        )

    def look(self, arm: int, pull: int, number: int) -> float:
        """The `number`-th second look (from 1) of the judge at a pull, in [0, 1], the same for every entrant."""
        rng = np.random.default_rng([*self.seed, _LOOKS, arm, pull])
        return float(self.landscape.judged(np.full(number, self.quality[arm, pull]), rng)[-1])


class Play(NamedTuple):
    """The play of a policy.

    Attributes:
        arms: the pulled arms in order.
        seconds: time of the policy's decisions, without the simulation.
    """

    arms: list[int]
    seconds: float


def play(policy: Policy, task: Task, budget: int, batch_size: int = 1) -> Play:
    """Let a policy spend a budget on a task.

    Args:
        policy: any.
        task: at least `budget` deep.
        budget: pulls, at least 1.
        batch_size: pulls planned at a time, at least 1, before the rewards of any of them are known.
    """
    rng, arms, pulled = task.generator(), [Arm()] * ARMS, list[int]()
    rewards = task.reward.tolist()
    seconds = 0.0
    while len(pulled) < budget:
        left = budget - len(pulled)
        begun = time.perf_counter()
        plan = policy.plan(arms, min(batch_size, left), rng, left=left)
        seconds += time.perf_counter() - begun
        for arm in plan:
            seen = arms[arm]
            arms[arm] = Arm(seen.pulls + 1, (*seen.rewards, rewards[arm][seen.pulls]))
        pulled += plan
    return Play(pulled, seconds)


def chosen_qualities(task: Task, arms: Sequence[int], cuts: Sequence[int]) -> list[float]:
    """The quality of the answer with the highest reward after each number of pulls; ties go to the first.

    Args:
        task: the task.
        arms: the arms that were pulled, in their order.
        cuts: numbers of pulls, each in [1, len(arms)].
    """
    before = [0] * ARMS
    pulls = []
    for arm in arms:
        pulls.append(before[arm])
        before[arm] += 1
    order = np.asarray(arms)
    rewards, qualities = task.reward[order, pulls], task.quality[order, pulls]
    return [float(qualities[int(np.argmax(rewards[:cut]))]) for cut in cuts]


def oracle_arms(landscape: Landscape, arms: Numbers, cuts: Sequence[int]) -> NDArray[np.int64]:
    """The oracle's arm: the single arm with the best expected answer.

    Args:
        landscape: what the tasks were drawn from.
        arms: the arms of n tasks, shape (n, ARMS, parameters).
        cuts: numbers of pulls, each at least 1.

    Returns:
        For each number of pulls and task the arm of highest `expected_qualities`, shape (len(cuts), n).
    """
    best: NDArray[np.int64] = np.argmax(expected_qualities(landscape, arms, cuts), axis=-1)
    return best


def expected_qualities(landscape: Landscape, arms: Numbers, cuts: Sequence[int]) -> Numbers:
    """The expected quality of the answer with the highest reward among n of one arm.

    That is the sum over rewards r of P(the highest of n is r) E[quality | r], with qualities and rewards on grids of
    201 points (rewards on the judge's own scale where it has one): exact up to their width.

    Args:
        landscape: what the arms were drawn from.
        arms: parameters, shape (..., parameters).
        cuts: numbers of pulls n, each at least 1.

    Returns:
        Shape (len(cuts), ...).
    """
    levels = np.linspace(0, 1, landscape.points or len(GRID))
    edges = (levels[1:] + levels[:-1]) / 2
    below = _normal_cdf((edges - landscape.centre(GRID)[:, None]) / max(landscape.noise, 1e-9))
    given = np.diff(below, axis=-1, prepend=0, append=1)
    masses = landscape.masses(arms)
    share = masses @ given
    mean = np.divide((masses * GRID) @ given, share, out=np.zeros_like(share), where=share > 1e-12)
    highest = np.minimum(np.cumsum(share, axis=-1), 1.0)
    return np.stack([(np.diff(highest**cut, axis=-1, prepend=0) * mean).sum(axis=-1) for cut in cuts])


def _normal_cdf(z: Numbers) -> Numbers:
    return np.asarray(np.interp(z, BELOW, NORMAL_CDF), dtype=np.float64)
