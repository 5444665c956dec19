"""The default reward: a chat model as a judge, critique first, then a score from 1 to 10.

The paper scores with an outcome reward model (section 3, phase 2). A judge is the default here because most users have
only a chat model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.runnables import ensure_config
from langchain_core.runnables.utils import gather_with_concurrency
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from metascale import prompts
from metascale.errors import ModelCallError
from metascale.models import MeteredModel, Reading, ask, resolve_model
from metascale.models.json_reply import Schema
from metascale.models.probabilities import tokens_of
from metascale.models.quotation import unquoted
from metascale.models.sized import sized
from metascale.question import is_long, shown
from metascale.rewards.base import Score
from metascale.rewards.expected_score import expected_score
from metascale.rewards.rubric import Rubric
from metascale.runtime.seeds import place_generator
from metascale.settings import MetaScaleSettings
from metascale.usage import Usage, add_usage, no_usage

T = TypeVar("T")

WORDINGS = ("judge", "judge_examiner", "judge_sceptic")
"""The prompts that ask for a score of one answer, in the order in which looks use them."""
WAYS = 2 * len(WORDINGS)
"""Ways of asking: every wording with the question first, then every wording with the answer first."""
LOOK_TEMPERATURE = 1.0
"""Temperature of every look but the first, for models that have one. Judgements must be free to differ, and 1 is the
only value that reasoning models accept."""


JUDGE_TOKENS = 4_096
"""The most tokens of a verdict, for models that have such a limit. Ours: ten times a long critique, so that only a
reply without end reaches it."""
ALTERNATIVES = 20
"""Alternatives to a score's token that are asked for: the most that OpenAI and vLLM give, enough for all ten scores."""
TOKENS_AN_ANSWER = 512
"""Tokens on top of that for each further answer in a request. Not tuned."""
CRITIQUE_CHARS = 1_500
"""Characters to which a grammar limits a critique, twice six long sentences; a longer one is read nevertheless.
Not tuned."""

_OUT_OF_TEN = re.compile(r"[\s*\[(]*(\d+(?:[.,]\d+)?)[\s*\])]*(?:(?:/|out of|of)\s*10(?:[.,]0+)?[\s*\])]*)?[.]?\s*")
"""A score in words that can be read in one way only: `7`, `7.5`, `**7**`, `7/10`, `7 out of 10`."""
_DIGITS = {
    word: str(number)
    for number, word in enumerate(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), 1)
}


def _as_score(value: Any) -> Any:
    if isinstance(value, bool):
        message = "a score is a number"
        raise ValueError(message)  # noqa: TRY004
    if not isinstance(value, str):
        return value
    stated = _OUT_OF_TEN.fullmatch(re.sub("[a-z]+", lambda word: _DIGITS.get(word[0], word[0]), value.casefold()))
    return float(stated[1].replace(",", ".")) if stated else value


def _as_enum(schema: dict[str, Any]) -> None:
    """Name every score, because grammars do not keep the bounds of a number."""
    for bound in ("minimum", "maximum"):
        schema.pop(bound)
    schema |= {"type": "integer", "enum": list(range(1, 11))}


Mark = Annotated[float, BeforeValidator(_as_score)]


def _out_of_ten() -> Any:
    """The field of a score."""
    return Field(
        ge=1,
        le=10,
        allow_inf_nan=False,
        description="A whole number from 1 (wrong) to 10 (right, checked).",
        examples=[3, 9],
        json_schema_extra=_as_enum,
    )


class BareVerdict(BaseModel):
    """A judge's reply without a critique."""

    model_config = ConfigDict(title="Verdict", json_schema_extra={"additionalProperties": False})

    score: Mark = _out_of_ten()


class JudgeVerdict(BaseModel):
    """A judge's reply."""

    model_config = ConfigDict(
        title="Verdict", json_schema_extra={"additionalProperties": False}
    )  # models see the title

    critique: str = Field(
        description="What is right and wrong about the answer, before any score is given.",
        examples=["The set-up is right, but step 3 adds the tax twice, so the total is too high.", "All steps hold."],
        json_schema_extra={"maxLength": CRITIQUE_CHARS},
    )
    score: Mark = _out_of_ten()


class NumberedVerdict(JudgeVerdict):
    """A judge's verdict on one of several answers."""

    model_config = ConfigDict(title="NumberedVerdict")

    answer: int = Field(description="The number of the answer that is judged.", examples=[1, 2])


class Verdicts(BaseModel):
    """A judge's reply about several answers."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    verdicts: list[NumberedVerdict] = Field(description="One verdict for every answer.")

    @classmethod
    def on(cls, count: int) -> type[Verdicts]:
        """The schema of verdicts on `count` answers."""
        return sized(cls, count)


class JudgeReward:
    """A chat model that judges the answers of a round, one or several in a request, all requests in parallel.

    A request that fails twice, by error or by an unreadable reply, leaves its answers unscored.
    """

    calls_per_look = 1
    shares_verdicts = True
    checks_critiques = False
    """Whether the reward itself reads the critiques."""

    def __init__(
        self, model: BaseChatModel | MeteredModel | str, *, rubric: str | None = None, at_once: int | None = None
    ) -> None:
        """Judge with `model`.

        Args:
            model: a chat model, or a name as `create_metascale` takes it.
            rubric: what earns which score, or the content of a rubric file; by default that of the settings, else the
                one that ships.
            at_once: answers shown in one request, in random order; by default the settings' `judge_at_once`.

        Raises:
            MetaScaleError: the name is unknown or the model cannot be set up.
        """
        self.model = model if isinstance(model, MeteredModel) else MeteredModel(resolve_model(model))
        self.rubric = rubric
        self.at_once = at_once
        self._models: dict[tuple[bool, bool], MeteredModel] = {}

    def calls(self, new: int, earlier: int = 0) -> int:  # noqa: ARG002
        """As in `Reward`: one request for each answer, or fewer if `at_once` is set."""
        return new if self.at_once is None else -(-new // self.at_once)

    async def score(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
    ) -> list[Score]:
        """Score the answers; see `Reward.score`."""
        at_once = self.at_once or settings.judge_at_once
        if at_once == 1 or len(answers) == 1:
            return await together(
                self._judge(self._asked(settings), question, answer, settings, [*place, index], look=0)
                for index, answer in enumerate(answers)
            )
        order = [int(index) for index in place_generator(settings.seed, *place).permutation(len(answers))]
        groups = [order[start : start + at_once] for start in range(0, len(order), at_once)]
        found = await together(
            self._judge_several(question, [answers[i] for i in group], settings, [*place, number])
            for number, group in enumerate(groups)
        )
        by_answer = {
            i: score
            for group, scores in zip(groups, found, strict=True)
            for i, score in zip(group, scores, strict=True)
        }
        return [by_answer[index] for index in range(len(answers))]

    async def look_again(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        looks: Sequence[int],
    ) -> list[Score]:
        """Re-judge: in the next wording and order, at a temperature that lets judgements differ."""
        fresh = self._asked(settings, is_fresh=True)
        work = [
            partial(self._judge, fresh, question, answer, settings, [*place, index], look=look)
            for index, (answer, look) in enumerate(zip(answers, looks, strict=True))
        ]
        return await led(work, [look % WAYS for look in looks] if is_long(question) else [])

    async def _judge(
        self,
        model: MeteredModel,
        question: str,
        answer: str,
        settings: MetaScaleSettings,
        place: Sequence[int | str],
        *,
        look: int,
    ) -> Score:
        way = look % WAYS
        wording = WORDINGS[way % len(WORDINGS)]
        tag = prompts.tag_for(question, answer)
        parts = [prompts.fence("question", question, tag), prompts.fence("answer", answer, tag)]
        material = "\n\n".join(parts if way < len(WORDINGS) else reversed(parts))
        is_bare = settings.expected_score and not self._is_read(settings)
        system = prompts.render(wording, rubric=self._rubric(settings), tag=tag)
        if is_bare:
            system = f"{system}\n\n{prompts.load('bare_verdict')}"
        messages = [SystemMessage(system), shown(material, question)]
        name = f"{wording} {'question' if way < len(WORDINGS) else 'answer'} first"
        reading: Reading[BareVerdict] | Reading[JudgeVerdict]
        if is_bare:
            # A number alone is no quotation: every score could be planted in the material.
            reading = await read_twice(model, messages, BareVerdict, settings, place, untrusted="")
        else:
            reading = await read_twice(model, messages, JudgeVerdict, settings, place, untrusted=material)
        verdict = reading.value
        if verdict is None:
            return Score(None, error=reading.problem, wording=name, usage=reading.usage)
        score = verdict.score
        if settings.expected_score and reading.reply is not None:
            score = expected_score(tokens_of(reading.reply), score) or score
        critique = verdict.critique if isinstance(verdict, JudgeVerdict) else None
        return Score(_in_unit(score), critique=critique, wording=name, usage=reading.usage)

    def _is_read(self, settings: MetaScaleSettings) -> bool:
        """Whether anything reads critiques."""
        evolves = settings.evolution != "off" and settings.evolve_every > 0
        return self.checks_critiques or evolves or settings.refine or settings.synthesize

    async def _judge_several(
        self, question: str, answers: Sequence[str], settings: MetaScaleSettings, place: Sequence[int | str]
    ) -> list[Score]:
        tag = prompts.tag_for(question, *answers)
        fenced = [prompts.fence(f"answer_{number}", answer, tag) for number, answer in enumerate(answers, 1)]
        material = "\n\n".join([prompts.fence("question", question, tag), *fenced])
        system = prompts.render("judge_list", rubric=self._rubric(settings), count=len(answers), tag=tag)
        messages = [SystemMessage(system), shown(material, question)]
        reply, problem, usage = await ask_twice(
            self.model,
            messages,
            Verdicts.on(len(answers)),
            settings,
            place,
            untrusted=material,
            limit=JUDGE_TOKENS + TOKENS_AN_ANSWER * (len(answers) - 1),
        )
        verdicts: dict[int, list[NumberedVerdict]] = {}
        for verdict in unquoted(reply.verdicts, material) if reply else []:
            verdicts.setdefault(verdict.answer, []).append(verdict)
        scores = []
        for number in range(1, len(answers) + 1):
            found = verdicts.get(number, [])
            bill = usage if number == 1 else no_usage()
            if len(found) == 1:
                value, critique = _in_unit(found[0].score), found[0].critique
                scores.append(Score(value, critique=critique, wording="judge_list", usage=bill))
            else:
                why = problem or f"the judge gave {len(found)} verdicts on this answer"
                scores.append(Score(None, error=why, wording="judge_list", usage=bill))
        return scores

    def _asked(self, settings: MetaScaleSettings, *, is_fresh: bool = False) -> MeteredModel:
        """The model, set up for what the settings read of its replies; `is_fresh` lets judgements differ."""
        key = (settings.expected_score, is_fresh)
        if key not in self._models:
            model = self.model.telling(ALTERNATIVES) if settings.expected_score else self.model
            self._models[key] = model.sampling_at(LOOK_TEMPERATURE) if is_fresh else model
        return self._models[key]

    def _rubric(self, settings: MetaScaleSettings) -> str:
        return Rubric.parse(self.rubric or settings.rubric or prompts.load("rubric")).text


def _in_unit(score: float) -> float:
    """A score from 1 to 10 in [0, 1]."""
    return (score - 1) / 9


async def ask_twice(
    model: MeteredModel,
    messages: Sequence[BaseMessage],
    schema: type[Schema],
    settings: MetaScaleSettings,
    place: Sequence[int | str],
    *,
    untrusted: str,
    limit: int = JUDGE_TOKENS,
) -> tuple[Schema | None, str | None, Usage]:
    """As `read_twice`.

    Returns:
        The reply or None, the problem or None, and the bill.
    """
    reading = await read_twice(model, messages, schema, settings, place, untrusted=untrusted, limit=limit)
    return reading.value, reading.problem, reading.usage


async def read_twice(
    model: MeteredModel,
    messages: Sequence[BaseMessage],
    schema: type[Schema],
    settings: MetaScaleSettings,
    place: Sequence[int | str],
    *,
    untrusted: str,
    limit: int = JUDGE_TOKENS,
) -> Reading[Schema]:
    """Ask a judge, and once more if the request fails; see `metascale.models.ask`."""
    usage = no_usage()
    problem: str | None = None
    for attempt in range(2):
        try:
            reading = await ask(
                model, messages, schema, settings, place=[*place, attempt], untrusted=untrusted, limit=limit
            )
        except ModelCallError as error:
            usage, problem = add_usage(usage, error.usage), str(error)
            continue
        usage = add_usage(usage, reading.usage)
        if reading.value is None:
            return Reading(None, f"the verdict could not be read: {reading.problem}", usage)
        return replace(reading, usage=usage)
    return Reading(None, problem, usage)


async def led(work: Sequence[Callable[[], Coroutine[Any, Any, T]]], prefixes: Sequence[Hashable]) -> list[T]:
    """As `together`, but the first work of each prefix goes ahead: a server then has the prefix in its cache.

    Args:
        work: starts each piece of work.
        prefixes: what the prompt of each piece starts with; empty if none need go ahead.
    """
    leaders = sorted({prefix: number for number, prefix in reversed(list(enumerate(prefixes)))}.values())
    others = [number for number in range(len(work)) if number not in leaders]
    found: dict[int, T] = {}
    for numbers in (leaders, others):
        found |= zip(numbers, await together(work[number]() for number in numbers), strict=True)
    return [found[number] for number in range(len(work))]


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all the work, which runs concurrently, up to the run's `max_concurrency`."""
    return await gather_with_concurrency(ensure_config().get("max_concurrency"), *work)
