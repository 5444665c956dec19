"""Measures a strategy memory on recorded answers: real answers in random order, and a judge of given accuracy.

The arms are the recorded strategies. Questions of all kinds come in random order; only one entrant knows the kinds.
Samples of a question are drawn without replacement; the answer is the sample with the highest reward, and the score is
its correctness. The memory sees questions' texts and rewards, as in the graph; in a record without texts all questions
look alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np
from langchain_core.embeddings import Embeddings

from metascale.bandits import Policy, Prior, UpperTail
from metascale.data import read_rows
from metascale.evals.policies.matrix import CorrectnessMatrix, Numbers
from metascale.evals.policies.replay import ReplayError, draw, judged, read_matrix
from metascale.memory.recollection import Episode, Record, recollect
from metascale.memory.store import MOST_EPISODES

QUARTERS = 4
MEMORY, WITHOUT, TOLD, REVERSED = "memory", "no memory", "Thompson, told the kind", "memory, reversed at first"


@dataclass(frozen=True)
class Stream:
    """The questions of a record, and the rules of their replay.

    Attributes:
        embeddings: embeddings of the questions, shape (questions, dimensions), of unit length.
        kinds: the kind of each question.
        marks: the recorded samples of each question and arm, 1 right and 0 wrong; an arm may have none.
        samples: drawn for each question, at least 1.
        accuracy: of the judge, in [0.5, 1].
        reversed_runs: runs with reversed rewards at the start of the reversed memory.
        seed: seed of orders, samples, noise and policies.
    """

    embeddings: Numbers
    kinds: Sequence[str]
    marks: Sequence[Sequence[Numbers]]
    samples: int
    accuracy: float
    reversed_runs: int
    seed: int


class Learner(Protocol):
    """Chooses arms for a stream of questions, and learns from their rewards."""

    def choose(self, question: int, rewards: Sequence[Sequence[float]], rng: np.random.Generator) -> list[int]:
        """Choose the arms to draw from, in order, and learn from the `rewards` of each arm's samples."""
        ...


@dataclass(frozen=True)
class Line:
    """The result of one entrant.

    Attributes:
        name: the entrant.
        right: share of questions answered rightly, the mean over orders.
        error: its standard error over orders.
        quarters: the same for each quarter of the stream.
        ahead: lead over the entrant that knows the kinds, the mean over orders.
        ahead_error: its standard error over orders, paired.
    """

    name: str
    right: float
    error: float
    quarters: list[float]
    ahead: float
    ahead_error: float


@dataclass(frozen=True)
class MemoryReplay:
    """The replay of a record.

    Attributes:
        file: its name.
        arms: the arms.
        questions: number of questions.
        has_texts: whether their texts are recorded.
        lines: the entrants' results.
        uniform: accuracy of a random arm with one sample per question.
        best_single: the arm that is best in hindsight, and its accuracy.
        best_per_kind: accuracy of the best arm of each kind, cross-fitted.
        lost: how many right answers per stream the reversed memory lost against no memory.
    """

    file: str
    arms: list[str]
    questions: int
    has_texts: bool
    lines: list[Line]
    uniform: float
    best_single: tuple[str, float]
    best_per_kind: float
    lost: float


def replay_memory(
    path: Path,
    embeddings: Embeddings,
    *,
    arms: Sequence[str] = (),
    samples: int = 1,
    accuracy: float = 1.0,
    orders: int = 40,
    reversed_runs: int = 300,
    seed: int = 0,
    processes: int = 1,
) -> MemoryReplay:
    """Replay a record in several random orders.

    Args:
        path: the record, as `CorrectnessMatrix.load` reads it, with `question` in its rows where texts are known.
        embeddings: embed questions.
        arms: the strategies to use; empty for all.
        samples: drawn for each question, at least 1.
        accuracy: of the judge, in [0.5, 1]: how often a right answer scores above a wrong one.
        orders: random orders of the questions, at least 2.
        reversed_runs: runs at the start of the reversed memory, at least 1.
        seed: seed of all randomness.
        processes: parallel processes; they do not change the result.

    Raises:
        ModelSetupError: the record cannot be read.
        ReplayError: the record or an argument is invalid.
    """
    if samples < 1 or orders < 2 or reversed_runs < 1 or not 0.5 <= accuracy <= 1:
        raise ReplayError("samples and reversed runs are at least 1, orders at least 2, accuracy between 0.5 and 1")
    matrix = read_matrix(path)
    try:
        matrix = matrix.only(arms) if arms else matrix
    except KeyError as error:
        raise ReplayError(f"{error.args[0]}; there are: {', '.join(matrix.strategies)}") from error
    texts = [str(row.get("question") or "") for row in read_rows(path, ("question_id", "task"))]
    marks = [[own[~np.isnan(own)] for own in question] for question in matrix.correct]
    if not all(any(len(own) for own in question) for question in marks):
        raise ReplayError(f"{path.name}: a question has no recorded sample under {', '.join(matrix.strategies)}")
    unique = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    vectors = np.array(embeddings.embed_documents(list(unique)))[[unique[text] for text in texts]]
    stream = Stream(vectors, matrix.tasks, marks, samples, accuracy, reversed_runs, seed)
    jobs = [(stream, order) for order in range(orders)]
    if processes == 1:
        found = [_one_order(job) for job in jobs]
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            found = list(pool.map(_one_order, jobs))
    right = {name: np.array([one[name] for one in found]) for name in found[0]}
    return MemoryReplay(
        path.name,
        list(matrix.strategies),
        len(texts),
        any(texts),
        [_line(name, right[name], right[TOLD]) for name in right],
        matrix.uniform(),
        matrix.best_single(),
        _cross_fitted(matrix, seed),
        float((right[WITHOUT] - right[REVERSED]).sum(axis=1).mean()),
    )


def _cross_fitted(matrix: CorrectnessMatrix, seed: int) -> float:
    return float(np.mean([matrix.best_per_task(np.random.default_rng([seed, half])) for half in range(20)]))


def _line(name: str, right: Numbers, told: Numbers) -> Line:
    """The result of an entrant from its right answers, shape (orders, questions)."""
    each, ahead = right.mean(axis=1), (right - told).mean(axis=1)
    return Line(
        name,
        float(each.mean()),
        float(each.std(ddof=1)) / math.sqrt(len(each)),
        [float(part.mean()) for part in np.array_split(right, QUARTERS, axis=1)],
        float(ahead.mean()),
        float(ahead.std(ddof=1)) / math.sqrt(len(each)),
    )


def _one_order(job: tuple[Stream, int]) -> dict[str, list[float]]:
    """For each entrant, whether it answered each question of one order rightly."""
    stream, number = job
    order = np.random.default_rng([stream.seed, number]).permutation(len(stream.kinds)).tolist()
    learners: dict[str, Learner] = {
        MEMORY: Remembering(stream, ()),
        WITHOUT: Forgetting(stream),
        TOLD: ToldTheKind(stream),
        REVERSED: Remembering(stream, _reversed(stream, number)),
    }
    right: dict[str, list[float]] = {name: [] for name in learners}
    for question in order:
        rng = np.random.default_rng([stream.seed, number, question])
        marks: list[Numbers] = [own[rng.permutation(len(own))] for own in stream.marks[question]]
        rewards = [judged(own, rng.standard_normal(len(own)), stream.accuracy).tolist() for own in marks]
        for name, learner in learners.items():
            chosen = learner.choose(question, rewards, np.random.default_rng([stream.seed, number, question, 1]))
            right[name].append(_served(marks, rewards, chosen))
    return right


def _served(marks: Sequence[Numbers], rewards: Sequence[Sequence[float]], chosen: Sequence[int]) -> float:
    """Whether the sample with the highest reward is right; ties go to the first."""
    taken = [(arm, chosen[:at].count(arm)) for at, arm in enumerate(chosen)]
    arm, sample = max(taken, key=lambda one: rewards[one[0]][one[1]])
    return float(marks[arm][sample])


class Remembering:
    """`UpperTail` with the priors of a memory of all questions so far."""

    policy: Policy = UpperTail()

    def __init__(self, stream: Stream, episodes: Sequence[Episode]) -> None:
        """Start with these episodes."""
        self.stream, self.episodes = stream, list(episodes)

    def choose(self, question: int, rewards: Sequence[Sequence[float]], rng: np.random.Generator) -> list[int]:
        """Choose by policy; see `Learner.choose`."""
        embedding = self.stream.embeddings[question]
        beliefs = recollect(self.episodes, embedding, budget=self.stream.samples)
        priors = [beliefs.known.get(str(arm), beliefs.unknown) for arm in range(len(rewards))]
        chosen = _shuffled(self.policy, rewards, priors, self.stream.samples, rng)
        self.episodes.append(Episode(embedding, _records(chosen, rewards)))
        del self.episodes[:-MOST_EPISODES]
        return chosen


@dataclass(frozen=True)
class Forgetting:
    """`UpperTail` without a memory: it starts anew for every question."""

    stream: Stream

    def choose(self, question: int, rewards: Sequence[Sequence[float]], rng: np.random.Generator) -> list[int]:  # noqa: ARG002
        """Choose by policy; see `Learner.choose`."""
        return _shuffled(UpperTail(), rewards, [None] * len(rewards), self.stream.samples, rng)


class ToldTheKind:
    """Thompson sampling with Beta posteriors for each known kind of question: shows what a label is worth."""

    def __init__(self, stream: Stream) -> None:
        """Start with Beta(1, 1) for every arm."""
        self.stream = stream
        self.counts = {kind: np.ones((len(stream.marks[0]), 2)) for kind in stream.kinds}

    def choose(self, question: int, rewards: Sequence[Sequence[float]], rng: np.random.Generator) -> list[int]:
        """Draw one posterior for every sample; see `Learner.choose`."""
        counts, chosen = self.counts[self.stream.kinds[question]], list[int]()
        for _ in range(min(self.stream.samples, sum(len(own) for own in rewards))):
            drawn = rng.beta(counts[:, 0], counts[:, 1])
            dry = [chosen.count(arm) >= len(own) for arm, own in enumerate(rewards)]
            arm = int(np.argmax(np.where(dry, -1.0, drawn)))
            reward = rewards[arm][chosen.count(arm)]
            counts[arm] += (reward, 1 - reward)
            chosen.append(arm)
        return chosen


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


def _records(chosen: Sequence[int], rewards: Sequence[Sequence[float]]) -> dict[str, Record]:
    records = {}
    for arm in set(chosen):
        own = rewards[arm][: chosen.count(arm)]
        records[str(arm)] = Record(len(own), float(np.mean(own)), float(np.var(own)))
    return records


def _reversed(stream: Stream, number: int) -> list[Episode]:
    """Runs on random questions of the record, with every reward r replaced by 1 - r."""
    rng = np.random.default_rng([stream.seed, number, len(stream.kinds)])
    episodes = []
    for question in rng.integers(len(stream.kinds), size=stream.reversed_runs).tolist():
        recorded = [arm for arm, own in enumerate(stream.marks[question]) if len(own)]
        arm = recorded[int(rng.integers(len(recorded)))]
        wrong = 1 - float(rng.choice(stream.marks[question][arm]))
        episodes.append(Episode(stream.embeddings[question], {str(arm): Record(1, wrong, 0.0)}))
    return episodes
