"""The final choice: which sample is the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from metascale.choice.scores import Contender, Judgement
from metascale.choice.second_look import Rule, Standing, confidence, standing
from metascale.choice.votes import weights_of_votes
from metascale.records import Candidate, Finalist, Rival
from metascale.settings import MetaScaleSettings

_FLAWS = {"ok": 0, "truncated": 1, "refused": 2}
"""The statuses of samples that can be an answer, the best status first."""


def ranking(candidates: Sequence[Candidate], *, weighted: bool = False) -> list[Candidate]:
    """All samples that can be an answer, best first: by reward (paper, section 3: the highest-reward response).

    Whole answers come before truncated ones, even if their rewards are lower: a judge can like half an answer. Then
    samples with a reward come before those without. The paper leaves the order among equal rewards open:

    1. the final answer that more meta-thoughts gave, then the one that more samples gave; or, if votes are `weighted`
       by certainty, the one with the greater weight;
    2. the meta-thought with the higher mean reward;
    3. the earlier sample.

    So if nothing is scored, agreement decides. A judge that gives few distinct marks leaves many ties; then the record
    of the meta-thought decides. A refusal is chosen only if there is nothing else, even if its reward is high. A failed
    or empty sample is never chosen.
    """
    support, record = _support(_answers(candidates), weighted=weighted), _mean_rewards(candidates)
    return sorted(
        _answers(candidates),
        key=lambda c: (
            _FLAWS[c["status"]],
            c["reward"] is None,
            -(c["reward"] or 0.0),
            [-count for count in support[c["id"]]],
            -record.get(c["meta_thought"], 0.0),
            c["id"],
        ),
    )


@dataclass(frozen=True)
class Field:
    """The answers of a run, grouped into contenders.

    Attributes:
        groups: the samples of each contender; the first is the one to show. Contenders are in the order of their best
            sample.
        contenders: their votes and scores, in the same order.
    """

    groups: list[list[Candidate]]
    contenders: list[Contender]


VOTING = frozenset({"agreement", "certainty"})
"""Rewards that are votes, or weights of votes: they are no evidence beside the votes."""


def field_of(candidates: Sequence[Candidate], rule: Rule, *, weighted: bool = False, is_judged: bool = True) -> Field:
    """The contenders for the final answer.

    Samples with the same final answer are one contender if at least half of the samples mark theirs and the rule is not
    `"best"`. Otherwise samples with the same text are one. Truncated samples are left out if there are whole ones, and
    free texts without a score if others have one. The votes behind a contender are equal, or `weighted` by the
    certainty of their answers.

    Args:
        candidates: the samples of a run.
        rule: see `metascale.choice.second_look.standing`.
        weighted: whether votes are weighted.
        is_judged: whether rewards are judgements; if not, contenders have no scores.
    """
    ranked = ranking(candidates, weighted=weighted)
    ranked = [c for c in ranked if c["status"] == ranked[0]["status"]]
    is_grouped = rule != "best" and 2 * sum(c["extracted"] is not None for c in ranked) >= len(ranked)
    if not is_grouped and any(c["reward"] is not None for c in ranked):
        ranked = [c for c in ranked if c["reward"] is not None]
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in ranked:
        same = candidate["extracted"] if is_grouped else None
        groups.setdefault(("answer", same) if same is not None else ("text", candidate["text"]), []).append(candidate)
    scores = {candidate["id"]: _scores(candidate, is_grouped=is_grouped) for candidate in ranked}
    votes = weights_of_votes(ranked, weighted=weighted and is_grouped)
    weights = dict(zip((c["id"] for c in ranked), votes, strict=True))
    by_own_scores = [sorted(group, key=lambda c: _order(c, scores[c["id"]])) for group in groups.values()]
    return Field(
        by_own_scores,
        [
            Contender(
                tuple(score for c in group for score in scores[c["id"]]) if is_judged else (),
                support=len(group),
                weight=sum(weights[c["id"]] for c in group) / len(group),
                final=group[0]["extracted"] if is_grouped else None,
                arms=tuple(c["meta_thought"] for c in group),
            )
            for group in by_own_scores
        ],
    )


@dataclass(frozen=True)
class Choice:
    """The answer, and the evidence for it.

    Attributes:
        ranked: all samples that can be an answer, best first.
        finalists: the samples that were judged more than once, best first.
        confidence: the probability that the first is right, or of a free text that no other is better, in [0, 1]; None
            without an answer.
        basis: what the confidence rests on, in words.
    """

    ranked: list[Candidate]
    finalists: list[Finalist]
    confidence: float | None
    basis: str


def choose(candidates: Sequence[Candidate], settings: MetaScaleSettings) -> Choice:
    """Choose among all samples by all votes and scores, or by the single highest score where `confirm` is 0."""
    weighted = settings.weigh_votes
    ranked = ranking(candidates, weighted=weighted)
    if not ranked:
        return Choice([], [], None, "")
    finalists: list[Finalist] = []
    if settings.confirm != 0 and any(c["reward"] is not None for c in ranked):
        field = field_of(candidates, settings.final_choice, weighted=weighted)
        now = standing(field.contenders, settings.final_choice)
        order = sorted(range(len(field.groups)), key=lambda index: -now.worth[index])
        by_worth = [candidate for index in order for candidate in field.groups[index]]
        chosen = {candidate["id"] for candidate in by_worth}
        ranked = [*by_worth, *(c for c in ranked if c["id"] not in chosen)]
        finalists = [_finalist(c, field, now, index) for index in order for c in field.groups[index] if _is_finalist(c)]
    return Choice(ranked, finalists, *_sureness(ranked[0], candidates, settings))


def _sureness(winner: Candidate, candidates: Sequence[Candidate], settings: MetaScaleSettings) -> tuple[float, str]:
    """How sure the choice of the winner is, and what that rests on."""
    is_judged = settings.reward not in VOTING
    field = field_of(candidates, "support", weighted=settings.weigh_votes, is_judged=is_judged)
    contenders = field.contenders
    scores = sum(len(contender.scores) for contender in contenders)
    votes = sum(contender.support for contender in contenders if contender.final is not None)
    judged = f" and {_count(scores, 'score')}" if scores else ""
    place = next(
        (number for number, group in enumerate(field.groups) if any(c["id"] == winner["id"] for c in group)), None
    )
    if place is None:
        return 1 / (len(contenders) + 1), f"{_count(scores, 'score')} of other answers"
    if votes:
        finals = sum(contender.final is not None for contender in contenders)
        chance = confidence(standing(contenders), place)
        weighted = settings.weigh_votes and any(c.get("certainty") for c in candidates)
        weights = ", weighed by certainty," if weighted else ""
        return chance, f"{_count(votes, 'vote')}{weights} for {_count(finals, 'final answer')}{judged}"
    if len(contenders) == 1:
        alone = [replace(contenders[0], final=contenders[0].final or winner["text"])]
        return confidence(standing(alone)), f"a prior{judged}: there is nothing to compare the answer with"
    if not scores:
        return 1 / len(contenders), f"nothing: {len(contenders)} answers cannot be compared and have no score"
    return confidence(standing(contenders), place), f"{_count(scores, 'score')} of {len(contenders)} free texts"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def rivals(ranked: Sequence[Candidate], at_most: int = 3) -> list[Rival]:
    """The best sample of each pair of a meta-thought and a model that did not win, best first.

    Args:
        ranked: the samples, best first, at least one.
        at_most: the most to name.
    """
    best: dict[tuple[str, str], Candidate] = {}
    for candidate in ranked:
        best.setdefault((candidate["meta_thought"], candidate.get("model", "")), candidate)
    return [
        {
            "candidate": c["id"],
            "meta_thought": c["meta_thought"],
            "model": c.get("model", ""),
            "reward": c["reward"],
        }
        for c in list(best.values())[1 : at_most + 1]
    ]


def _answers(candidates: Sequence[Candidate]) -> list[Candidate]:
    given = [candidate for candidate in candidates if candidate["status"] in _FLAWS and candidate["text"]]
    return [candidate for candidate in given if candidate["status"] != "refused"] or given


def _support(answers: Sequence[Candidate], *, weighted: bool) -> dict[int, tuple[float, ...]]:
    """For each answer: how many meta-thoughts and how many samples gave the same final answer, or their votes' weight.

    An answer that marks no final answer has its own vote.
    """
    weights = weights_of_votes(answers, weighted=weighted)
    same: dict[str | int, list[tuple[str, float]]] = {}
    for candidate, weight in zip(answers, weights, strict=True):
        same.setdefault(_vote(candidate), []).append((candidate["meta_thought"], weight))
    support: dict[str | int, tuple[float, ...]] = {
        vote: (sum(weight for _, weight in given),)
        if weighted
        else (len({thought for thought, _ in given}), len(given))
        for vote, given in same.items()
    }
    return {c["id"]: support[_vote(c)] for c in answers}


def _vote(candidate: Candidate) -> str | int:
    return candidate["id"] if candidate["extracted"] is None else candidate["extracted"]


def _mean_rewards(candidates: Sequence[Candidate]) -> dict[str, float]:
    """The mean reward under each meta-thought that has one."""
    rewards: dict[str, list[float]] = {}
    for candidate in candidates:
        if candidate["reward"] is not None:
            rewards.setdefault(candidate["meta_thought"], []).append(candidate["reward"])
    return {thought: sum(found) / len(found) for thought, found in rewards.items()}


def _scores(candidate: Candidate, *, is_grouped: bool) -> list[Judgement]:
    """The verdicts on a sample. In a group, a shared reward is none of them: the group has those that it comes from."""
    first = candidate["reward"]
    scores = []
    if first is not None and not (is_grouped and candidate.get("shared")):
        scores.append(Judgement(first, candidate["id"], candidate["wording"], is_first=True))
    return scores + [
        Judgement(look["value"], candidate["id"], look["wording"])
        for look in candidate["looks"]
        if look["value"] is not None
    ]


def _order(candidate: Candidate, scores: Sequence[Judgement]) -> tuple[bool, float, bool]:
    """A sample's place in its group: by mean score, the highest first; shared ones after others, unscored ones last."""
    mean = sum(score.value for score in scores) / len(scores) if scores else candidate["reward"] or 0.0
    return candidate["reward"] is None, -mean, not scores


def _is_finalist(candidate: Candidate) -> bool:
    return bool(candidate["looks"]) and candidate["reward"] is not None


def _finalist(candidate: Candidate, field: Field, now: Standing, index: int) -> Finalist:
    first = candidate["reward"]
    assert first is not None  # noqa: S101
    return {
        "candidate": candidate["id"],
        "meta_thought": candidate["meta_thought"],
        "reward": first,
        "looks": [look["value"] for look in candidate["looks"] if look["value"] is not None],
        "estimate": round(float(now.estimates[index]), 6),
        "support": field.contenders[index].support,
    }
