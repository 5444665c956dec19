"""Win rates on Arena-Hard against its baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metascale.evals.report.records import AnswerGiven
from metascale.evals.report.style import matches_of
from metascale.evals.report.tables.cells import SEED, Setting, by_setting, cells_of
from metascale.evals.statistics import Interval, bootstrap_win_rates, bradley_terry, win_rate

ARENA = "arena_hard"
"""The task whose answers are judged in battles."""


BASELINE = "baseline"
"""The opponent in every battle."""


STYLE_FEATURES = ("length", "headers", "lists", "bold passages")
"""The features of `Battle.style`, in order."""


@dataclass(frozen=True)
class Player:
    """One method at one budget on the arena.

    Attributes:
        method: such as `best_of_n`.
        budget: the sampling budget that was set.
        battles: readable judgements, at least 1.
        unread: unreadable judgements.
        rate: its chance to win against the baseline, in [0, 1].
        interval: its 95 % interval, a bootstrap over battles.
        styled_rate: the same at equal style.
        styled_interval: its 95 % interval.
    """

    method: str
    budget: int
    battles: int
    unread: int
    rate: float
    interval: Interval
    styled_rate: float
    styled_interval: Interval


@dataclass(frozen=True)
class Arena:
    """Arena-Hard for one model.

    Attributes:
        setting: the task and the model.
        players: every method and budget with a readable battle, at least one.
        style: the coefficient of each of `STYLE_FEATURES`; above 0 if the judge prefers more of it.
    """

    setting: Setting
    players: tuple[Player, ...]
    style: tuple[float, ...]


def arena(answers: Sequence[AnswerGiven]) -> list[Arena]:
    """For each model, the win rates on Arena-Hard against its baseline, without and with control of style."""
    found = []
    for setting, group in by_setting([answer for answer in answers if answer.task == ARENA]):
        fought = {
            (method, budget): [battle for answer in cell for battle in answer.battles]
            for (_, method, budget), cell in cells_of(group)
        }
        read = {who: [b for b in battles if b.verdict is not None] for who, battles in fought.items()}
        names = {who: f"{who[0]}@{who[1]}" for who, battles in read.items() if battles}
        if not names:
            continue
        matches = [
            match
            for (_, method, budget), cell in cells_of(group)
            if (method, budget) in names
            for answer in cell
            for match in matches_of(names[method, budget], answer.battles, BASELINE, question=answer.question_id)
        ]
        ratings = {style: bradley_terry(matches, anchor=BASELINE, style=style) for style in (False, True)}
        intervals = {
            style: bootstrap_win_rates(matches, anchor=BASELINE, seed=SEED, style=style) for style in (False, True)
        }
        players = tuple(
            Player(
                *who,
                len(read[who]),
                len(fought[who]) - len(read[who]),
                win_rate(ratings[False], name),
                intervals[False][name],
                win_rate(ratings[True], name),
                intervals[True][name],
            )
            for who, name in names.items()
        )
        found.append(Arena(setting, players, tuple(float(weight) for weight in ratings[True].style)))
    return found
