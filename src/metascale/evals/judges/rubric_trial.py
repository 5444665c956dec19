"""Compares two rubrics on labelled material, with the same cases, judge and measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from langchain_core.runnables.utils import gather_with_concurrency
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metascale.data import Chain, JudgedPair
from metascale.evals.judges.mistakes import AT_ONCE, numbered
from metascale.evals.statistics import Interval, wilson
from metascale.rewards import JudgeReward, Score
from metascale.rewards.rubric import Rubric, RubricError
from metascale.runtime.seeds import place_generator
from metascale.settings import MetaScaleSettings
from metascale.stats.reliability import auc

RESAMPLES = 2_000
"""Random exchanges behind a p-value; they keep its standard error below 0.005 near the threshold."""
NOISE = 0.05
"""The conventional p-value above which a difference is called noise."""
TIE = 1e-9
"""Two rubrics are equal up to this difference in quality, which rounding can cause."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Cases:
    """Labelled material: pairs with a known better output, and chains of thought with a known first mistake."""

    pairs: Sequence[JudgedPair]
    chains: Sequence[Chain]

    def halves(self, seed: int) -> tuple[Cases, Cases]:
        """Split the cases at random into a half to learn from and a half to measure by.

        All cases of one question are in the same half, and each kind (a pair's subset, a right or wrong chain) is split
        evenly.

        Raises:
            RubricError: a half would have no pair and not both a right and a wrong chain.
        """
        pairs = _halves(self.pairs, lambda pair: pair.prompt, lambda pair: pair.subset, seed, "pair halves")
        chains = _halves(self.chains, lambda chain: chain.question, _kind, seed, "chain halves")
        first, second = (Cases(*half) for half in zip(pairs, chains, strict=True))
        if not all(half.pairs or len({_kind(chain) for chain in half.chains}) == 2 for half in (first, second)):
            raise RubricError(
                "a rubric is improved on one half of the material and measured on the other: that takes at least two "
                "pairs, or two right and two wrong chains, on different questions"
            )
        return first, second


def _kind(chain: Chain) -> str:
    return "right" if chain.mistake_index is None else "wrong"


def _halves(
    items: Sequence[Item], question: Callable[[Item], str], kind: Callable[[Item], str], seed: int, place: str
) -> tuple[list[Item], list[Item]]:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(question(item), []).append(item)
    order = [list(groups)[index] for index in place_generator(seed, place).permutation(len(groups))]
    order.sort(key=lambda name: sorted({kind(item) for item in groups[name]}))
    first, second = ([item for name in half for item in groups[name]] for half in (order[::2], order[1::2]))
    return first, second


@dataclass(frozen=True)
class PairJudged:
    """A pair and the scores of its outputs in the pair's own order, once for each order of showing."""

    pair: JudgedPair
    showings: tuple[tuple[Score, Score], ...]

    @property
    def excess(self) -> list[float] | None:
        """The lead of the worse output over the better one in each showing; None if a value is missing."""
        found = []
        for first, second in self.showings:
            if first.value is None or second.value is None:
                return None
            found.append((second.value - first.value) * (1 if self.pair.label == 1 else -1))
        return found

    @property
    def point(self) -> float | None:
        """The share of showings with the right winner, in [0, 1], ties counting half."""
        excess = self.excess
        return None if excess is None else sum(0.5 if by == 0 else float(by < 0) for by in excess) / len(excess)


@dataclass(frozen=True)
class ChainJudged:
    """A chain and its score."""

    chain: Chain
    score: Score

    @property
    def right(self) -> bool:
        """Whether the chain has no mistake."""
        return self.chain.mistake_index is None


@dataclass(frozen=True)
class JudgedCases:
    """A judge's scores of cases under one rubric, in their order."""

    pairs: list[PairJudged]
    chains: list[ChainJudged]

    @property
    def scores(self) -> list[Score]:
        """All scores."""
        of_pairs = [score for judged in self.pairs for showing in judged.showings for score in showing]
        return [*of_pairs, *(judged.score for judged in self.chains)]

    @property
    def unscored(self) -> int:
        """Answers without a value."""
        return sum(score.value is None for score in self.scores)


async def judge_cases(judge: JudgeReward, rubric: Rubric, cases: Cases, settings: MetaScaleSettings) -> JudgedCases:
    """Judge every pair in both orders and every chain once.

    Args:
        judge: takes its rubric from the settings.
        rubric: replaces the rubric of the settings.
        cases: the cases. Untrusted.
        settings: as in a run, with a seed: each request has the same seed under every rubric.
    """
    under = settings.model_copy(update={"rubric": rubric.text})

    async def show(pair: JudgedPair, index: int) -> PairJudged:
        outputs = [pair.output_1, pair.output_2]
        first, second = await judge.score(pair.prompt, outputs, under, place=["pair", index])
        second_again, first_again = await judge.score(pair.prompt, outputs[::-1], under, place=["pair", index])
        return PairJudged(pair, ((first, second), (first_again, second_again)))

    async def value(chain: Chain, index: int) -> ChainJudged:
        (score,) = await judge.score(chain.question, [numbered(chain)], under, place=["chain", index])
        return ChainJudged(chain, score)

    pairs = await gather_with_concurrency(AT_ONCE, *(show(pair, index) for index, pair in enumerate(cases.pairs)))
    chains = await gather_with_concurrency(AT_ONCE, *(value(chain, index) for index, chain in enumerate(cases.chains)))
    return JudgedCases(pairs, chains)


class Figures(BaseModel):
    """A judge's figures under one rubric."""

    model_config = ConfigDict(frozen=True)

    pairs: int = Field(description="Pairs with all values.")
    accuracy: float | None = Field(
        description="Mean share of a pair's two showings with the right winner; ties count half."
    )
    accuracy_interval: Interval | None = Field(description="Wilson's 95 % interval of `accuracy`.")
    chains: int = Field(description="Chains with a value.")
    auc: float | None = Field(
        description="Probability that a right chain is valued above a wrong one; ties count half."
    )
    auc_interval: Interval | None = Field(
        description="Wilson's 95 % interval of a share of min(right, wrong) trials. It is conservative: an AUC "
        "averages means of that many independent comparisons, so its variance is at most one such mean's."
    )
    quality: float | None = Field(
        description="The mean of accuracy and AUC, or the available one: both are the rate at which the better of two "
        "is valued higher, and 0.5 is chance."
    )
    unscored: int = Field(description="Answers without a value, over all cases.")


class RubricComparison(BaseModel):
    """Two rubrics on the cases that got all their values under both."""

    model_config = ConfigDict(frozen=True)

    before: Figures
    after: Figures
    p_value: float = Field(
        description="Probability of a difference in quality at least as large if the rubrics were alike, by exchanging "
        "them at random case by case (chains by their ranks, as Venkatraman and Begg 1996 compare AUCs)."
    )

    @property
    def better(self) -> bool:
        """Whether the second rubric has a higher quality and no more unscored answers.

        A tie is not better. A rubric that leaves more answers unscored is never better, whatever its quality on the
        rest.
        """
        before, after = self.before.quality, self.after.quality
        return before is not None and after is not None and after > before + TIE and self.fell_silent == 0

    @property
    def fell_silent(self) -> int:
        """How many more answers are unscored under the second rubric than under the first, at least 0."""
        return max(0, self.after.unscored - self.before.unscored)

    @property
    def within_noise(self) -> bool:
        """Whether equal rubrics often differ this much."""
        return self.p_value > NOISE


@dataclass(frozen=True)
class _Counted:
    """The complete cases as arrays: points of p pairs, values of c chains, and which chains are right."""

    points: NDArray[np.float64]
    values: NDArray[np.float64]
    right: NDArray[np.bool_]

    @property
    def auc(self) -> float | None:
        return auc(self.values.tolist(), self.right.tolist()) if len(self.values) else None

    @property
    def quality(self) -> float | None:
        parts = [float(self.points.mean())] if len(self.points) else []
        parts += [] if (area := self.auc) is None else [area]
        return sum(parts) / len(parts) if parts else None


def measure(judged: JudgedCases) -> Figures:
    """A judge's figures on the cases that got all their values."""
    (counted,) = _counted(judged)
    return _figures(counted, judged)


def compare(before: JudgedCases, after: JudgedCases, seed: int) -> RubricComparison:
    """Compare two rubrics.

    Args:
        before: some cases judged under the first.
        after: the same cases in the same order under the second.
        seed: of the random exchanges.
    """
    old, new = _counted(before, after)
    return RubricComparison(
        before=_figures(old, before),
        after=_figures(new, after),
        p_value=_p_value(old, new, np.random.default_rng(seed)),
    )


def _counted(*all_judged: JudgedCases) -> list[_Counted]:
    points = [[pair.point for pair in judged.pairs] for judged in all_judged]
    values = [[chain.score.value for chain in judged.chains] for judged in all_judged]
    pairs = [index for index, found in enumerate(zip(*points, strict=True)) if None not in found]
    chains = [index for index, found in enumerate(zip(*values, strict=True)) if None not in found]
    right = np.array([all_judged[0].chains[index].right for index in chains], dtype=np.bool_)
    return [
        _Counted(
            np.array([own_points[index] for index in pairs], dtype=np.float64),
            np.array([own_values[index] for index in chains], dtype=np.float64),
            right,
        )
        for own_points, own_values in zip(points, values, strict=True)
    ]


def _figures(counted: _Counted, judged: JudgedCases) -> Figures:
    pairs, area = len(counted.points), counted.auc
    rarer = int(min(counted.right.sum(), (~counted.right).sum()))
    return Figures(
        pairs=pairs,
        accuracy=float(counted.points.mean()) if pairs else None,
        accuracy_interval=wilson(float(counted.points.sum()), pairs) if pairs else None,
        chains=len(counted.values),
        auc=area,
        auc_interval=None if area is None else wilson(area * rarer, rarer),
        quality=counted.quality,
        unscored=judged.unscored,
    )


def _p_value(old: _Counted, new: _Counted, rng: np.random.Generator) -> float:
    difference = (new.quality or 0.0) - (old.quality or 0.0)
    old_ranks, new_ranks = _ranks(old.values), _ranks(new.values)
    beyond = 0
    for _ in range(RESAMPLES):
        keep_pair, keep_chain = rng.random(len(old.points)) < 0.5, rng.random(len(old.values)) < 0.5
        one, other = (
            _Counted(np.where(keep_pair, *points), np.where(keep_chain, *ranks), old.right)
            for points, ranks in (
                ((old.points, new.points), (old_ranks, new_ranks)),
                ((new.points, old.points), (new_ranks, old_ranks)),
            )
        )
        beyond += abs((other.quality or 0.0) - (one.quality or 0.0)) >= abs(difference) - TIE
    return (1 + beyond) / (1 + RESAMPLES)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0; ties get their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts + 1) / 2)[places]
    return ranks
