"""Random orders of a question's recorded answers and verdicts, and the contenders that a rule sees of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from metascale.choice.scores import Contender, Judgement
from metascale.choice.votes import weights_of
from metascale.evals.choice.rows import Numbers, Question


@dataclass(frozen=True)
class Draw:
    """The answers to one question in a random order, and their verdicts in a random order.

    Attributes:
        question: the question.
        order: indices of its answers.
        verdicts: by judge, the scores of each answer, in the order of the answers drawn.
    """

    question: Question
    order: Sequence[int]
    verdicts: Mapping[str, list[list[float]]]

    @cached_property
    def finals(self) -> list[str | None]:
        """The final answers in the order drawn."""
        return [self.question.finals[index] for index in self.order]

    @cached_property
    def quality(self) -> Numbers:
        """The qualities in the order drawn."""
        return self.question.quality[list(self.order)]

    @cached_property
    def arms(self) -> list[str]:
        """The meta-thoughts in the order drawn; empty if they are not recorded."""
        return [self.question.arms[index] for index in self.order] if self.question.arms else []

    def certainty(self, size: int) -> Numbers | None:
        """The weights of the first votes by certainty, shape (size,); None where it is unknown for one of them."""
        known = self.question.certainty[list(self.order[:size])]
        return None if np.isnan(known).any() else weights_of(known)

    def groups(self, size: int) -> list[list[int]]:
        """The places of the first answers, grouped by final answer; every other answer is alone."""
        found: dict[str | int, list[int]] = {}
        for place in range(size):
            final = self.finals[place]
            found.setdefault(place if final is None else final, []).append(place)
        return list(found.values())


def draws_of(question: Question, repeats: int, seed: Sequence[int], *, judged_first: bool = True) -> list[Draw]:
    """Random orders of a question's answers.

    Args:
        question: the question.
        repeats: how many, at least 1.
        seed: of the random numbers.
        judged_first: whether answers with verdicts come before those without.
    """
    rng = np.random.default_rng(seed)
    answers = len(question.finals)
    judged = np.array([any(said[index] for said in question.verdicts.values()) for index in range(answers)])
    found = []
    for _ in range(repeats):
        order = rng.permutation(answers)
        if judged_first:
            order = order[np.argsort(~judged[order], kind="stable")]
        verdicts = {
            name: [list(rng.permutation(said[index])) for index in order] for name, said in question.verdicts.items()
        }
        found.append(Draw(question, [int(index) for index in order], verdicts))
    return found


def contenders_of(
    draw: Draw,
    groups: Sequence[Sequence[int]],
    judged: Mapping[int, int],
    weights: Mapping[str, float] | None = None,
) -> list[Contender]:
    """The contenders that a run would see.

    Args:
        draw: the answers.
        groups: as `Draw.groups` returns.
        judged: the number of verdicts that are known of an answer, by its place; every judge gave as many.
        weights: of the judges; several judges are one panel.
    """
    size = sum(len(group) for group in groups)
    votes = draw.certainty(size)
    return [
        Contender(
            tuple(score for place in group for score in _scores(draw, place, judged.get(place, 0), weights or {})),
            support=len(group),
            weight=1.0 if votes is None else float(votes[list(group)].mean()),
            final=draw.finals[group[0]],
            arms=tuple(draw.arms[place] for place in group) if draw.arms else (),
        )
        for group in groups
    ]


def _scores(draw: Draw, place: int, known: int, weights: Mapping[str, float]) -> list[Judgement]:
    wording = "panel" if len(draw.verdicts) > 1 else next(iter(draw.verdicts), "")
    found = []
    for number in range(known):
        heard = [
            (said[place][number], weights.get(name, 1.0))
            for name, said in draw.verdicts.items()
            if len(said[place]) > number
        ]
        total = sum(weight for _, weight in heard)
        if total:
            value = sum(value * weight for value, weight in heard) / total
            found.append(Judgement(value, place, wording, is_first=number == 0))
    return found
