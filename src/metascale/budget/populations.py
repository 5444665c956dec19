"""Methods that write answers from earlier answers: how a budget is divided into steps, and what each answer reads.

A step writes several answers at once. Each of them reads answers of the step before; those of the first step read none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import isqrt

import numpy as np

from metascale.pool.arms import BUILT_IN_ARMS
from metascale.records import Candidate, Pull

MEMBERS = 4
"""The fewest answers of a population. Not tuned: fewer leave no choice of what to read."""
READ = 4
"""The most answers that one of the next population reads: K of the paper."""
WIDTH = 8
"""The most answers of a layer: each of the built-in meta-thoughts once. Not tuned."""


@dataclass(frozen=True)
class Scheme:
    """How a method writes answers from answers.

    Attributes:
        sizes: from the budget to the answers that each step writes; they add up to the budget.
        read: from the answers of a step to how many of them one answer of the next step reads.
        arms: names of the meta-thoughts of a step's answers, in turn.
    """

    sizes: Callable[[int], list[int]]
    read: Callable[[int], int]
    arms: tuple[str, ...]

    def plan(
        self, candidates: Sequence[Candidate], *, budget: int, at_most: int, rng: np.random.Generator
    ) -> list[Pull]:
        """What is missing of the step that is under way, else the whole next step.

        Args:
            candidates: the samples so far. Those that failed are drawn again.
            budget: samples of the whole run.
            at_most: samples that may be drawn now.
            rng: chooses which answers are read.
        """
        sizes = self.sizes(budget)
        ends = list(accumulate(sizes))
        written = _written(candidates)
        step = next((number for number, end in enumerate(ends) if end > len(written)), len(ends))
        if step == len(ends):
            return []
        places = range(len(written) - ends[step] + sizes[step], sizes[step])
        shown = [c["id"] for c in (self._members(step - 1, sizes, candidates) if step else ()) if c["text"]]
        return [
            self._pull(number, self.arms[place % len(self.arms)], shown, rng)
            for number, place in enumerate(places[:at_most], len(candidates))
        ]

    def answers_read(self, budget: int) -> int:
        """How many answers all requests of a run show, if none fails."""
        sizes = self.sizes(budget)
        return sum(later * self.read(size) for size, later in pairwise(sizes))

    def last(self, candidates: Sequence[Candidate], budget: int) -> list[Candidate]:
        """The answers of the last step that is complete; all answers if none is."""
        sizes = self.sizes(budget)
        steps = [members for step in range(len(sizes)) if (members := self._members(step, sizes, candidates))]
        whole = [members for members, size in zip(steps, sizes, strict=False) if len(members) == size]
        return whole[-1] if whole else _written(candidates)

    def _members(self, step: int, sizes: Sequence[int], candidates: Sequence[Candidate]) -> list[Candidate]:
        start = sum(sizes[:step])
        return _written(candidates)[start : start + sizes[step]]

    def _pull(self, number: int, arm: str, shown: Sequence[int], rng: np.random.Generator) -> Pull:
        pull: Pull = {"id": number, "meta_thought": arm, "refines": None}
        if shown:
            chosen = rng.choice(len(shown), self.read(len(shown)), replace=False)
            pull["reads"] = [shown[index] for index in chosen]
        return pull


def _written(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [candidate for candidate in candidates if candidate["status"] != "failed"]


def _divided(total: int, parts: int) -> list[int]:
    """A total in parts that are as equal as possible, larger ones first."""
    return [total // parts + (number < total % parts) for number in range(parts)]


def _populations(budget: int) -> list[int]:
    """As many populations as answers in each, but at least `MEMBERS` answers: 4 + 4 for 8, four times 4 for 16."""
    return _divided(budget, -(-budget // max(MEMBERS, isqrt(budget))))


def _layers(budget: int) -> list[int]:
    """Layers of at most `WIDTH` answers, and one answer at the end: 7 + 1 for 8, 8 + 7 + 1 for 16."""
    return [*_divided(budget - 1, -(-(budget - 1) // WIDTH)), 1] if budget > 1 else [1]


RECURSIVE_SELF_AGGREGATION = Scheme(_populations, lambda shown: max(1, min(READ, shown - 1)), ("chain_of_thought",))
"""RSA (Venkatraman et al. 2025, arXiv 2509.26626): populations, each written from random parts of the one before.

The paper has populations of 16, K = 4 and up to 10 steps. Small budgets need smaller populations. No answer reads the
whole of a population, so that its members differ."""
MIXTURE_OF_AGENTS = Scheme(_layers, lambda shown: shown, BUILT_IN_ARMS)
"""Mixture-of-Agents (Wang et al. 2024, arXiv 2406.04692): every answer of a layer reads the whole layer before, and a
single answer ends it. The paper's agents are six models, in two layers before the end. Here they are meta-thoughts of
one model, and budgets from 10 to 17 give two layers."""
