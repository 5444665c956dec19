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
        questions: questions with a readable judgement, at least 1.
        missing: questions whose judgements were all unreadable, which are left out.
        battles: readable judgements, at least 1.
        unread: unreadable judgements.
        rate: its chance to win against the baseline, in [0, 1]: the share of battles won, strong verdicts threefold.
        interval: its 95 % interval, a Bayesian bootstrap over questions.
        styled_rate: the same at equal style.
        styled_interval: its 95 % interval.
    """

    method: str
    budget: int
    questions: int
    missing: int
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
            (method, budget): [answer for answer in cell if answer.battles]
            for (_, method, budget), cell in cells_of(group)
        }
        cells = {who: cell for who, cell in fought.items() if any(map(_is_read, cell))}
        if not cells:
            continue
        matches = [
            match
            for (method, budget), cell in cells.items()
            for answer in cell
            for match in matches_of(f"{method}@{budget}", answer.battles, BASELINE, question=answer.question_id)
        ]
        plain, styled = (bradley_terry(matches, anchor=BASELINE, style=style) for style in (False, True))
        plain_intervals, styled_intervals = (
            bootstrap_win_rates(matches, anchor=BASELINE, seed=SEED, style=style) for style in (False, True)
        )
        players = []
        for (method, budget), cell in cells.items():
            name = f"{method}@{budget}"
            read = {answer.question_id for answer in cell if _is_read(answer)}
            verdicts = [battle.verdict for answer in cell for battle in answer.battles]
            player = Player(
                method=method,
                budget=budget,
                questions=len(read),
                missing=len({answer.question_id for answer in cell} - read),
                battles=len(verdicts) - verdicts.count(None),
                unread=verdicts.count(None),
                rate=win_rate(plain, name),
                interval=plain_intervals[name],
                styled_rate=win_rate(styled, name),
                styled_interval=styled_intervals[name],
            )
            players.append(player)
        found.append(Arena(setting, tuple(players), styled.style))
    return found


def _is_read(answer: AnswerGiven) -> bool:
    """Whether a verdict on the answer could be read."""
    return any(battle.verdict is not None for battle in answer.battles)
