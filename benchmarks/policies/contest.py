"""Compares policies on simulated landscapes, between uniform choice and an oracle.

Uniform choice pulls arms at random. The oracle knows the arms, but not the samples, and pulls the one arm with the best
expected answer. A policy's share on a landscape is (policy - uniform) / (oracle - uniform), of mean true qualities over
tasks; tables give its mean over landscapes. All play the same tasks. Standard errors are over tasks, paired; those of
shares use the delta method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from benchmarks.policies.entrants import (
    TREEQUEST,
    Bandit,
    Entrant,
    EvolutionName,
    Heredity,
    Search,
    Uniform,
    bandits,
    treequest_is_installed,
)
from benchmarks.policies.landscapes import LANDSCAPES, Landscape, Normal, Numbers, Task, chosen_qualities, oracle_arms
from metascale.errors import MetaScaleError

CHUNK = 50
"""Tasks in one job of a process."""
UNIFORM, ORACLE = "uniform choice", "oracle"
WITH_LOOKS = " + confirm"
EVOLVING: tuple[EvolutionName, ...] = ("always", "gated")


class LandscapeError(MetaScaleError, ValueError):
    """A landscape or the size of a comparison is invalid."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error over tasks."""

    value: float
    error: float


@dataclass(frozen=True)
class Worst:
    """Where a policy did worst against uniform choice.

    Attributes:
        landscape: its name.
        budget: pulls.
        difference: of mean true qualities, policy minus uniform.
    """

    landscape: str
    budget: int
    difference: Estimate


@dataclass(frozen=True)
class Pace:
    """The time to decide on one pull, at the largest budget, over all tasks.

    Attributes:
        microseconds: the median.
        ratio: the median of the ratio to the reference on the same task.
        low: the tenth percentile of that ratio.
        high: the ninetieth.
    """

    microseconds: float
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Scores:
    """The results of one entrant on one landscape.

    Attributes:
        qualities: true qualities of the chosen answers, shape (budgets, tasks).
        seconds: time to decide on a pull of each task, shape (tasks,); NaN where it was not measured.
    """

    qualities: Numbers
    seconds: Numbers


@dataclass(frozen=True)
class Contest:
    """What is played.

    Attributes:
        landscapes: the landscapes.
        entrants: the entrants by name, without uniform choice and the oracle.
        budgets: numbers of pulls, increasing.
        tasks: of each landscape, at least 2.
        few: number of tasks of entrants that do not play all.
        batch_size: pulls planned at a time.
        seed: of the tasks.
        heredities: what children are like, by name, where entrants evolve; then every entrant also takes part under
            the names that `evolving` gives.
    """

    landscapes: tuple[Landscape, ...]
    entrants: Mapping[str, Entrant]
    budgets: tuple[int, ...]
    tasks: int
    few: Mapping[str, int]
    batch_size: int = 1
    seed: int = 0
    heredities: tuple[str, ...] = ()

    def tasks_of(self, name: str) -> int:
        """How many tasks of each landscape an entrant plays."""
        return min(self.tasks, self.few.get(name, self.tasks))


Results = dict[str, dict[str, Scores]]
"""Scores by landscape and entrant."""


def parse_landscape(text: str) -> Landscape:
    """Read `SPREAD,LOW,HIGH,NOISE`: spread of the arms' means, deviations within an arm from and to, the judge's noise.

    Raises:
        LandscapeError: it is not four numbers, or one is out of its range.
    """
    try:
        spread, low, high, noise = (float(part) for part in text.split(","))
    except ValueError:
        raise LandscapeError(f"a landscape is SPREAD,LOW,HIGH,NOISE, four numbers, not {text!r}") from None
    if not (0 <= spread <= 1 and 0 < low <= high <= 1 and 0 <= noise <= 1):
        raise LandscapeError(f"in {text!r} all must be at most 1, LOW above 0 and at most HIGH, and none negative")
    return Normal(text, noise, None, spread, low, high)


def parse_heredity(text: str) -> Heredity:
    """Read `DELTA,SIGMA`: by how much a child is better than its best parent, and the spread of that over children.

    Raises:
        LandscapeError: it is not two numbers, or one is out of its range.
    """
    try:
        delta, sigma = (float(part) for part in text.split(","))
    except ValueError:
        raise LandscapeError(f"an evolution is DELTA,SIGMA, two numbers, not {text!r}") from None
    if not (-1 <= delta <= 1 and 0 <= sigma <= 1):
        raise LandscapeError(f"in {text!r} DELTA must lie in [-1, 1] and SIGMA in [0, 1]")
    return Heredity(delta, sigma)


def evolving(name: str, way: EvolutionName, heredity: str) -> str:
    """The name of an entrant that evolves in this way to children of this kind."""
    return f"{name}, {way} evolving to {heredity}"


def contest(
    *,
    budgets: Sequence[int],
    tasks: int,
    policies: Sequence[str] = (),
    settings: Sequence[str] = (),
    batch_size: int = 1,
    seed: int = 0,
    treequest_tasks: int = 0,
    confirm: Sequence[str] = (),
    evolution: Sequence[str] = (),
) -> Contest:
    """Set up a contest.

    Args:
        budgets: numbers of pulls, at least 1.
        tasks: of each landscape, at least 2.
        policies: names of policies; empty for all.
        settings: landscapes in the format of `parse_landscape`; empty for the seven.
        batch_size: pulls planned at a time, at least 1.
        seed: of the tasks.
        treequest_tasks: tasks of each landscape that AB-MCTS-A plays, at least 2, if TreeQuest is installed; 0 to leave
            it out.
        confirm: policies that also play with second looks.
        evolution: kinds of children in the format of `parse_heredity`; every policy also plays with evolution to each
            kind, at every interval and gated.

    Raises:
        LandscapeError: a landscape or an evolution cannot be read, or there are too few tasks.
        UnknownNameError: there is no such policy.
    """
    if tasks < 2 or treequest_tasks == 1:
        raise LandscapeError("a standard error needs at least 2 tasks")
    if not budgets or min(budgets) < 1:
        raise LandscapeError("a budget is at least 1")
    entrants: dict[str, Entrant] = {name: Bandit(policy) for name, policy in bandits(policies).items()}
    if confirm:
        entrants |= {name + WITH_LOOKS: Search(policy) for name, policy in bandits(confirm).items()}
    heredities = {text: parse_heredity(text) for text in evolution}
    entrants |= {
        evolving(name, way, text): Search(one.policy, isinstance(one, Search), way, heredity)
        for name, one in entrants.items()
        if isinstance(one, Bandit | Search)
        for text, heredity in heredities.items()
        for way in EVOLVING
    }
    if treequest_tasks and treequest_is_installed():
        entrants |= TREEQUEST
    return Contest(
        landscapes=tuple(parse_landscape(text) for text in dict.fromkeys(settings)) or LANDSCAPES,
        entrants=entrants,
        budgets=tuple(sorted(set(budgets))),
        tasks=tasks,
        few=dict.fromkeys(TREEQUEST, treequest_tasks),
        batch_size=batch_size,
        seed=seed,
        heredities=tuple(heredities),
    )


def run(played: Contest, processes: int = 1) -> Results:
    """Play a contest. The number of processes changes nothing but times."""
    jobs = [
        (played, index, first, min(first + CHUNK, played.tasks))
        for first in range(0, played.tasks, CHUNK)
        for index in range(len(played.landscapes))
    ]
    if processes == 1:
        chunks = [_play_chunk(job) for job in jobs]
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            chunks = list(pool.map(_play_chunk, jobs))
    results: Results = {}
    for index, landscape in enumerate(played.landscapes):
        found = [chunk for job, chunk in zip(jobs, chunks, strict=True) if job[1] == index]
        results[landscape.name] = {
            name: Scores(
                np.concatenate([chunk[name].qualities for chunk in found if name in chunk], axis=1),
                np.concatenate([chunk[name].seconds for chunk in found if name in chunk]),
            )
            for name in found[0]
        }
    return results


def _play_chunk(job: tuple[Contest, int, int, int]) -> dict[str, Scores]:
    """Let all entrants play some tasks of one landscape."""
    played, index, first, end = job
    landscape, budgets = played.landscapes[index], played.budgets
    tasks = [Task.draw(landscape, (played.seed, index, number), budgets[-1]) for number in range(first, end)]
    scores = {ORACLE: _oracle(landscape, tasks, budgets)}
    for name, entrant in {UNIFORM: Uniform(), **played.entrants}.items():
        mine = tasks[: max(0, played.tasks_of(name) - first)]
        if mine:
            outcomes = [entrant.enter(task, budgets, played.batch_size) for task in mine]
            seconds = [math.nan if outcome.seconds is None else outcome.seconds for outcome in outcomes]
            scores[name] = Scores(np.array([outcome.qualities for outcome in outcomes]).T, np.array(seconds))
    return scores


def _oracle(landscape: Landscape, tasks: Sequence[Task], budgets: Sequence[int]) -> Scores:
    best = oracle_arms(landscape, np.stack([task.arms for task in tasks]), budgets).tolist()
    qualities = [
        [chosen_qualities(task, [arm] * budget, [budget])[0] for task, arm in zip(tasks, arms_of_budget, strict=True)]
        for budget, arms_of_budget in zip(budgets, best, strict=True)
    ]
    return Scores(np.array(qualities), np.full(len(tasks), math.nan))


def share(scores: Mapping[str, Scores], name: str, at: int) -> Estimate:
    """The share of the gap between uniform choice and the oracle that an entrant closes on one landscape.

    The entrant's gain is measured on its own tasks, the gap on all tasks.

    Args:
        scores: of the landscape, by entrant.
        name: the entrant.
        at: index of the budget.

    Returns:
        The share and its standard error by the delta method for a ratio of means.

    Raises:
        LandscapeError: there is no gap.
    """
    policy = scores[name].qualities[at]
    uniform, oracle = scores[UNIFORM].qualities[at], scores[ORACLE].qualities[at]
    played, tasks = len(policy), len(uniform)
    width = float((oracle - uniform).mean())
    if not width:
        raise LandscapeError("the oracle and uniform choice are equally good here: take more tasks")
    gap, gained = (oracle - uniform) / width, (policy - uniform[:played]) / width
    ratio = float(gained.mean())
    variance = played * float((gained * tasks / played - ratio * gap[:played]).var(ddof=1))
    if played < tasks - 1:
        variance += (tasks - played) * float((ratio * gap[played:]).var(ddof=1))
    return Estimate(ratio, math.sqrt(variance) / tasks)


def mean_share(results: Results, name: str, at: int) -> Estimate:
    """The mean of `share` over landscapes, which are independent of each other."""
    return _over_landscapes([share(scores, name, at) for scores in results.values()])


def mean_quality(results: Results, name: str, at: int) -> Estimate:
    """The mean true quality of the chosen answers over landscapes."""
    return _over_landscapes([_mean(scores[name].qualities[at]) for scores in results.values()])


def mean_difference(results: Results, name: str, other: str, at: int) -> Estimate:
    """By how much one entrant's mean quality over landscapes is above another's, on the tasks that both played."""
    differences = []
    for scores in results.values():
        first, second = scores[name].qualities[at], scores[other].qualities[at]
        both = min(len(first), len(second))
        differences.append(_mean(first[:both] - second[:both]))
    return _over_landscapes(differences)


def worst(results: Results, name: str, budgets: Sequence[int]) -> Worst:
    """Where an entrant did worst against uniform choice."""
    found = []
    for landscape, scores in results.items():
        policy = scores[name].qualities
        for at, differences in enumerate(policy - scores[UNIFORM].qualities[:, : policy.shape[1]]):
            found.append(Worst(landscape, budgets[at], _mean(differences)))
    return min(found, key=lambda one: one.difference.value)


def pace(results: Results, name: str, reference: str) -> Pace:
    """How long an entrant takes to decide, and the ratio to a reference on the same tasks in the same run."""
    mine = [scores[name].seconds for scores in results.values()]
    theirs = [scores[reference].seconds[: len(scores[name].seconds)] for scores in results.values()]
    ratios = np.concatenate(mine) / np.concatenate(theirs)
    low, middle, high = np.quantile(ratios, (0.1, 0.5, 0.9)).tolist()
    return Pace(float(np.median(np.concatenate(mine))) * 1e6, middle, low, high)


@dataclass(frozen=True)
class ShareRow:
    """One entrant's results.

    Attributes:
        name: the entrant.
        tasks: tasks that it played of each landscape.
        shares: its `mean_share` for each budget.
        by_landscape: its `share` for each landscape and budget.
        worst: its worst difference to uniform choice.
        pace: its time to decide.
    """

    name: str
    tasks: int
    shares: list[Estimate]
    by_landscape: dict[str, list[Estimate]]
    worst: Worst
    pace: Pace


def share_rows(played: Contest, results: Results) -> list[ShareRow]:
    """All entrants by how much of the gap they close. Times are relative to `ucb`, or else to the first entrant."""
    budgets = range(len(played.budgets))
    reference = "ucb" if "ucb" in played.entrants else next(iter(played.entrants))
    return [
        ShareRow(
            name,
            played.tasks_of(name),
            [mean_share(results, name, at) for at in budgets],
            {landscape: [share(scores, name, at) for at in budgets] for landscape, scores in results.items()},
            worst(results, name, played.budgets),
            pace(results, name, reference),
        )
        for name in played.entrants
    ]


@dataclass(frozen=True)
class QualityRow:
    """One entrant's results at equal calls.

    Attributes:
        name: the entrant.
        qualities: its `mean_quality` for each number of calls.
        gain: `mean_difference` to the same policy without second looks for each number of calls; None without looks.
    """

    name: str
    qualities: list[Estimate]
    gain: list[Estimate] | None


def quality_rows(played: Contest, results: Results) -> list[QualityRow]:
    """All entrants, uniform choice and the oracle by the mean true quality of their answers."""
    budgets = range(len(played.budgets))
    rows = []
    for name in (UNIFORM, *played.entrants, ORACLE):
        plain = name.removesuffix(WITH_LOOKS)
        compared = plain != name and plain in played.entrants
        gain = [mean_difference(results, name, plain, at) for at in budgets] if compared else None
        rows.append(QualityRow(name, [mean_quality(results, name, at) for at in budgets], gain))
    return rows


@dataclass(frozen=True)
class EvolutionRow:
    """What evolution is worth to one entrant with children of one kind.

    Attributes:
        name: the entrant.
        heredity: the children.
        always: `mean_difference` between evolving at every interval and not at all, for each number of calls.
        gated: between gated evolution and none.
        kept: the gain or loss of gated evolution as a share of that of evolving always.
    """

    name: str
    heredity: str
    always: list[Estimate]
    gated: list[Estimate]
    kept: list[float | None]


def evolution_rows(played: Contest, results: Results) -> list[EvolutionRow]:
    """All entrants with evolution, compared with themselves without."""
    budgets = range(len(played.budgets))
    rows = []
    for heredity in played.heredities:
        for name in played.entrants:
            always, gated = (evolving(name, way, heredity) for way in EVOLVING)
            if always in played.entrants:
                gains = [mean_difference(results, always, name, at) for at in budgets]
                kept = [mean_difference(results, gated, name, at) for at in budgets]
                ratios = [
                    part.value / whole.value if whole.value else None for part, whole in zip(kept, gains, strict=True)
                ]
                rows.append(EvolutionRow(name, heredity, gains, kept, ratios))
    return rows


def _mean(values: Numbers) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values)))


def _over_landscapes(estimates: Sequence[Estimate]) -> Estimate:
    count = len(estimates)
    errors = math.sqrt(sum(estimate.error**2 for estimate in estimates))
    return Estimate(sum(estimate.value for estimate in estimates) / count, errors / count)
