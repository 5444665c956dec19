"""Replays policies on recorded answers: real answers, and a SIMULATED judge of given accuracy.

The arms are the recorded strategies, and a pull draws one of an arm's samples without replacement. The answer is the
sample with the highest reward; the score is its correctness. All entrants, best-of-N under chain of thought included,
see the same samples in the same order with the same rewards. Chain of thought has the same head start as in the graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import NormalDist

import numpy as np

from metascale.bandits import Arm, Policy, Prior
from metascale.errors import MetaScaleError
from metascale.evals.policies.entrants import ANYTIME, bandits
from metascale.evals.policies.matrix import CorrectnessMatrix, Numbers
from metascale.evals.statistics import is_tie, paired_bootstrap
from metascale.models.recorded import FIXED_ARMS
from metascale.pool.beliefs import WEIGHT
from metascale.settings import MetaScaleSettings

NOISE = 0.1
"""Standard deviation of the simulated judge's noise on [0, 1]; recorded judges have 0.08."""
CHUNK = 25
"""Questions in one job of a process."""
HEAD_START: float = MetaScaleSettings.model_fields["head_start"].default
ALWAYS_COT = "always CoT, best of N"


class ReplayError(MetaScaleError, ValueError):
    """The record or an argument is invalid."""


@dataclass(frozen=True)
class EntrantResult:
    """The result of one entrant with one judge and one number of samples.

    Attributes:
        name: the entrant.
        judge_accuracy: of the simulated judge.
        samples: most samples per question.
        right: share of questions answered rightly, the mean over repeats.
        difference: its difference to best-of-N under chain of thought.
        low: lower end of the difference's 95 % bootstrap interval over questions.
        high: its upper end.
        tie: whether the interval contains 0.
    """

    name: str
    judge_accuracy: float
    samples: int
    right: float
    difference: float
    low: float
    high: float
    tie: bool


@dataclass(frozen=True)
class Replay:
    """A replay of one record.

    Attributes:
        file: the record's name.
        chain_of_thought: best-of-N's arm.
        arms: all arms, in the record's order.
        questions: number of replayed questions.
        left_out: questions without a recorded sample under chain of thought.
        most_under_cot: most samples of a question under chain of thought.
        found: results for each judge, entrant and number of samples.
    """

    file: str
    chain_of_thought: str
    arms: list[str]
    questions: int
    left_out: int
    most_under_cot: int
    found: list[EntrantResult]


def read_matrix(path: Path, *, graded: bool = False) -> CorrectnessMatrix:
    """Read a record as `CorrectnessMatrix.load` does.

    Args:
        path: the record.
        graded: whether marks may lie between 0 and 1.

    Raises:
        ModelSetupError: the file cannot be read, or a row has another format. ReplayError: a row's marks cannot be
        read.
    """
    try:
        matrix = CorrectnessMatrix.load(path)
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise ReplayError(f"{path.name}: the marks of a row cannot be read ({error})") from error
    known = matrix.correct[~np.isnan(matrix.correct)]
    if not (((known >= 0) & (known <= 1)).all() if graded else np.isin(known, (0, 1)).all()):
        raise ReplayError(f"{path.name}: marks are {'from 0 to 1' if graded else '0 and 1'}")
    return matrix


def find_chain_of_thought(arms: Sequence[str], named: str | None = None) -> str:
    """The arm that is chain of thought: the named one, or one with a usual name.

    Raises:
        ReplayError: there is no such arm.
    """
    wanted = FIXED_ARMS["chain_of_thought"] if named is None else (named,)
    found = next((name for name in wanted if name in arms), None)
    if found is None:
        raise ReplayError(f"no arm {' or '.join(map(repr, wanted))}; name it with --cot, of: {', '.join(arms)}")
    return found


def judged(marks: Numbers, noise: Numbers, accuracy: float) -> Numbers:
    """The rewards in [0, 1] of a judge that scores right answers above wrong ones at a given rate.

    Rewards are normal with the deviation `NOISE`, and those of right answers are higher by
    `NOISE * sqrt(2) * quantile(accuracy)`, where quantile is the standard normal's. The difference of two such rewards
    is then positive at exactly that rate (clipping to [0, 1] hardly matters below 0.9999). A perfect judge gives 0 and
    1.

    Args:
        marks: 1 right, 0 wrong, any shape.
        noise: standard normal, the same shape.
        accuracy: in [0.5, 1].
    """
    if accuracy == 1:
        return marks
    gap = NOISE * math.sqrt(2) * NormalDist().inv_cdf(accuracy)
    rewards: Numbers = np.clip(0.5 + gap * (marks - 0.5) + NOISE * noise, 0, 1)
    return rewards


def draw(
    policy: Policy,
    rewards: Sequence[Sequence[float]],
    samples: int,
    rng: np.random.Generator,
    *,
    priors: Sequence[Prior | None] | None = None,
) -> list[int]:
    """Let a policy draw samples one by one; exhausted arms are hidden from it.

    Args:
        policy: any.
        rewards: rewards of each arm's samples, in the order of drawing.
        samples: number of samples to draw, at least 1; fewer if no more are recorded.
        rng: generator of the policy.
        priors: priors of the arms; None for none.

    Returns:
        The pulled arms, in order.
    """
    arms, drawn = [Arm(prior=prior) for prior in priors or [None] * len(rewards)], list[int]()
    end = min(samples, sum(len(own) for own in rewards))
    while len(drawn) < end:
        filled = [index for index, arm in enumerate(arms) if arm.pulls < len(rewards[index])]
        plan = policy.plan([arms[index] for index in filled], 1, rng, left=end - len(drawn))
        chosen = filled[plan[0]]
        seen = arms[chosen]
        arms[chosen] = replace(seen, pulls=seen.pulls + 1, rewards=(*seen.rewards, rewards[chosen][seen.pulls]))
        drawn.append(chosen)
    return drawn


def replay(
    path: Path,
    *,
    chain_of_thought: str | None = None,
    accuracies: Sequence[float] = (0.7, 0.85, 1.0),
    samples: Sequence[int] = (2, 4, 8, 16),
    policies: Sequence[str] = (),
    repeats: int = 4,
    seed: int = 0,
    processes: int = 1,
) -> Replay:
    """Replay a record for every judge, policy and number of samples.

    Args:
        path: the record.
        chain_of_thought: best-of-N's arm; None finds it by name.
        accuracies: accuracies of the judges, each in [0.5, 1].
        samples: numbers of samples, each at least 1.
        policies: names of policies; empty for all except `single`, which is the baseline.
        repeats: how often each question is replayed with reshuffled samples, at least 1.
        seed: seed of order and noise.
        processes: parallel processes; they do not change the result.

    Raises:
        ModelSetupError: the record cannot be read.
        ReplayError: the record or an argument is invalid. UnknownNameError: there is no such policy.
    """
    if not all(0.5 <= accuracy <= 1 for accuracy in accuracies):
        raise ReplayError("a judge's accuracy is between 0.5 and 1")
    if min(samples) < 1 or repeats < 1:
        raise ReplayError("samples and repeats are at least 1")
    entrants = {name: policy for name, policy in bandits(policies).items() if policies or name != "single"}
    matrix = read_matrix(path)
    cot = list(matrix.strategies).index(find_chain_of_thought(matrix.strategies, chain_of_thought))
    marks = [[own[~np.isnan(own)] for own in question] for question in matrix.correct]
    marks = [question for question in marks if len(question[cot])]
    if not marks:
        raise ReplayError(f"{path.name}: nothing is recorded under {matrix.strategies[cot]!r}")
    budgets = sorted(set(samples))
    jobs = [(first, marks[first : first + CHUNK]) for first in range(0, len(marks), CHUNK)]
    work = partial(_replay_chunk, _Plan(cot, entrants, accuracies, budgets, repeats, seed))
    if processes == 1:
        chunks = [work(job) for job in jobs]
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            chunks = list(pool.map(work, jobs))
    right = np.concatenate(chunks, axis=-1)
    found = [
        _found(name, accuracy, budget, right[judge, number, at], right[judge, 0, at])
        for judge, accuracy in enumerate(accuracies)
        for number, name in enumerate((ALWAYS_COT, *entrants))
        for at, budget in enumerate(budgets)
    ]
    most = max(len(question[cot]) for question in marks)
    left_out = len(matrix.question_ids) - len(marks)
    return Replay(path.name, matrix.strategies[cot], list(matrix.strategies), len(marks), left_out, most, found)


@dataclass(frozen=True)
class _Plan:
    cot: int
    entrants: Mapping[str, Policy]
    accuracies: Sequence[float]
    budgets: Sequence[int]
    repeats: int
    seed: int


def _replay_chunk(plan: _Plan, job: tuple[int, list[list[Numbers]]]) -> Numbers:
    """Shares of right answers, shape (judges, 1 + entrants, budgets, questions), best-of-N under CoT first."""
    cot, budgets = plan.cot, plan.budgets
    first, questions = job
    priors = [Prior(HEAD_START if arm == cot else 0.0, WEIGHT) for arm in range(len(questions[0]))]
    right = np.zeros((len(plan.accuracies), 1 + len(plan.entrants), len(budgets), len(questions)))
    for number, question in enumerate(questions):
        for repeat in range(plan.repeats):
            rng = np.random.default_rng([plan.seed, first + number, repeat])
            marks = [rng.permutation(own) for own in question]
            noise = [rng.standard_normal(len(own)) for own in marks]
            for judge, accuracy in enumerate(plan.accuracies):
                rewards = [judged(own, its, accuracy).tolist() for own, its in zip(marks, noise, strict=True)]
                alone = [cot] * min(budgets[-1], len(marks[cot]))
                right[judge, 0, :, number] += _served(marks, rewards, alone, budgets)
                for place, policy in enumerate(plan.entrants.values(), start=1):
                    own = np.random.default_rng([plan.seed, first + number, repeat, 1])
                    right[judge, place, :, number] += _play(policy, marks, rewards, budgets, rng=own, priors=priors)
    return right / plan.repeats


def _play(
    policy: Policy,
    marks: Sequence[Numbers],
    rewards: Sequence[Sequence[float]],
    budgets: Sequence[int],
    *,
    rng: np.random.Generator,
    priors: Sequence[Prior | None],
) -> list[float]:
    play = partial(draw, policy, rewards, rng=rng, priors=priors)
    if isinstance(policy, ANYTIME):
        return _served(marks, rewards, play(samples=budgets[-1]), budgets)
    return [_served(marks, rewards, play(samples=budget), [budget])[0] for budget in budgets]


def _served(
    marks: Sequence[Numbers], rewards: Sequence[Sequence[float]], arms: Sequence[int], budgets: Sequence[int]
) -> list[float]:
    """Whether the answer is right after each number of draws: the one with the highest reward, ties to the first."""
    before = [0] * len(marks)
    seen, right = [], []
    for arm in arms:
        seen.append(rewards[arm][before[arm]])
        right.append(float(marks[arm][before[arm]]))
        before[arm] += 1
    return [right[int(np.argmax(seen[:budget]))] for budget in budgets]


def _found(name: str, accuracy: float, samples: int, right: Numbers, alone: Numbers) -> EntrantResult:
    interval = paired_bootstrap(right, alone, seed=0)
    difference = float((right - alone).mean())
    return EntrantResult(name, accuracy, samples, float(right.mean()), difference, *interval, is_tie(interval))
