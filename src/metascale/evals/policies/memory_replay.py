"""Measures a strategy memory on recorded answers: real answers in random order, and a judge of given accuracy.

The arms are the recorded strategies or models. Questions of all kinds come in random order; only `TOLD` knows the
kinds. Samples of a question are drawn without replacement; the answer is the sample with the highest reward, and the
score is its correctness. The memory sees questions' texts and rewards, as in the graph; in a record without texts all
questions look alike. With prices, further entrants have a limit in dollars for the whole stream.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from metascale.bandits.routing import Pace, price_of_money
from metascale.data import read_rows
from metascale.evals.policies.learners import Always, Forgetting, Learner, Remembering, Stream, ToldTheKind, Turn
from metascale.evals.policies.matrix import CorrectnessMatrix, Numbers, mean_of_known
from metascale.evals.policies.replay import ReplayError, judged, read_matrix
from metascale.evals.statistics import Interval, paired_bootstrap
from metascale.settings import Price, price_of

QUARTERS = 4
MEMORY, WITHOUT, TOLD, REVERSED = "memory", "no memory", "Thompson, told the kind", "memory, reversed at first"
BEST = "always the best single arm"
LIMITED, LIMITED_TOLD = "memory, limited cost", "Thompson, told the kind, limited cost"
CHARACTERS_PER_TOKEN = 4
"""Characters of a text that count as one token, where a record has lengths in characters only."""


@dataclass(frozen=True)
class Line:
    """The result of one entrant.

    Attributes:
        name: the entrant.
        right: mean score of the answers, the mean over orders.
        error: its standard error over orders.
        quarters: the same for each quarter of the stream.
        last_half: the same for the last half of the stream.
        last_half_error: its standard error over orders.
        ahead: lead over the entrant that knows the kinds, the mean over orders.
        ahead_error: its standard error over orders, paired.
        of_best: lead over always asking the arm that is best in hindsight, with the same samples.
        of_best_interval: its 95 % interval, by a bootstrap over questions.
        regret: right answers that a stream lost against that arm; below 0 is a gain.
        cost: US dollars of a stream; None without prices.
    """

    name: str
    right: float
    error: float
    quarters: list[float]
    last_half: float
    last_half_error: float
    ahead: float
    ahead_error: float
    of_best: float
    of_best_interval: Interval
    regret: float
    cost: float | None


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
        best_within_limit: the same with the costs of each kind known, and no more spent than the limit; None without
            prices.
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
    best_within_limit: float | None
    lost: float


@dataclass(frozen=True)
class _Trial:
    """The work of every process.

    Attributes:
        stream: the questions, without their cosines.
        embeddings: of the questions, shape (questions, dimensions), of unit length.
        accuracy: of the judge, in [0.5, 1].
        reversed_runs: runs with reversed rewards at the start of the reversed memory.
        best: the arm that is best in hindsight.
        limit: of the limited entrant, as a share of what that arm costs; None without prices.
    """

    stream: Stream
    embeddings: NDArray[np.float32]
    accuracy: float
    reversed_runs: int
    best: int
    limit: float | None


def replay_memory(
    path: Path,
    embeddings: Embeddings,
    *,
    arms: Sequence[str] = (),
    samples: int = 1,
    accuracy: float = 1.0,
    orders: int = 10,
    reversed_runs: int = 300,
    prices: Mapping[str, Price] | None = None,
    limit: float = 0.5,
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
        prices: of the arms; with them two further entrants have a limit. They need one sample a question, and the
            lengths of all answers.
        limit: the most that these may spend, as a share of what always asking the best single arm costs.
        seed: seed of all randomness.
        processes: parallel processes; they do not change the result.

    Raises:
        ModelSetupError: the record cannot be read.
        ReplayError: the record or an argument is invalid.
    """
    if samples < 1 or orders < 2 or reversed_runs < 1 or not 0.5 <= accuracy <= 1:
        raise ReplayError("samples and reversed runs are at least 1, orders at least 2, accuracy between 0.5 and 1")
    if prices and samples > 1:
        raise ReplayError("prices need one sample a question")
    matrix = read_matrix(path, graded=True)
    try:
        matrix = matrix.only(arms) if arms else matrix
    except KeyError as error:
        raise ReplayError(f"{error.args[0]}; there are: {', '.join(matrix.strategies)}") from error
    texts = [str(row.get("question") or "") for row in read_rows(path, ("question_id", "task"))]
    recorded = ~np.isnan(matrix.correct)
    if not recorded.any(axis=(1, 2)).all():
        raise ReplayError(f"{path.name}: a question has no recorded sample under {', '.join(matrix.strategies)}")
    marks = _each(matrix.correct, recorded)
    asking, costs = _costs(path, matrix, texts, prices) if prices else (np.zeros((0, 0)), np.zeros(0))
    stream = Stream(
        np.zeros((0, 0), dtype=np.float32), matrix.tasks, marks, samples, seed, _each(costs, recorded), asking
    )
    unique = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    vectors = np.array(embeddings.embed_documents(list(unique)), dtype=np.float32)[[unique[text] for text in texts]]
    best = list(matrix.strategies).index(matrix.best_single()[0])
    trial = _Trial(stream, vectors, accuracy, reversed_runs, best, limit if prices else None)
    parts = np.array_split(np.arange(orders), processes)
    if processes == 1:
        found = _play(trial, parts[0])
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            found = [one for part in pool.map(_play, [trial] * processes, parts) for one in part]
    return MemoryReplay(
        path.name,
        list(matrix.strategies),
        len(texts),
        any(texts),
        [_line(name, [one[name] for one in found], found) for name in found[0]],
        matrix.uniform(),
        matrix.best_single(),
        _cross_fitted(matrix, seed),
        _within_limit(matrix, asking[:, :, None] + costs, limit, best, seed) if prices else None,
        float(np.mean([one[WITHOUT].right.sum() - one[REVERSED].right.sum() for one in found])),
    )


def _each(values: Numbers, recorded: NDArray[np.bool_]) -> list[list[Numbers]]:
    """The recorded values of every question and arm; nothing without values."""
    if not values.size:
        return []
    return [
        [own[known] for own, known in zip(question, of_question, strict=True)]
        for question, of_question in zip(values, recorded, strict=True)
    ]


def _costs(
    path: Path, matrix: CorrectnessMatrix, texts: Sequence[str], prices: Mapping[str, Price]
) -> tuple[Numbers, Numbers]:
    """US dollars of reading each question, shape (questions, arms), and of each answer, shaped like the matrix."""
    found = [
        prices.get(name) or price_of(prices, name.replace("_", "/", 1)) or price_of(prices, name)
        for name in matrix.strategies
    ]
    unpriced = [name for name, price in zip(matrix.strategies, found, strict=True) if price is None]
    if unpriced:
        raise ReplayError(f"there is no price for {', '.join(unpriced)}")
    if np.isnan(matrix.characters[~np.isnan(matrix.correct)]).any():
        raise ReplayError(f"{path.name}: prices need the lengths of all answers, as 'characters'")
    asked = np.array([len(text) for text in texts]) / CHARACTERS_PER_TOKEN
    known = [price for price in found if price is not None]
    asking = np.outer(asked, [price.of(1, 0) for price in known])
    return asking, matrix.characters / CHARACTERS_PER_TOKEN * np.array([price.of(0, 1) for price in known])[:, None]


def _cross_fitted(matrix: CorrectnessMatrix, seed: int) -> float:
    return float(np.mean([matrix.best_per_task(np.random.default_rng([seed, half])) for half in range(20)]))


def _within_limit(matrix: CorrectnessMatrix, costs: Numbers, share: float, best: int, seed: int) -> float:
    """Accuracy of the best mix of arms for each kind that costs no more than a share of the best single arm.

    Rates and costs are known from a random half of the questions of each kind, and the mix is scored on the other half,
    on average over ten splits.
    """
    accuracy, paid = matrix.accuracy(), mean_of_known(costs, axis=2)
    kinds = np.unique(matrix.tasks, return_inverse=True)[1]
    allowed = share * float(np.nanmean(paid[:, best]))
    scores = []
    for split in range(10):
        rng = np.random.default_rng([seed, split])
        shuffled = rng.permutation(len(kinds))
        first = np.zeros(len(kinds), dtype=np.bool_)
        for kind in range(int(kinds.max()) + 1):
            members = shuffled[kinds[shuffled] == kind]
            first[members[: len(members) // 2]] = True
        for known in (first, ~first):
            rates, prices = (_by_kind(numbers, kinds, known) for numbers in (accuracy, paid))
            values, prices = np.where(np.isnan(rates), -np.inf, rates), np.nan_to_num(prices)
            price = price_of_money(values, prices, allowed)
            cheap, dear = (np.argmax(values - one * prices, axis=1) for one in (price, price * (1 - 1e-6)))
            least, most = (float(prices[np.arange(len(kinds)), one].mean()) for one in (cheap, dear))
            share_of_dear = min(1.0, max(0.0, (allowed - least) / (most - least))) if most > least else 0.0
            right = [float(np.nanmean(accuracy[~known, one[~known]])) for one in (cheap, dear)]
            scores.append((1 - share_of_dear) * right[0] + share_of_dear * right[1])
    return float(np.mean(scores))


def _by_kind(numbers: Numbers, kinds: NDArray[np.int64], known: NDArray[np.bool_]) -> Numbers:
    """Of each question, the means of the known questions of its kind, shape (questions, arms).

    Where its kind has none, those of all kinds; nan where an arm has none at all.
    """
    own, everywhere = kinds[known], mean_of_known(numbers[known], axis=0)
    sums, counts = np.zeros((2, int(kinds.max()) + 1, numbers.shape[1]))
    np.add.at(sums, own, np.nan_to_num(numbers[known]))
    np.add.at(counts, own, ~np.isnan(numbers[known]))
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), everywhere)[kinds])


@dataclass(frozen=True)
class _Played:
    """What an entrant did in one order.

    Attributes:
        right: the score of the answer to each question, in the order of the stream.
        cost: US dollars of the stream; None without prices.
        order: the questions, in order.
    """

    right: Numbers
    cost: float | None
    order: NDArray[np.int64]

    def by_question(self) -> Numbers:
        """The scores by the number of the question."""
        found = np.empty(len(self.right))
        found[self.order] = self.right
        return found


def _line(name: str, own: Sequence[_Played], all_of_them: Sequence[Mapping[str, _Played]]) -> Line:
    """The result of an entrant, from what it and all others did in each order."""
    right = np.array([one.right for one in own])
    told, best = (np.array([one[other].right for one in all_of_them]) for other in (TOLD, BEST))
    each, ahead, late = right.mean(axis=1), (right - told).mean(axis=1), right[:, right.shape[1] // 2 :].mean(axis=1)
    questions = np.mean([one.by_question() for one in own], axis=0)
    of_best = np.mean([one[BEST].by_question() for one in all_of_them], axis=0)
    costs = [one.cost for one in own if one.cost is not None]
    return Line(
        name,
        float(each.mean()),
        _error(each),
        [float(part.mean()) for part in np.array_split(right, QUARTERS, axis=1)],
        float(late.mean()),
        _error(late),
        float(ahead.mean()),
        _error(ahead),
        float((questions - of_best).mean()),
        paired_bootstrap(questions, of_best, seed=0),
        float((best - right).sum(axis=1).mean()),
        float(np.mean(costs)) if costs else None,
    )


def _error(values: Numbers) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _play(trial: _Trial, orders: NDArray[np.int64]) -> list[dict[str, _Played]]:
    """What each entrant did in each of these orders."""
    cosines = trial.embeddings @ trial.embeddings.T
    given = trial.stream
    stream = Stream(cosines, given.kinds, given.marks, given.samples, given.seed, given.costs, given.asking)
    return [_one_order(trial, stream, number) for number in orders.tolist()]


def _one_order(trial: _Trial, stream: Stream, number: int) -> dict[str, _Played]:
    order = np.random.default_rng([stream.seed, number]).permutation(len(stream.kinds))
    learners: dict[str, Learner] = {
        MEMORY: Remembering(stream),
        WITHOUT: Forgetting(stream),
        TOLD: ToldTheKind(stream),
        REVERSED: Remembering(stream, _reversed(trial, number)),
        BEST: Always(stream, trial.best),
    }
    if trial.limit is not None:
        most = trial.limit * _cost_of(stream, trial.best)
        learners[LIMITED] = Remembering(stream, pace=Pace(most, len(order)))
        learners[LIMITED_TOLD] = ToldTheKind(stream, Pace(most, len(order)))
    right: dict[str, list[float]] = {name: [] for name in learners}
    cost = dict.fromkeys(learners, 0.0)
    for question in order.tolist():
        rng = np.random.default_rng([stream.seed, number, question])
        shuffled = [rng.permutation(len(own)) for own in stream.marks[question]]
        marks: list[Numbers] = [own[by] for own, by in zip(stream.marks[question], shuffled, strict=True)]
        rewards = [judged(own, rng.standard_normal(len(own)), trial.accuracy).tolist() for own in marks]
        paid = (
            [own[by].tolist() for own, by in zip(stream.costs[question], shuffled, strict=True)] if stream.costs else []
        )
        for name, learner in learners.items():
            turn = Turn(question, rewards, paid, np.random.default_rng([stream.seed, number, question, 1]))
            chosen = learner.choose(turn)
            right[name].append(_served(marks, rewards, chosen))
            if stream.costs:
                cost[name] += float(stream.asking[question, chosen[0]]) + paid[chosen[0]][0]
    return {name: _Played(np.array(own), cost[name] if stream.costs else None, order) for name, own in right.items()}


def _cost_of(stream: Stream, arm: int) -> float:
    """What it costs to ask one arm every question, on average over its samples."""
    answered = [float(own[arm].mean()) for own in stream.costs if len(own[arm])]
    return float(stream.asking[:, arm].sum()) + len(stream.costs) * sum(answered) / len(answered)


def _served(marks: Sequence[Numbers], rewards: Sequence[Sequence[float]], chosen: Sequence[int]) -> float:
    """The mark of the sample with the highest reward; ties go to the first."""
    taken = [(arm, chosen[:at].count(arm)) for at, arm in enumerate(chosen)]
    arm, sample = max(taken, key=lambda one: rewards[one[0]][one[1]])
    return float(marks[arm][sample])


def _reversed(trial: _Trial, number: int) -> list[tuple[int, int, float]]:
    """Runs on random questions of the record, with every reward r replaced by 1 - r."""
    stream = trial.stream
    rng = np.random.default_rng([stream.seed, number, len(stream.kinds)])
    runs = []
    for question in rng.integers(len(stream.kinds), size=trial.reversed_runs).tolist():
        recorded = [arm for arm, own in enumerate(stream.marks[question]) if len(own)]
        arm = recorded[int(rng.integers(len(recorded)))]
        runs.append((question, arm, 1 - float(rng.choice(stream.marks[question][arm]))))
    return runs
