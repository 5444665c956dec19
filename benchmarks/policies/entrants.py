"""The entrants of the contest: policies, uniform choice, searches with second looks, and TreeQuest's AB-MCTS-A."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple, Protocol

import numpy as np

from benchmarks.policies.landscapes import ARMS, Play, Task, chosen_qualities, play
from benchmarks.policies.max_ucb import MaxUCB
from benchmarks.policies.second_looks import Answer, Drawn, sample, sample_and_confirm
from benchmarks.policies.successive_halving import SuccessiveHalving
from benchmarks.policies.thompson import Thompson
from metascale.bandits import POLICIES, Policy
from metascale.budget.limits import evolution_due
from metascale.choice.second_look import SAMPLE_CALLS
from metascale.evals.policies import entrants as replays
from metascale.evolution import by_front, by_ucb, making_room, room, with_class_prior
from metascale.pool.admission import PoolArm
from metascale.settings import MetaScaleSettings

ALL_POLICIES: dict[str, Callable[..., Policy]] = {
    **POLICIES,
    "thompson": Thompson,
    "max_ucb": MaxUCB,
    "successive_halving": SuccessiveHalving,
}
"""The policies of the package, and those that neither the paper nor a recording favours."""

ANYTIME = (*replays.ANYTIME, MaxUCB)
"""Policies that ignore how much of the budget is left: the first pulls of a long run are a short run."""

EvolutionName = Literal["off", "gated", "always"]
EVOLUTION_CALLS = 1
"""Calls of one evolution."""

TREEQUEST_MISSING = "it needs TreeQuest: pip install 'metascale[bench]'"


class Outcome(NamedTuple):
    """The result of an entrant on one task.

    Attributes:
        qualities: of the chosen answer in [0, 1], for each budget.
        seconds: time to decide on one pull, on average at the largest budget; None where it was not measured.
    """

    qualities: list[float]
    seconds: float | None = None


class Entrant(Protocol):
    """Plays tasks."""

    def enter(self, task: Task, budgets: Sequence[int], batch_size: int) -> Outcome:
        """Play one task once for each budget of pulls, which increase; `batch_size` pulls are planned at a time."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Arms drawn uniformly at random with replacement."""

    def enter(self, task: Task, budgets: Sequence[int], batch_size: int) -> Outcome:  # noqa: ARG002
        """Play; see `Entrant.enter`."""
        return Outcome(chosen_qualities(task, task.uniform(budgets[-1]), budgets))


@dataclass(frozen=True)
class Bandit:
    """A policy that takes the answer with the highest reward.

    Attributes:
        policy: the policy.
    """

    policy: Policy

    def enter(self, task: Task, budgets: Sequence[int], batch_size: int) -> Outcome:
        """Play; see `Entrant.enter`. An anytime policy plays once for all budgets if each ends with a batch."""
        if isinstance(self.policy, ANYTIME) and all(budget % batch_size == 0 for budget in budgets[:-1]):
            once = play(self.policy, task, budgets[-1], batch_size)
            return Outcome(chosen_qualities(task, once.arms, budgets), once.seconds / budgets[-1])
        plays = [play(self.policy, task, budget, batch_size) for budget in budgets]
        qualities = [chosen_qualities(task, one.arms, [len(one.arms)])[0] for one in plays]
        return Outcome(qualities, plays[-1].seconds / budgets[-1])


@dataclass(frozen=True)
class Heredity:
    """What children are like: the mean of the best parent, plus `delta`, plus `sigma` times a standard normal.

    Attributes:
        delta: in units of quality.
        sigma: at least 0.
    """

    delta: float
    sigma: float


@dataclass(frozen=True)
class Search:
    """A policy with second looks, with evolution, or both; a budget of n pulls means the calls that n pulls cost.

    Attributes:
        policy: the policy.
        looks: whether some calls are kept for second looks.
        evolution: as the setting of this name: never, at every interval, or where the gate of `metascale.evolution`
            expects a gain.
        heredity: what children are like; None where evolution is off.
    """

    policy: Policy
    looks: bool = True
    evolution: EvolutionName = "off"
    heredity: Heredity | None = None

    def enter(self, task: Task, budgets: Sequence[int], batch_size: int) -> Outcome:
        """Play; see `Entrant.enter`."""
        return Outcome([self._answer(task, SAMPLE_CALLS * budget, batch_size).quality for budget in budgets])

    def _answer(self, task: Task, calls: int, batch_size: int) -> Answer:
        run = _Run(self, task, calls // SAMPLE_CALLS)
        return sample_and_confirm(run.draw, calls, batch_size)[0] if self.looks else sample(run.draw, calls, batch_size)


class _Run:
    """One play of a search, with a pool like the graph's."""

    def __init__(self, search: Search, task: Task, budget: int) -> None:
        self.search, self.task, self.rng = search, task, task.generator()
        self.settings = MetaScaleSettings(budget=budget, evolution=search.evolution, operators="combine")
        self.pool = [PoolArm() for _ in task.arms]
        self.rounds = self.evolved_at = 0

    def draw(self, size: int, left: int) -> Drawn:
        """A round of answers, after an evolution where one is due."""
        calls = SAMPLE_CALLS * left
        samples_left = (calls - EVOLUTION_CALLS) // SAMPLE_CALLS
        is_due = evolution_due(
            self.settings, self.pool, rounds=self.rounds, evolved_at=self.evolved_at, samples_left=samples_left
        )
        if is_due and self.search.heredity:
            self._evolve(self.search.heredity, samples_left)
            left = samples_left
        active = [index for index, member in enumerate(self.pool) if not member.retired]
        seen = with_class_prior(self.pool) if self.search.evolution == "gated" else self.pool
        plan = self.search.policy.plan([seen[index] for index in active], min(size, left), self.rng, left=left)
        self.rounds += 1
        return Drawn([self._pull(active[place]) for place in plan], EVOLUTION_CALLS if is_due else 0)

    def _pull(self, arm: int) -> Answer:
        member = self.pool[arm]
        pull, reward = member.pulls, float(self.task.reward[arm, member.pulls])
        self.pool[arm] = replace(member, pulls=pull + 1, rewards=(*member.rewards, reward))
        answer = Answer(float(self.task.quality[arm, pull]), lambda: None, [reward])
        answer.judge = partial(_look_again, self.task, arm, pull, answer)
        return answer

    def _evolve(self, heredity: Heredity, samples_left: int) -> None:
        settings = self.settings
        is_paper = settings.evolution == "always"
        ranked = by_ucb(self.pool, settings.beta) if is_paper else by_front(self.pool)
        parents = tuple(ranked[: settings.parents])
        count = min(settings.children, samples_left, room(self.pool, settings.max_pool))
        for index in making_room(self.pool, count, settings.max_pool):
            self.pool[index] = replace(self.pool[index], retired=True)
        for _ in range(count):
            self.task = self.task.born(parents, heredity.delta, heredity.sigma)
            self.pool.append(PoolArm(parents=parents, operator="combine"))
        self.evolved_at = self.rounds


def _look_again(task: Task, arm: int, pull: int, answer: Answer) -> float:
    return task.look(arm, pull, len(answer.scores))


@dataclass(frozen=True)
class ABMCTSA:
    """AB-MCTS-A (Inoue et al. 2025, arXiv 2503.04412) of the package TreeQuest, through its `ask` and `tell`.

    It plays one pull at a time, whatever the batch. Its tree refines answers, which landscapes do not have: refining an
    answer pulls again.

    Attributes:
        one_action: False: each arm is an action, wherever in the tree. True: there is one action, "sample", which pulls
            an arm drawn uniformly at random where it goes wider at the root, and the parent's arm where it goes deeper.
    """

    one_action: bool = False

    def enter(self, task: Task, budgets: Sequence[int], batch_size: int) -> Outcome:  # noqa: ARG002
        """Play; see `Entrant.enter`."""
        once = self._play(task, budgets[-1])
        return Outcome(chosen_qualities(task, once.arms, budgets), once.seconds / budgets[-1])

    def _play(self, task: Task, budget: int) -> Play:
        np.random.seed(int(task.generator().integers(2**32)))  # noqa: NPY002  TreeQuest draws from numpy's global state
        algorithm = importlib.import_module("treequest").ABMCTSA()
        actions = ["sample"] if self.one_action else [str(arm) for arm in range(ARMS)]
        at_random = task.uniform(budget)
        state, pulled, pulls, seconds = algorithm.init_tree(), list[int](), [0] * ARMS, 0.0
        for _ in range(budget):
            begun = time.perf_counter()
            state, trial = algorithm.ask(state, actions)
            seconds += time.perf_counter() - begun
            if self.one_action:
                parent = state.tree.get_node(trial.node_to_expand).state
                arm = at_random[len(pulled)] if parent is None else parent
            else:
                arm = int(trial.action)
            reward = float(task.reward[arm, pulls[arm]])
            pulls[arm] += 1
            pulled.append(arm)
            begun = time.perf_counter()
            state = algorithm.tell(state, trial.trial_id, (arm, reward))
            seconds += time.perf_counter() - begun
        return Play(pulled, seconds)


TREEQUEST: dict[str, Entrant] = {
    "AB-MCTS-A, an action an arm": ABMCTSA(),
    "AB-MCTS-A, one action": ABMCTSA(one_action=True),
}


def bandits(names: Sequence[str] = ()) -> dict[str, Policy]:
    """The policies of these names, or all, with their default parameters; and UCB with the textbook's weight.

    Raises:
        UnknownNameError: there is no such policy.
    """
    return replays.bandits(names, ALL_POLICIES)


def treequest_is_installed() -> bool:
    """Whether the extra `bench` is there."""
    return importlib.util.find_spec("treequest") is not None
