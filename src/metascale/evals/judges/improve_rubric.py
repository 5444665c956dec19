"""Improves a judge's rubric between tasks: a meta-judge writes it, and it is accepted only if it judges better.

The idea comes from MPO (Meta Policy Optimization, "Toward Evaluative Thinking", arXiv 2504.20157): a meta reward model
reviews a judge's judgements and rewrites its rubric. MPO uses it in training; here there is only prompting, with
labelled material instead of a policy's samples. One half of the material is to learn from, the other to measure by, and
the new rubric must win there. Within a run the rubric never changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest

from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel, ConfigDict, Field, field_validator

from metascale import prompts
from metascale.evals.judges.mistakes import numbered
from metascale.evals.judges.rubric_trial import (
    Cases,
    ChainJudged,
    Figures,
    JudgedCases,
    PairJudged,
    RubricComparison,
    compare,
    judge_cases,
    measure,
)
from metascale.evals.judges.trial import SEED
from metascale.evals.judges.trial import planned_calls as calls_of_trial
from metascale.models import MeteredModel, SimulatedChatModel
from metascale.rewards import JudgeReward
from metascale.rewards.judge import LOOK_TEMPERATURE, ask_twice
from metascale.rewards.rubric import Rubric, RubricError, undefined_scores
from metascale.settings import MetaScaleSettings
from metascale.usage import Usage, add_usage, no_usage

CASES_SHOWN = 8
"""Misjudged cases shown to the meta-judge, pairs and chains in turn: enough to show a pattern."""
TEXT_CHARS = 1_500
"""Characters shown of each text of a case: half of LLMBar's outputs have fewer than 230, and eight cases of the longest
texts stay below 20,000 tokens."""
RUBRIC_CHARS = 4_000
"""Longest rubric, in characters: ten times the shipped one, because every judgement pays for it."""


class BetterRubric(BaseModel):
    """A meta-judge's reply."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    diagnosis: str = Field(description="What the misjudgements have in common and what in the rubric lets them happen.")
    rubric: str = Field(
        max_length=RUBRIC_CHARS, description="The whole better rubric, with lines such as '- 3-4: …' from 1 to 10."
    )

    @field_validator("rubric")
    @classmethod
    def _defines_every_score(cls, text: str) -> str:
        missing = undefined_scores(text)
        if missing:
            listed = ", ".join(map(str, missing))
            raise ValueError(f"it must define every score on lines such as '- 3-4: …'; no line defines {listed}")
        return text


class RubricRound(BaseModel):
    """One attempt at a better rubric."""

    model_config = ConfigDict(frozen=True)

    training: Figures = Field(description="The current rubric on the half to learn from.")
    diagnosis: str | None = Field(default=None, description="The meta-judge's criticism of the rubric.")
    proposed: Rubric | None = Field(default=None, description="The meta-judge's new rubric.")
    held_out: RubricComparison | None = Field(default=None, description="Both rubrics on the half to measure by.")
    accepted: bool = False
    verdict: str = Field(description="Whether the proposal was accepted, and why.")


class Improvement(BaseModel):
    """The result of improving a rubric."""

    model_config = ConfigDict(frozen=True)

    simulation: bool = Field(description="The offline model took part, so this is not a result about language models.")
    rubric: Rubric = Field(description="The last accepted rubric, or else the original one.")
    accepted: bool = Field(description="Whether a new rubric was accepted.")
    rounds: list[RubricRound]
    usage: Usage
    problems: dict[str, int] = Field(
        description="Reasons of missing judgements and their counts, the most frequent first."
    )
    notes: list[str] = Field(description="Caveats of the numbers.")

    @property
    def is_dead(self) -> bool:
        """Whether no case got all its values, so that nothing is known about any rubric."""
        return self.rounds[0].training.quality is None

    def to_markdown(self, judge: str) -> str:
        """The file of the accepted rubric, with the figures behind its acceptance.

        Args:
            judge: the name of the judge that they were measured with.

        Raises:
            RubricError: none was accepted.
        """
        held_out = [one.held_out for one in self.rounds if one.accepted and one.held_out is not None]
        if not held_out:
            raise RubricError("no better rubric was accepted")
        last = held_out[-1]
        facts: dict[str, str | float | bool | None] = {"judge": judge, "simulation": self.simulation}
        for when, found in (("before", last.before), ("after", last.after)):
            facts |= {
                f"held_out_accuracy_{when}": _rounded(found.accuracy),
                f"held_out_auc_{when}": _rounded(found.auc),
            }
        facts |= {"held_out_pairs": last.after.pairs, "held_out_chains": last.after.chains}
        facts |= {"p_value": _rounded(last.p_value), "within_noise": last.within_noise}
        return self.rubric.to_markdown(facts)


def planned_rubric_calls(judge: JudgeReward, cases: Cases, settings: MetaScaleSettings, rounds: int) -> dict[str, int]:
    """Most model requests of each part without errors; arguments and exceptions as for `improve_rubric`."""
    training, held_out = (
        sum(calls_of_trial(judge, half.pairs, half.chains, repeats=0).values())
        for half in cases.halves(_seeded(settings).seed or 0)
    )
    return {
        "the half to learn from": training * rounds,
        "rubrics written": rounds,
        "the half to measure by": held_out * (rounds + 1),
    }


async def improve_rubric(
    judge: JudgeReward,
    meta_judge: MeteredModel,
    rubric: Rubric,
    cases: Cases,
    settings: MetaScaleSettings,
    *,
    rounds: int = 1,
) -> Improvement:
    """Try to find a better rubric. Only runs whose settings name it will use it.

    In each round the judge judges one half of the cases by the current rubric. The meta-judge sees the worst
    misjudgements and writes a new rubric, and the judge judges the other half by both. The new rubric is accepted if it
    is better there (`RubricComparison.better`); the first rejection ends the rounds.

    Args:
        judge: takes its rubric from the settings.
        meta_judge: writes rubrics, at the temperature of second looks: another seed may give another rubric.
        rubric: the current rubric. Trusted, like accepted ones.
        cases: labelled material. Untrusted.
        settings: as in a run, without the rubric. The default seed is that of a judge's trial.
        rounds: attempts at most, at least 1.

    Raises:
        RubricError: there is too little material, or the judge has its own rubric.
    """
    if judge.rubric is not None:
        raise RubricError("this judge has its own rubric, so no other can be tried")
    attempts = _Attempts(judge, meta_judge, cases, _seeded(settings))
    found: list[RubricRound] = []
    present = rubric
    while len(found) < rounds and (not found or found[-1].accepted):
        found.append(await attempts.attempt(present))
        if found[-1].accepted and found[-1].proposed is not None:
            present = found[-1].proposed
    return Improvement(
        simulation=any(isinstance(model.model, SimulatedChatModel) for model in (judge.model, meta_judge)),
        rubric=present,
        accepted=present != rubric,
        rounds=found,
        usage=attempts.usage,
        problems=dict(attempts.problems.most_common()),
        notes=_notes(found),
    )


class _Attempts:
    """Makes the requests, and keeps their usage and earlier judgements."""

    def __init__(self, judge: JudgeReward, meta_judge: MeteredModel, cases: Cases, settings: MetaScaleSettings) -> None:
        self.judge = judge
        self.meta_judge = meta_judge.sampling_at(LOOK_TEMPERATURE)
        self.settings = settings
        self.seed = settings.seed or 0
        self.training, self.held_out = cases.halves(self.seed)
        self.measured: dict[str, JudgedCases] = {}
        self.usage = no_usage()
        self.problems: Counter[str] = Counter()

    async def attempt(self, present: Rubric) -> RubricRound:
        trained = await self._judged(present, self.training)
        training = measure(trained)
        if training.quality is None:
            return RubricRound(training=training, verdict="Nothing could be judged by the current rubric.")
        misjudged = worst(trained)
        if not misjudged:
            return RubricRound(
                training=training, verdict="The judge misjudged nothing, so there is nothing to learn from."
            )
        reply, problem, usage = await self._ask(present, misjudged)
        self.usage = add_usage(self.usage, usage)
        if reply is None:
            return RubricRound(training=training, verdict=f"The meta-judge wrote no usable rubric: {problem}")
        proposed = present.improved(reply.rubric)
        if proposed.version_id == present.version_id:
            return RubricRound(
                training=training, diagnosis=reply.diagnosis, verdict="The meta-judge repeats the current rubric."
            )
        held_out = compare(await self._on_held_out(present), await self._on_held_out(proposed), self.seed)
        return RubricRound(
            training=training,
            diagnosis=reply.diagnosis,
            proposed=proposed,
            held_out=held_out,
            accepted=held_out.better,
            verdict=_verdict(held_out),
        )

    async def _on_held_out(self, rubric: Rubric) -> JudgedCases:
        if rubric.version_id not in self.measured:
            self.measured[rubric.version_id] = await self._judged(rubric, self.held_out)
        return self.measured[rubric.version_id]

    async def _judged(self, rubric: Rubric, cases: Cases) -> JudgedCases:
        judged = await judge_cases(self.judge, rubric, cases, self.settings)
        for score in judged.scores:
            self.usage = add_usage(self.usage, score.usage)
        self.problems.update(score.error or "no reason is given" for score in judged.scores if score.value is None)
        return judged

    async def _ask(
        self, present: Rubric, misjudged: Sequence[PairJudged | ChainJudged]
    ) -> tuple[BetterRubric | None, str | None, Usage]:
        tag = prompts.new_tag()
        material = "\n\n".join(chain.from_iterable(_case(one, i, tag) for i, one in enumerate(misjudged, 1)))
        messages = [
            SystemMessage(prompts.render("improve_rubric", limit=f"{RUBRIC_CHARS:,}", tag=tag)),
            HumanMessage(f"{prompts.fence('rubric', present.text, tag)}\n\n{material}"),
        ]
        place: list[int | str] = ["rubric", present.version]
        return await ask_twice(self.meta_judge, messages, BetterRubric, self.settings, place, untrusted=material)


def worst(judged: JudgedCases) -> list[PairJudged | ChainJudged]:
    """The worst misjudged cases, at most `CASES_SHOWN`, pairs and chains in turn.

    A pair is misjudged if the better output did not win both times; the larger the other output's lead, the worse. A
    chain is misjudged if its value is closer to the wrong end of [0, 1]; the closer, the worse.
    """
    pairs = [(sum(pair.excess), pair) for pair in judged.pairs if pair.excess is not None and pair.point != 1]
    chains = [
        (error, one)
        for one in judged.chains
        if one.score.value is not None and (error := abs(float(one.right) - one.score.value)) > 0.5
    ]
    pairs.sort(key=lambda found: -found[0])
    chains.sort(key=lambda found: -found[0])
    in_turn = chain.from_iterable(zip_longest([one for _, one in pairs], [one for _, one in chains]))
    return [one for one in in_turn if one is not None][:CASES_SHOWN]


def _case(judged: PairJudged | ChainJudged, number: int, tag: str) -> Iterator[str]:
    """A misjudged case for the meta-judge: the known facts, and each text in a fence."""
    if isinstance(judged, ChainJudged):
        case = judged.chain
        known = "It has no mistake." if judged.right else f"It goes wrong in step {(case.mistake_index or 0) + 1}."
        yield f"Case {number}: an answer in numbered steps. {known} The judge's score: {_of_10([judged.score.value])}."
        texts = {"question": case.question, "answer": numbered(case), "critique": judged.score.critique}
    else:
        pair = judged.pair
        first, second = zip(*judged.showings, strict=True)
        given = [_of_10([score.value for score in scores]) for scores in (first, second)]
        yield (
            f"Case {number}: two answers. People say that answer {pair.label} is the better one. The judge's scores, "
            f"asked twice: {given[0]} for answer 1, {given[1]} for answer 2."
        )
        texts = {"question": pair.prompt, "answer_1": pair.output_1, "critique_of_answer_1": first[0].critique}
        texts |= {"answer_2": pair.output_2, "critique_of_answer_2": second[0].critique}
    for label, text in texts.items():
        if text:
            yield prompts.fence(f"case_{number}_{label}", _shortened(text), tag)


def _of_10(values: Sequence[float | None]) -> str:
    return " and ".join(f"{1 + 9 * value:.3g}" for value in values if value is not None)


def _shortened(text: str) -> str:
    """A text, shortened in the middle to `TEXT_CHARS`."""
    left_out = len(text) - TEXT_CHARS
    if left_out <= 0:
        return text
    half = TEXT_CHARS // 2
    return f"{text[:half]}\n[… {left_out:,} characters left out …]\n{text[-half:]}"


def _verdict(found: RubricComparison) -> str:
    if found.better:
        doubt = " The difference is within noise: a rubric that is no better often does as well."
        return "Accepted: it judges the held-out half better." + (doubt if found.within_noise else "")
    if found.before.quality is None:
        return "Rejected: no case of the held-out half got all its values under both rubrics."
    if found.fell_silent:
        return f"Rejected: under it the judge leaves {found.fell_silent:,} more answers of the held-out half unscored."
    return "Rejected: it does not judge the held-out half better."


def _notes(rounds: Sequence[RubricRound]) -> list[str]:
    found = [
        "The held-out half decided about acceptance, so its figures for an accepted rubric are slightly too good; "
        "check on more material."
    ]
    if len(rounds) > 1:
        found.append("It decided more than once, and each decision adds to that bias.")
    return found if any(one.accepted for one in rounds) else []


def _seeded(settings: MetaScaleSettings) -> MetaScaleSettings:
    return settings if settings.seed is not None else settings.model_copy(update={"seed": SEED})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
