"""Who takes part in the comparison of policies: ours, uniform choice, second looks, and TreeQuest's AB-MCTS-A."""

from __future__ import annotations

import importlib
import importlib.util
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from metascale.bandits import POLICIES, UCB, Arm, MaxUCB, Policy, RoundRobin, Single, Softmax
from metascale.confirmation import SAMPLE_CALLS
from metascale.errors import UnknownNameError
from metascale.evals.landscapes import ARMS, Play, Task, chosen_qualities, play
from metascale.evals.second_looks import Answer, sample_and_confirm

ANYTIME = (UCB, Softmax, RoundRobin, MaxUCB, Single)
"""Policies that do not ask how much is left: a long run of theirs begins like a short one."""

TREEQUEST_MISSING = "it needs TreeQuest: pip install 'metascale[bench]'"


class Outcome(NamedTuple):
    """What an entrant got on one task.

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
        """Play; see `Entrant.enter`. An anytime policy plays once, where all budgets end with a batch."""
        if isinstance(self.policy, ANYTIME) and all(budget % batch_size == 0 for budget in budgets[:-1]):
            once = play(self.policy, task, budgets[-1], batch_size)
            return Outcome(chosen_qualities(task, once.arms, budgets), once.seconds / budgets[-1])
        plays = [play(self.policy, task, budget, batch_size) for budget in budgets]
        qualities = [chosen_qualities(task, one.arms, [len(one.arms)])[0] for one in plays]
        return Outcome(qualities, plays[-1].seconds / budgets[-1])


@dataclass(frozen=True)
class Confirmed:
    """A policy that keeps calls for second looks; a budget of n pulls stands for the calls that n pulls cost.

    Attributes:
        policy: the policy.
    """

    policy: Policy

    def enter(self, task: Task, budgets: Sequence[int], batch_size: int) -> Outcome:
        """Play; see `Entrant.enter`."""
        return Outcome([self._choose(task, SAMPLE_CALLS * budget, batch_size) for budget in budgets])

    def _choose(self, task: Task, calls: int, batch_size: int) -> float:
        rng, arms = task.generator(), [Arm()] * ARMS

        def draw(size: int, left: int) -> list[Answer]:
            answers = []
            for arm in self.policy.plan(arms, size, rng, left=left):
                pull, reward = arms[arm].pulls, float(task.reward[arm, arms[arm].pulls])
                arms[arm] = Arm(pull + 1, (*arms[arm].rewards, reward))
                answer = Answer(float(task.quality[arm, pull]), lambda: None, [reward])
                answer.judge = partial(_look_again, task, arm, pull, answer)
                answers.append(answer)
            return answers

        return sample_and_confirm(draw, calls, batch_size)[0].quality


def _look_again(task: Task, arm: int, pull: int, answer: Answer) -> float:
    return task.look(arm, pull, len(answer.scores))


@dataclass(frozen=True)
class ABMCTSA:
    """AB-MCTS-A (Inoue et al. 2025, arXiv 2503.04412) of the package TreeQuest, through its `ask` and `tell`.

    It plays one pull at a time, whatever the batch. Its tree refines answers, which means nothing on a landscape: to
    refine an answer is to pull again.

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
    """The policies of these names, or all of them, with their default parameters; and UCB with the textbook's weight.

    Raises:
        UnknownNameError: there is no such policy.
    """
    known: dict[str, Policy] = {name: create() for name, create in POLICIES.items()}
    known["ucb_sqrt2"] = UCB(math.sqrt(2))
    for name in names:
        if name not in known:
            raise UnknownNameError("policy", name, known)
    return {name: known[name] for name in names or known}


def treequest_is_installed() -> bool:
    """Whether the extra `bench` is there."""
    return importlib.util.find_spec("treequest") is not None
