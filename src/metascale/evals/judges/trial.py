"""Puts a judge on trial: does it tell better from worse and right from wrong, and agree with itself?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from langchain_core.runnables.utils import gather_with_concurrency
from pydantic import BaseModel, ConfigDict, Field

from metascale.data import Chain, JudgedPair
from metascale.evals.judges.mistakes import AT_ONCE, MistakesTrial, find_mistakes, numbered
from metascale.evals.judges.statistics import correlation_in_pairs, spread
from metascale.evals.statistics import Interval, wilson
from metascale.models import MeteredModel, SimulatedChatModel
from metascale.rewards.base import RelativeReward, Reward, Score
from metascale.rewards.scorer import Scorer
from metascale.runtime.seeds import place_generator
from metascale.settings import MetaScaleSettings
from metascale.stats.reliability import CalibrationBin, Reliability, auc, expected_calibration, reliability
from metascale.usage import Usage, add_usage, no_usage

SEED = 0
"""Default seed: a list judge shuffles by the seed, and both orders of a pair must be shuffled alike."""
TEN = 9
"""Width of the judges' scale from 1 to 10, in units of a value in [0, 1]."""


class PairsFound(BaseModel):
    """How often the judge preferred the better output of a pair."""

    model_config = ConfigDict(frozen=True)

    pairs: int = Field(description="Pairs shown, each in both orders.")
    unscored: int = Field(description="Showings (two per pair) with an unscored output.")
    ties: int = Field(description="Showings in which both outputs got the same value.")
    accuracy: float | None = Field(description="Share of scored showings with the right winner, ties counting half.")
    interval: Interval | None = Field(
        description="Wilson's 95 % interval of the mean over pairs, as the two showings of a pair are not independent."
    )
    both: int = Field(description="Pairs scored in both orders.")
    same_winner: float | None = Field(description="Share of them with the same winner in both orders.")
    flipped: int = Field(
        description="Pairs whose winner depends on the order: always the first, or always the last output."
    )


class PairsTrial(PairsFound):
    """The same for all pairs and for each kind."""

    subsets: dict[str, PairsFound]


class ChainsTrial(BaseModel):
    """How well values of chains of thought tell chains without a mistake from the others."""

    model_config = ConfigDict(frozen=True)

    chains: int = Field(description="Chains shown.")
    right: int = Field(description="Chains without a mistake.")
    unscored: int = Field(description="Chains without a value.")
    auc: float | None = Field(description="Probability that a right chain is valued above a wrong one; 0.5 is chance.")
    reliability: Reliability | None = Field(
        description="The reliability behind a panel's weights; null without a value."
    )
    weight: float | None = Field(description="The weight in a panel that follows from it, in [0, 1].")
    bins: list[CalibrationBin] = Field(description="Mean value and share of right chains, by value.")


class RepeatsTrial(BaseModel):
    """How well a judge agrees with itself about the same answers.

    An error is a value minus the judge's mean value, with the same wording, of chains of the same correctness. So
    neither correctness nor the severity of a wording counts as agreement.
    """

    model_config = ConfigDict(frozen=True)

    answers: int = Field(description="Answers with at least two values.")
    judgements: int = Field(description="Their values, the first included.")
    within: float = Field(description="Standard deviation of the values of one answer, on the scale [0, 1].")
    between: float | None = Field(description="Standard deviation of the answers' true values, on the same scale.")
    within_of_10: float = Field(description="`within` on the scale from 1 to 10.")
    between_of_10: float | None = Field(description="`between` on the scale from 1 to 10.")
    icc: float | None = Field(description="Share of the variance that lies between answers; null if nothing varies.")
    copies: bool = Field(description="All repeats of each answer got the same value.")
    same_wording: float | None = Field(description="Correlation of the errors of two judgements asked alike.")
    other_wording: float | None = Field(description="The same of two judgements asked in different words or orders.")


class Trial(BaseModel):
    """The results of a judge's trial."""

    model_config = ConfigDict(frozen=True)

    simulation: bool = Field(description="The offline model took part, so this is not a result about language models.")
    pairs: PairsTrial | None
    chains: ChainsTrial | None
    repeats: RepeatsTrial | None
    mistakes: MistakesTrial | None
    usage: Usage
    problems: dict[str, int] = Field(
        description="Reasons of missing judgements and their counts, the most frequent first."
    )
    notes: list[str] = Field(description="Caveats of the numbers.")

    @property
    def is_dead(self) -> bool:
        """Whether nothing could be scored or read."""
        pairs_dead = self.pairs is None or self.pairs.accuracy is None
        chains_dead = self.chains is None or self.chains.reliability is None
        return pairs_dead and chains_dead and (self.mistakes is None or self.mistakes.mcc is None)


def drawn_pairs(pairs: Sequence[JudgedPair], limit: int | None, seed: int) -> list[JudgedPair]:
    """At most `limit` of the pairs, drawn at random by the seed; all without a limit."""
    return [pairs[index] for index in sorted(place_generator(seed, "pairs").permutation(len(pairs))[:limit])]


def drawn_chains(chains: Sequence[Chain], limit: int | None, seed: int) -> list[Chain]:
    """At most `limit` of the chains, drawn at random by the seed; all without a limit.

    Right and wrong chains keep their shares, but a draw of two or more holds at least one of each if possible.
    """
    if limit is None or limit >= len(chains):
        return list(chains)
    order = [int(index) for index in place_generator(seed, "chains").permutation(len(chains))]
    right = [index for index in order if chains[index].mistake_index is None]
    wrong = [index for index in order if chains[index].mistake_index is not None]
    share = round(limit * len(right) / len(chains))
    if limit > 1:
        share = min(max(share, min(1, len(right))), limit - min(1, len(wrong)))
    return [chains[index] for index in sorted(right[:share] + wrong[: limit - share])]


def planned_calls(
    reward: Reward | RelativeReward,
    pairs: Sequence[JudgedPair],
    chains: Sequence[Chain],
    *,
    repeats: int,
    model: MeteredModel | None = None,
    reason_judge: MeteredModel | None = None,
) -> dict[str, int]:
    """Most model requests of each part of a trial without errors; arguments as for `try_judge`."""
    scorer = Scorer(reward)
    alone = len(chains) if scorer.judges_alone else 0
    again = scorer.calls(1) if scorer.calls_per_look is None else scorer.calls_per_look
    wrong = sum(chain.mistake_index is not None for chain in chains)
    return {
        "pairs, in both orders": 2 * len(pairs) * reward.calls(2),
        "chains": alone * reward.calls(1),
        "chains, repeated": alone * repeats * again,
        "first mistakes": len(chains) if model else 0,
        "grades of reasons": wrong if model and reason_judge else 0,
    }


async def try_judge(
    reward: Reward | RelativeReward,
    pairs: Sequence[JudgedPair],
    chains: Sequence[Chain],
    settings: MetaScaleSettings,
    *,
    repeats: int = 3,
    model: MeteredModel | None = None,
    reason_judge: MeteredModel | None = None,
) -> Trial:
    """Put a judge on trial. Failures of the judge are reported, not raised.

    Args:
        reward: the judge. One that only compares answers gets no chains, because each chain is the only answer to its
            question.
        pairs: pairs with a known better output; empty to leave this part out.
        chains: chains of thought with a known first mistake; empty to leave these parts out.
        settings: as in a run; the default seed is `SEED`.
        repeats: how often each chain is re-judged, at least 0.
        model: the chat model behind the judge, which is also asked for the first mistakes; None to leave them out.
        reason_judge: grades its reasons for mistakes; None for no grades.
    """
    seeded = settings if settings.seed is not None else settings.model_copy(update={"seed": SEED})
    bench = _Bench(reward, seeded)
    notes = []
    pairs_found = await bench.judge_pairs(pairs) if pairs else None
    chains_found = repeats_found = mistakes = None
    if not bench.scorer.judges_alone:
        notes.append("This judge only compares answers, so it was shown no single chains.")
    elif chains:
        first = await bench.judge_chains(chains)
        chains_found = _chains_trial(chains, first)
        looks = [[score, *more] for score, more in zip(first, await bench.repeat(chains, repeats), strict=True)]
        repeats_found = _repeats_trial(chains, looks)
    problems, usage = bench.problems, bench.usage
    if chains and model is not None:
        mistakes, bill, missing = await find_mistakes(model, chains, seeded, reason_judge=reason_judge)
        usage = add_usage(usage, bill)
        problems.update(missing)
    trial = Trial(
        simulation=any(isinstance(m.model, SimulatedChatModel) for m in (model, reason_judge) if m is not None),
        pairs=pairs_found,
        chains=chains_found,
        repeats=repeats_found,
        mistakes=mistakes,
        usage=usage,
        problems=dict(problems.most_common()),
        notes=notes,
    )
    return trial.model_copy(update={"notes": [*notes, *_notes(trial)]})


@dataclass
class _Shown:
    """One showing of a pair: the values of its first and second output, in the pair's own order."""

    first: float | None
    second: float | None

    @property
    def winner(self) -> int | None:
        """1 or 2; 0 for a tie; None if a value is missing."""
        if self.first is None or self.second is None:
            return None
        return 0 if self.first == self.second else 1 if self.first > self.second else 2


class _Bench:
    """Lets a reward score the material, and keeps usage and errors."""

    def __init__(self, reward: Reward | RelativeReward, settings: MetaScaleSettings) -> None:
        self.scorer = Scorer(reward)
        self.settings = settings
        self.usage = no_usage()
        self.problems: Counter[str] = Counter()

    async def judge_pairs(self, pairs: Sequence[JudgedPair]) -> PairsTrial:
        showings = await gather_with_concurrency(
            AT_ONCE,
            *(self._show(pair, index, swapped) for index, pair in enumerate(pairs) for swapped in (False, True)),
        )
        shown = [(pair, (showings[2 * i], showings[2 * i + 1])) for i, pair in enumerate(pairs)]
        kinds = sorted({pair.subset for pair in pairs})
        subsets = {kind: _pairs_found([(p, s) for p, s in shown if p.subset == kind]) for kind in kinds}
        return PairsTrial(**dict(_pairs_found(shown)), subsets=subsets)

    async def judge_chains(self, chains: Sequence[Chain]) -> list[Score]:
        found = await gather_with_concurrency(
            AT_ONCE, *(self._score(chain.question, [numbered(chain)], ["chain", i]) for i, chain in enumerate(chains))
        )
        return [scores[0] for scores in found]

    async def repeat(self, chains: Sequence[Chain], repeats: int) -> list[list[Score]]:
        found = await gather_with_concurrency(
            AT_ONCE, *(self._look(chain, i, look) for i, chain in enumerate(chains) for look in range(1, repeats + 1))
        )
        return [found[i * repeats : (i + 1) * repeats] for i in range(len(chains))]

    async def _show(self, pair: JudgedPair, index: int, swapped: bool) -> _Shown:  # noqa: FBT001
        outputs = [pair.output_1, pair.output_2]
        scores = await self._score(pair.prompt, outputs[::-1] if swapped else outputs, ["pair", index])
        first, second = scores[::-1] if swapped else scores
        return _Shown(first.value, second.value)

    async def _look(self, chain: Chain, index: int, look: int) -> Score:
        question, answers = chain.question, [numbered(chain)]
        place: list[int | str] = ["look", index, look]
        if self.scorer.calls_per_look is None:
            return (await self._score(question, answers, place))[0]
        return self._counted(await self.scorer.look_again(question, answers, self.settings, place=place, looks=[look]))[
            0
        ]

    async def _score(self, question: str, answers: list[str], place: Sequence[int | str]) -> list[Score]:
        scores, _ = await self.scorer.score(question, answers, self.settings, place=place)
        return self._counted(scores)

    def _counted(self, scores: list[Score]) -> list[Score]:
        """The scores, once their bill and their failures are written down."""
        for score in scores:
            self.usage = add_usage(self.usage, score.usage)
        self.problems.update(score.error or "no reason is given" for score in scores if score.value is None)
        return scores


def _pairs_found(shown: Sequence[tuple[JudgedPair, tuple[_Shown, _Shown]]]) -> PairsFound:
    winners = [(pair.label, [found for s in showings if (found := s.winner) is not None]) for pair, showings in shown]
    points = [[0.5 if winner == 0 else float(winner == label) for winner in found] for label, found in winners]
    scored = [point for both in points for point in both]
    per_pair = [sum(both) / len(both) for both in points if both]
    in_both = [found for _, found in winners if len(found) == 2]
    same = sum(found[0] == found[1] != 0 for found in in_both)
    return PairsFound(
        pairs=len(shown),
        unscored=2 * len(shown) - len(scored),
        ties=sum(winner == 0 for _, found in winners for winner in found),
        accuracy=sum(scored) / len(scored) if scored else None,
        interval=wilson(sum(per_pair), len(per_pair)) if per_pair else None,
        both=len(in_both),
        same_winner=same / len(in_both) if in_both else None,
        flipped=sum({*found} == {1, 2} for found in in_both),
    )


def _chains_trial(chains: Sequence[Chain], scores: Sequence[Score]) -> ChainsTrial:
    known = [(s.value, c.mistake_index is None) for s, c in zip(scores, chains, strict=True) if s.value is not None]
    values, right = [value for value, _ in known], [is_right for _, is_right in known]
    trusted = reliability(values, right) if known else None
    return ChainsTrial(
        chains=len(chains),
        right=sum(chain.mistake_index is None for chain in chains),
        unscored=len(chains) - len(known),
        auc=auc(values, right) if known else None,
        reliability=trusted,
        weight=trusted.weight if trusted else None,
        bins=expected_calibration(values, right)[1] if known else [],
    )


def _repeats_trial(chains: Sequence[Chain], looks: Sequence[Sequence[Score]]) -> RepeatsTrial | None:
    values = [[score.value for score in scores if score.value is not None] for scores in looks]
    found = spread(values)
    if found is None:
        return None
    kinds: dict[tuple[str, bool], list[float]] = {}
    for chain, scores in zip(chains, looks, strict=True):
        for score in scores:
            if score.value is not None:
                kinds.setdefault((score.wording, chain.mistake_index is None), []).append(score.value)
    usual = {kind: sum(known) / len(known) for kind, known in kinds.items()}
    errors: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for chain, scores in zip(chains, looks, strict=True):
        right = chain.mistake_index is None
        known = [(s.value - usual[s.wording, right], s.wording) for s in scores if s.value is not None]
        for (first, wording), (second, other) in combinations(known, 2):
            errors[wording == other].append((first, second))
    repeated = [group for group in values if len(group) > 1]
    return RepeatsTrial(
        answers=len(repeated),
        judgements=sum(map(len, repeated)),
        within=found.within,
        between=found.between,
        within_of_10=TEN * found.within,
        between_of_10=None if found.between is None else TEN * found.between,
        icc=found.icc,
        copies=all(len(set(group)) == 1 for group in repeated),
        same_wording=correlation_in_pairs(errors[True]),
        other_wording=correlation_in_pairs(errors[False]),
    )


def _notes(trial: Trial) -> list[str]:
    """Caveats of the numbers of a trial."""
    found = []
    if trial.is_dead:
        found.append("Nothing could be scored: this judge cannot judge.")
    if trial.pairs and trial.pairs.accuracy is not None and trial.pairs.ties == 2 * trial.pairs.pairs:
        found.append("The judge gave both outputs of every pair the same value, so it has no preference.")
    if trial.chains and trial.chains.reliability and trial.chains.auc is None:
        found.append("All chains with a value are right, or all are wrong, so there was nothing to distinguish.")
    if trial.repeats and trial.repeats.copies:
        found.append("All repeats of each answer got the same value: re-judging with this judge adds no information.")
    if trial.mistakes and trial.mistakes.mcc is None:
        found.append("No reply about the first mistakes could be read, so ignore that part.")
    if trial.mistakes and trial.mistakes.reason is None and trial.mistakes.mcc is not None:
        found.append(
            "Reasons were not graded, because no --reason-judge is set. So there is no share of right reasons and no "
            "combined score."
            if trial.mistakes.wrong
            else "No chain has a mistake to find."
        )
    return found
