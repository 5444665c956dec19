"""Rules of the final choice, each on the same recorded answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from metascale.budget.stopping import MIN_VOTES, agreement
from metascale.choice.posterior import gain_of_votes
from metascale.choice.second_look import confidence, gain_of_looking, next_looks, standing
from metascale.evals.choice.draws import Draw, contenders_of
from metascale.evals.choice.panels import AGREED
from metascale.evals.choice.rows import SELF, Numbers, Question

SHARED = 8
"""One call in `SHARED`, at most, is a verdict where samples share them; none where that is a single one."""


@dataclass(frozen=True)
class Pick:
    """What a rule chose.

    Attributes:
        quality: of the answer, in [0, 1]; answers that tie share the choice.
        calls: model requests: samples and verdicts.
        looks: verdicts after the first on each answer.
        confidence: how sure the rule is; None if it does not say.
        is_right: what the confidence is about: the quality of a final answer, or whether no other free text is better.
        predicted: the gain in quality that the rule expected of its second looks.
        before: the quality of the answer that it would have chosen without them.
        foreseen: the gain that the posterior sees in the verdicts over the votes alone.
        unjudged: the quality of what the votes alone choose; of free texts, that of the choice.
    """

    quality: float
    calls: int
    looks: int = 0
    confidence: float | None = None
    is_right: float = 0.0
    predicted: float = 0.0
    before: float = 0.0
    foreseen: float = 0.0
    unjudged: float = 0.0


Rule = Callable[[Draw, int], Pick]
"""Chooses among the first N answers of a draw."""


@dataclass(frozen=True)
class Entrant:
    """A rule of the comparison.

    Attributes:
        name: what tables call it.
        pick: the rule.
        samples: how many samples it can draw for a number of calls.
    """

    name: str
    pick: Rule
    samples: Callable[[int], int]


MAJORITY, ONE = "majority", "one sample"
VOTES = "choice, votes alone"
EACH = "choice, a verdict on each sample"
SHARING = "choice, a verdict on each final answer"


def entrants(questions: Sequence[Question], panels: Mapping[str, Sequence[Numbers]]) -> list[Entrant]:
    """The rules that the recordings allow.

    Args:
        questions: at least one.
        panels: ways to weigh several judges, by name: the weights for each question, shape (judges,).
    """
    judges = list(dict.fromkeys(name for question in questions for name in question.verdicts))
    is_comparable = any(question.is_comparable for question in questions)
    both = len(judges) + 1
    found = [Entrant(ONE, _one, _as_many)]
    if is_comparable:
        found.append(Entrant(MAJORITY, _majority, _as_many))
        if any(not np.isnan(question.certainty).any() for question in questions):
            found.append(Entrant("votes weighed by certainty", _by_certainty, _as_many))
        found.append(Entrant(VOTES, partial(_choice, verdicts="none"), _as_many))
    for name in judges:
        shown = "" if name == SELF else f" of {name}"
        found.append(
            Entrant(f"best of N by a verdict{shown}", partial(_best, judge=name, most=1), partial(_shared_by, 2))
        )
        if is_comparable:
            found.append(
                Entrant(f"votes weighed by a verdict{shown}", partial(_sum, judge=name), partial(_shared_by, 2))
            )
        most = max(len(said) for question in questions for said in question.verdicts.get(name, ()))
        if most > 1:
            every = partial(_best, judge=name, most=most)
            found.append(Entrant(f"best of N by {most} verdicts{shown}", every, partial(_shared_by, most + 1)))
    if len(judges) > 1:
        places = {question.name: number for number, question in enumerate(questions)}
        for name, weights in panels.items():
            panel = partial(_panel, judges=judges, weights=weights, places=places)
            found.append(Entrant(f"best of N by a panel, {name}", panel, partial(_shared_by, both)))
    if judges:
        agreed = panels.get(AGREED)
        learned = dict(zip(judges, agreed[0].tolist(), strict=True)) if agreed else None
        found.append(Entrant(EACH, partial(_choice, verdicts="each", weights=learned), partial(_shared_by, both)))
        if is_comparable:
            found.append(Entrant(SHARING, partial(_choice, verdicts="shared", weights=learned), _beside_verdicts))
    return found


def _as_many(calls: int) -> int:
    return calls


def _shared_by(requests: int, calls: int) -> int:
    return calls // requests


def _beside_verdicts(calls: int) -> int:
    return calls - (calls // SHARED if calls >= 2 * SHARED else 0)


def _one(draw: Draw, size: int) -> Pick:
    """The mean of the answers: a random one."""
    return Pick(float(draw.quality[:size].mean()), 1)


def _shared(draw: Draw, groups: Sequence[Sequence[int]], worth: Sequence[float]) -> float:
    """The mean quality of the groups that tie for the best."""
    best = max(worth)
    tied = [group for group, one in zip(groups, worth, strict=True) if one >= best - 1e-9]
    return float(np.mean([draw.quality[list(group)].mean() for group in tied]))


def _marked(draw: Draw, size: int) -> list[list[int]]:
    groups = draw.groups(size)
    return [group for group in groups if draw.finals[group[0]] is not None] or groups


def _majority(draw: Draw, size: int) -> Pick:
    """The most frequent final answer; its share of the votes stands for a confidence."""
    groups = _marked(draw, size)
    votes = [len(group) for group in groups]
    right = _shared(draw, groups, votes)
    return Pick(right, size, confidence=max(votes) / size, is_right=right, unjudged=right)


def _by_certainty(draw: Draw, size: int) -> Pick:
    groups, weights = _marked(draw, size), draw.certainty(size)
    if weights is None:
        return _majority(draw, size)
    return Pick(_shared(draw, groups, [float(weights[group].sum()) for group in groups]), size)


def _best(draw: Draw, size: int, *, judge: str, most: int) -> Pick:
    said = [scores[:most] for scores in draw.verdicts.get(judge, [[]] * size)[:size]]
    worth = [float(np.mean(scores)) if scores else -1.0 for scores in said]
    return Pick(_shared(draw, [[place] for place in range(size)], worth), size + sum(map(len, said)))


def _sum(draw: Draw, size: int, *, judge: str) -> Pick:
    groups, said = _marked(draw, size), draw.verdicts.get(judge, [[]] * size)
    worth = [sum(said[place][0] for place in group if said[place]) for group in groups]
    return Pick(_shared(draw, groups, worth), size + sum(bool(scores) for scores in said[:size]))


def _panel(
    draw: Draw, size: int, *, judges: Sequence[str], weights: Sequence[Numbers], places: Mapping[str, int]
) -> Pick:
    own = weights[places[draw.question.name]]
    said = [draw.verdicts.get(name, [[]] * size) for name in judges]
    worth, calls = [], size
    for place in range(size):
        heard = [(scores[place][0], weight) for scores, weight in zip(said, own, strict=True) if scores[place]]
        calls += len(heard)
        total = sum(weight for _, weight in heard)
        worth.append(sum(value * weight for value, weight in heard) / total if total else -1.0)
    return Pick(_shared(draw, [[place] for place in range(size)], worth), calls)


def _choice(draw: Draw, size: int, *, verdicts: str, weights: Mapping[str, float] | None = None) -> Pick:
    """The choice of a run, with its second looks.

    Args:
        draw: the answers.
        size: how many of them.
        verdicts: `"none"`, one on `"each"` sample, or one on the first sample of each leading final answer (`"shared"`,
            as many as `SHARED` allows).
        weights: of several judges.
    """
    groups = draw.groups(size)
    judged: dict[int, int] = {}
    most = 0
    if verdicts == "each":
        judged = dict.fromkeys(range(size), 1)
    elif verdicts == "shared":
        most = size // (SHARED - 1) if size >= 2 * (SHARED - 1) else 0
        leading = sorted(groups, key=lambda group: -len(group))[:most]
        judged = {group[0]: 1 for group in leading} if len(groups) > 1 else {}
    first = sum(_count(draw, place, known) for place, known in judged.items())
    left = size // 2 if verdicts == "each" else max(0, most - first) if verdicts == "shared" else 0
    now = standing(contenders_of(draw, groups, judged, weights))
    before, looks, predicted = now.lead, 0, 0.0
    while left > 0:
        contenders = contenders_of(draw, groups, judged, weights)
        wanted = [i for i in next_looks(contenders, left) if _next(draw, groups[i], judged) is not None]
        if not wanted:
            break
        predicted += sum(gain_of_looking(now, index) for index in wanted)
        for index in wanted:
            place = _next(draw, groups[index], judged)
            assert place is not None  # noqa: S101
            judged[place] = judged.get(place, 0) + 1
        looks += len(wanted)
        left -= len(wanted)
        now = standing(contenders_of(draw, groups, judged, weights))
    lead = now.lead
    means = [float(draw.quality[group].mean()) for group in groups]
    votes = max(range(len(groups)), key=lambda i: (draw.finals[groups[i][0]] is not None, len(groups[i])))
    is_best = float(means[lead] >= float(draw.quality[:size].max()))
    known = now.posterior
    is_open = len(groups) > 1 and not draw.question.is_comparable
    return Pick(
        quality=means[lead],
        calls=size + first + looks,
        looks=looks,
        confidence=confidence(now) if known is not None or is_open else None,
        is_right=means[lead] if known is not None else is_best,
        predicted=predicted,
        before=means[before],
        foreseen=float(known.chances[lead] - known.chances[votes]) if known is not None else 0.0,
        unjudged=means[votes] if known is not None else means[lead],
    )


def _next(draw: Draw, group: Sequence[int], judged: Mapping[int, int]) -> int | None:
    """The place of the answer of a group that the next verdict is on: one without a verdict, else the least judged."""
    able = [place for place in group if any(len(s[place]) > judged.get(place, 0) for s in draw.verdicts.values())]
    return min(able, key=lambda place: judged.get(place, 0), default=None)


def _count(draw: Draw, place: int, known: int) -> int:
    return sum(min(known, len(said[place])) for said in draw.verdicts.values())


def drawn_until_sure(draw: Draw, budget: int, batch: int, surely: float) -> int:
    """The samples that a run draws before it stops on agreement, in rounds of `batch`, at most `budget`."""
    for size in range(batch, budget, batch):
        groups = draw.groups(size)
        if sum(final is not None for final in draw.finals[:size]) < MIN_VOTES:
            continue
        known = standing(contenders_of(draw, groups, {})).posterior
        if known is not None and gain_of_votes(known, budget - size) < 1 - surely:
            return size
    return budget


def drawn_by_beta(draw: Draw, budget: int, batch: int, surely: float) -> int:
    """As `drawn_until_sure`, by the rule of Adaptive-Consistency (Aggarwal et al. 2023)."""
    for size in range(batch, budget, batch):
        if agreement([final for final in draw.finals[:size] if final is not None]) >= surely:
            return size
    return budget
