"""Sampling and second looks under a shared limit of calls, on simulated or recorded answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from metascale.choice.scores import Contender, Judgement
from metascale.choice.second_look import SAMPLE_CALLS, next_looks, reserve, standing


@dataclass
class Answer:
    """An answer, its judge, and its scores so far.

    Attributes:
        quality: its true quality in [0, 1], hidden from the choice.
        judge: gives one score in [0, 1] per call, or None if it has no more.
        scores: the judge's scores, the first one first.
    """

    quality: float
    judge: Callable[[], float | None]
    scores: list[float] = field(default_factory=list)

    def look(self) -> None:
        """Re-judge it, if the judge has another score."""
        score = self.judge()
        if score is not None:
            self.scores.append(score)


class Drawn(NamedTuple):
    """A round of answers.

    Attributes:
        answers: each with its first score.
        beside: calls spent on something else, such as an evolution.
    """

    answers: list[Answer]
    beside: int = 0


Draw = Callable[[int, int], Drawn]
"""Takes how many answers to draw now, at least 1, and how many answers the remaining calls pay for, these included.
Draws at most the first number; fewer if it spends calls on something else, and none if there are no more."""


def sample(draw: Draw, calls: int, batch_size: int) -> Answer:
    """Spend all calls on answers.

    Args:
        draw: draws them.
        calls: limit of calls, at least `SAMPLE_CALLS`, which is the cost of an answer and its score.
        batch_size: answers per round, at least 1.

    Returns:
        The answer with the highest score.
    """
    answers: list[Answer] = []
    while left := calls // SAMPLE_CALLS:
        drawn = draw(min(batch_size, left), left)
        if not drawn.answers:
            break
        answers += drawn.answers
        calls -= SAMPLE_CALLS * len(drawn.answers) + drawn.beside
    return max(answers, key=lambda answer: answer.scores[0])


def sample_and_confirm(draw: Draw, calls: int, batch_size: int) -> tuple[Answer, int]:
    """Spend calls on answers and on second looks as `metascale.choice.second_look` decides under a limit of calls.

    Args:
        draw: draws answers.
        calls: limit of calls, at least `SAMPLE_CALLS`, which is the cost of an answer and its first score; a second
            look costs one call.
        batch_size: answers per round, at least 1.

    Returns:
        The chosen answer, and the number of second looks.
    """
    answers: list[Answer] = []
    spent = looks = 0
    allowed = calls // SAMPLE_CALLS // 2
    while spent < calls:
        kept = reserve(_contenders(answers), calls=allowed, spent=looks, max_calls=calls)
        left = max(0, (calls - spent - kept) // SAMPLE_CALLS)
        drawn = draw(min(batch_size, left), left) if left else Drawn([])
        if drawn.answers:
            answers += drawn.answers
            spent += SAMPLE_CALLS * len(drawn.answers) + drawn.beside
            continue
        chosen = next_looks(_contenders(answers), min(allowed - looks, calls - spent))
        if not chosen:
            break
        for index in chosen:
            answers[index].look()
        looks += len(chosen)
        spent += len(chosen)
    return answers[standing(_contenders(answers)).lead], looks


def _contenders(answers: Sequence[Answer]) -> list[Contender]:
    """Each answer as a contender of its own, with a different wording for each look."""
    return [
        Contender(tuple(Judgement(s, number, f"{i}", is_first=i == 0) for i, s in enumerate(answer.scores)))
        for number, answer in enumerate(answers)
    ]
