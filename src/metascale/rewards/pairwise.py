"""A tournament: a chat model compares answers in pairs, and wins give an answer its value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import SystemMessage
from pydantic import BaseModel, ConfigDict, Field

from metascale import prompts
from metascale.models import MeteredModel, resolve_model
from metascale.question import is_long, shown
from metascale.rewards.base import Earlier, Score
from metascale.rewards.judge import ask_twice, led
from metascale.rewards.rubric import Rubric
from metascale.settings import MetaScaleSettings
from metascale.stats.bradley_terry import Game, beats_average, strengths
from metascale.usage import Usage, add_usage, no_usage

WORDINGS = ("pairwise", "pairwise_sceptic")
"""The prompts that ask for a comparison; games take turns in using them."""
EARLIER_OPPONENTS = 2
"""Earlier answers that a new one plays: the best and one more. The best shows whether the new one leads, the other
connects the new one to the rest of the field."""
DECIMALS = 9
"""Decimals of a value, well above the fit's precision, so that equal records give equal values."""
ANALYSIS_CHARS = 2_000
"""Characters to which a grammar limits an analysis, twice eight long sentences; a longer one is read nevertheless."""

POINTS = {"A": 1.0, "tie": 0.5, "B": 0.0}
"""Points of the answer shown as A."""


class Comparison(BaseModel):
    """A judge's reply about two answers."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    analysis: str = Field(
        description="What is right and wrong about A and about B, before a winner is named.",
        examples=["A forgets the second half of the question. B answers both halves, and its steps hold."],
        json_schema_extra={"maxLength": ANALYSIS_CHARS},
    )
    winner: Literal["A", "B", "tie"] = Field(
        description="The better answer, or 'tie' where neither is better.", examples=["B"]
    )


@dataclass(frozen=True)
class _Judgement:
    """One game in one order: the points of the answer shown as A, the analysis and the bill; None where it failed."""

    points: float | None
    analysis: str | None
    problem: str | None
    usage: Usage


class PairwiseReward:
    """Compares answers in pairs, each pair in both orders, and values an answer by its chance against an average one.

    A new answer plays the other new ones (all of them in rounds of up to five, else four neighbours on a ring with
    chords) and up to `EARLIER_OPPONENTS` earlier ones, so that rounds are connected. If the two orders of a game
    disagree, it is a draw. If only one order could be read, the game counts half. The values of a task are
    Bradley-Terry strengths as probabilities. Their mean is always 1/2, so a value compares an answer with the others
    and says nothing about whether any is right.

    The memo of an answer holds its games with answers that came before it, as `{"games": [[opponent, points,
    orders]]}`: the opponent's index in the order of scoring, the answer's mean points in [0, 1] and the number of
    orders that were read.
    """

    def __init__(self, model: BaseChatModel | MeteredModel | str, *, rubric: str | None = None) -> None:
        """Compare with `model`.

        Args:
            model: a chat model, or a name as `create_metascale` takes it.
            rubric: what makes an answer better; by default the settings' rubric, else the built-in one.

        Raises:
            MetaScaleError: the name is unknown or the model cannot be set up.
        """
        self.model = model if isinstance(model, MeteredModel) else MeteredModel(resolve_model(model))
        self.rubric = rubric

    def calls(self, new: int, earlier: int = 0) -> int:
        """As in `Reward`: two requests for each game."""
        return 2 * (len(_within_round(new)) + new * min(earlier, EARLIER_OPPONENTS))

    async def score(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        earlier: Sequence[Earlier] = (),
    ) -> list[Score]:
        """Play the games of a round; see `RelativeReward.score`.

        An answer is unscored only if all its games failed. An answer without opponents gets 1/2. A critique is the
        analysis of one of the answer's games.
        """
        texts = [*(answer.text for answer in earlier), *answers]
        games = self._games([answer.memo for answer in earlier], len(answers))
        orders = [order for first, second in games for order in ((first, second), (second, first))]
        wordings = [WORDINGS[(a + b) % 2] for a, b in orders]
        work = [
            partial(self._judge, question, (texts[a], texts[b]), settings, [*place, a, b], wording=wording)
            for (a, b), wording in zip(orders, wordings, strict=True)
        ]
        is_first = is_long(question) and not any((answer.memo or {}).get("games") for answer in earlier)
        judged = dict(zip(orders, await led(work, wordings if is_first else []), strict=True))
        new = range(len(earlier), len(texts))
        memos = [_memo(index, games, judged) for index in new]
        values = self.values([*(answer.memo for answer in earlier), *memos])[len(earlier) :]
        return [
            _score(index, value, memo, games, judged) for index, value, memo in zip(new, values, memos, strict=True)
        ]

    def values(self, memos: Sequence[Any]) -> list[float | None]:
        """Each answer's chance against an average one; see `RelativeReward.values`."""
        games = [
            Game(index, opponent, points, orders / 2)
            for index, memo in enumerate(memos)
            if memo is not None
            for opponent, points, orders in memo["games"]
        ]
        chances = beats_average(strengths(len(memos), games))
        return [
            None if memo is None else round(float(chance), DECIMALS)
            for memo, chance in zip(memos, chances, strict=True)
        ]

    def _games(self, memos: Sequence[Any], new: int) -> list[tuple[int, int]]:
        """The games of a round, as pairs of an answer and one that came before it."""
        values = self.values(memos)
        ranked = sorted(
            (index for index, value in enumerate(values) if value is not None),
            key=lambda index: (-(values[index] or 0.0), index),
        )
        best, field = ranked[:1], ranked[1:]
        games = []
        for number in range(new):
            other = [field[(2 * number + 1) * len(field) // (2 * new)]] if field else []
            games += [(len(memos) + number, opponent) for opponent in best + other]
        return games + [(len(memos) + first, len(memos) + second) for first, second in _within_round(new)]

    async def _judge(
        self,
        question: str,
        pair: tuple[str, str],
        settings: MetaScaleSettings,
        place: Sequence[int | str],
        *,
        wording: str,
    ) -> _Judgement:
        tag = prompts.tag_for(question, *pair)
        parts = {"question": question, "answer_a": pair[0], "answer_b": pair[1]}
        material = "\n\n".join(prompts.fence(label, text, tag) for label, text in parts.items())
        rubric = Rubric.parse(self.rubric or settings.rubric or prompts.load("rubric")).text
        messages = [SystemMessage(prompts.render(wording, rubric=rubric, tag=tag)), shown(material, question)]
        reply, problem, usage = await ask_twice(self.model, messages, Comparison, settings, place, untrusted=material)
        if reply is None:
            return _Judgement(None, None, problem, usage)
        return _Judgement(POINTS[reply.winner], reply.analysis, None, usage)


def _within_round(new: int) -> list[tuple[int, int]]:
    """The games among the new answers of a round, as pairs of the later and the earlier one.

    On a ring, each answer plays the next one and the one about sqrt(new) places further. In rounds of up to five each
    plays each other; in long rounds any two are connected by few games.
    """
    steps = (1, round(math.sqrt(new)))
    pairs = {frozenset((index, (index + step) % new)) for index in range(new) for step in steps}
    return sorted((max(pair), min(pair)) for pair in pairs if len(pair) == 2)


Games = Sequence[tuple[int, int]]
Judgements = dict[tuple[int, int], _Judgement]


def _memo(index: int, games: Games, judged: Judgements) -> dict[str, Any] | None:
    """The memo of a new answer; None if it has games and all of them failed."""
    played = [_outcome(first, second, judged) for first, second in games if index in {first, second}]
    if played and not any(orders for _, _, orders in played):
        return None
    own = [_outcome(first, second, judged) for first, second in games if first == index]
    return {"games": [list(outcome) for outcome in own if outcome[2]]}


def _outcome(first: int, second: int, judged: Judgements) -> tuple[int, float, int]:
    """The opponent, the first answer's mean points, and the number of orders that were read."""
    as_a, as_b = judged[first, second].points, judged[second, first].points
    points = ([as_a] if as_a is not None else []) + ([1 - as_b] if as_b is not None else [])
    return second, sum(points) / len(points) if points else 0.0, len(points)


def _score(index: int, value: float | None, memo: Any, games: Games, judged: Judgements) -> Score:
    usage = no_usage()
    for first, second in games:
        if first == index:
            usage = add_usage(add_usage(usage, judged[first, second].usage), judged[second, first].usage)
    mine = [judgement for shown, judgement in judged.items() if index in shown]
    if value is None:
        return Score(None, error=next(judgement.problem for judgement in mine if judgement.problem), usage=usage)
    as_a = (judged[shown].analysis for shown in judged if shown[0] == index)
    analysis = next((text for text in as_a if text is not None), None)
    critique = None if analysis is None else f"Compared, as answer A, with another answer, B: {analysis}"
    return Score(value, critique=critique, memo=memo, usage=usage)
