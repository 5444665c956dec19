"""Sampling and second looks from one purse of calls, on simulated or recorded answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from metascale.choice.second_look import SAMPLE_CALLS, Contender, Scored, next_looks, reserve, standing


@dataclass
class Answer:
    """An answer, its judge, and the scores that it got so far.

    Attributes:
        quality: its true quality in [0, 1], hidden from whoever chooses.
        judge: gives one score in [0, 1] at each call, or None where there is no further one.
        scores: what the judge said, the first score first.
    """

    quality: float
    judge: Callable[[], float | None]
    scores: list[float] = field(default_factory=list)

    def look(self) -> None:
        """Judge it once more, if anybody still can."""
        score = self.judge()
        if score is not None:
            self.scores.append(score)


class Drawn(NamedTuple):
    """A round of answers.

    Attributes:
        answers: each with its first score.
        beside: calls that were spent on something else, such as an evolution.
    """

    answers: list[Answer]
    beside: int = 0


Draw = Callable[[int, int], Drawn]
"""Takes how many answers to draw now, at least 1, and how many the calls still pay for, these included. Draws at most
so many, fewer where it spends calls beside them, and none where there are no more."""


def sample(draw: Draw, calls: int, batch_size: int) -> Answer:
    """Spend calls on answers alone.

    Args:
        draw: draws them.
        calls: in all, at least `SAMPLE_CALLS`: an answer and its score cost `SAMPLE_CALLS`.
        batch_size: answers drawn at a time, at least 1.

    Returns:
        The answer of the highest score.
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
        calls: in all, at least `SAMPLE_CALLS`: an answer and its first score cost `SAMPLE_CALLS`, a second look one.
        batch_size: answers drawn at a time, at least 1.

    Returns:
        The answer that is chosen, and how many second looks there were.
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
    """Every answer alone; its looks are asked in different words."""
    return [
        Contender(tuple(Scored(s, number, f"{i}", is_first=i == 0) for i, s in enumerate(answer.scores)))
        for number, answer in enumerate(answers)
    ]
