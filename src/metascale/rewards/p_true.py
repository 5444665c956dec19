"""P(True) as a reward: the model is asked whether an answer is correct, and the probability of "Yes" is its value."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum
from functools import partial
from typing import NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from metascale import prompts
from metascale.errors import ModelCallError
from metascale.models import MeteredModel, resolve_model
from metascale.models.probabilities import tokens_of
from metascale.models.scope import current_scope
from metascale.models.yes_no import first_word, probability_in, probability_of_yes
from metascale.question import is_long, shown
from metascale.rewards.base import Drawn, Earlier, Score
from metascale.rewards.judge import LOOK_TEMPERATURE, JudgeReward, led
from metascale.settings import MetaScaleSettings
from metascale.usage import Usage, add_usage, no_usage

ALTERNATIVES = 20
"""Alternatives to a token that are asked for: the most that OpenAI and vLLM give."""
SHORT = 16
"""The most tokens of a short reply: the fewest that OpenAI's Responses API takes, and enough for "**Yes**" or "The
answer is correct: Yes"."""
REPLIES = 4
"""Short replies that stand for a probability. Ours: their share has a standard error of 0.25 at most."""


class _Way(IntEnum):
    """A way to ask. Where one tells nothing, the next one that may tell more is tried."""

    FIRST_TOKEN = 0
    SHORT_REPLY = 1
    SEVERAL_REPLIES = 2
    VERDICT = 3


_NOTES = {
    _Way.SEVERAL_REPLIES: f"without token probabilities, the share of Yes in {REPLIES} replies stands for P(True)",
    _Way.VERDICT: "the model does not say Yes or No in a short reply, so a verdict stands for P(True)",
}


class _Asked(NamedTuple):
    """A request: the question, the answer, and the messages that ask about them."""

    question: str
    answer: str
    messages: Sequence[BaseMessage]


class _Found(NamedTuple):
    """What one way to ask brought: a score, or else the way to try next, if any."""

    score: Score
    following: _Way | None = None


class PTrueReward:
    """Asks "is it correct?" and values an answer by the probability of "Yes" against "No".

    After Kadavath et al. (2022, arXiv 2207.05221). A model that judges its own samples is asked in the conversation of
    the sample, which goes on with one short question. So a prefix cache serves all of the request but the question, and
    the reply is one token. Another judge reads question and answer in a fresh conversation, and so does any judge
    where nothing but the text of an answer is known.

    Probabilities are read as in `probability_of_yes`: from the first token, or else from the token of a short reply
    that is Yes or No. From a server that tells none, `REPLIES` short replies are asked for, and the share of Yes is the
    value. An answer about which no Yes or No can be had gets a verdict, as `JudgeReward` gives it. What a server
    cannot do is remembered, and the run's notes tell it. There is no critique, save that of a verdict.

    The probabilities tell how sure a model is and not how good it is at judging. So by default they are weights of
    votes, as in CISC (Taubenfeld et al. 2025, arXiv 2502.06233); see `rewards.scorer.settings_of_votes`.
    """

    reads_certainty = False
    weighs_votes = True

    def __init__(self, model: BaseChatModel | MeteredModel | str, *, is_sampler: bool = False) -> None:
        """Ask `model`.

        Args:
            model: a chat model, or a name as `create_metascale` takes it.
            is_sampler: whether the samples are this model's own.

        Raises:
            MetaScaleError: the name is unknown or the model cannot be set up.
        """
        judge = model if isinstance(model, MeteredModel) else MeteredModel(resolve_model(model))
        telling = judge.telling(ALTERNATIVES)
        self.is_sampler = is_sampler
        self._telling = {_Way.FIRST_TOKEN: telling.capped_at(1), _Way.SHORT_REPLY: telling.capped_at(SHORT)}
        self._replying = judge.sampling_at(LOOK_TEMPERATURE).capped_at(SHORT)
        self._verdicts = JudgeReward(judge, at_once=1)
        self._way = _Way.FIRST_TOKEN
        self._is_read = False
        """Whether the present way has told anything yet."""

    def calls(self, new: int, earlier: int = 0) -> int:  # noqa: ARG002
        """As in `Reward`: one request for each answer, or several from a server that gives replies one by one."""
        one_by_one = self._way is _Way.SEVERAL_REPLIES and self._replying.capabilities.one_by_one
        return new * REPLIES if one_by_one else new

    async def score(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
    ) -> list[Score]:
        """Ask about each answer in a fresh conversation; see `Reward.score`."""
        return await self._scores([_fresh(question, answer) for answer in answers], settings, place)

    async def score_samples(
        self,
        question: str,
        samples: Sequence[Drawn],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        earlier: Sequence[Earlier] = (),  # noqa: ARG002
    ) -> list[Score]:
        """Ask about each sample, in its own conversation if it is the model's own; see `SampleReward.score_samples`.

        A conversation with tool calls is not gone on with, because servers refuse it without the tools.
        """
        asked = [
            _continued(question, sample)
            if self.is_sampler and not any(_is_about_tools(message) for message in sample.conversation)
            else _fresh(question, sample.text)
            for sample in samples
        ]
        return await self._scores(asked, settings, place)

    async def _scores(
        self, asked: Sequence[_Asked], settings: MetaScaleSettings, place: Sequence[int | str]
    ) -> list[Score]:
        work = [partial(self._score, one, settings, [*place, index]) for index, one in enumerate(asked)]
        is_uncached = not self.is_sampler and is_long(asked[0].question)
        return await led(work, [0] * len(work) if is_uncached else [])

    async def _score(self, asked: _Asked, settings: MetaScaleSettings, place: Sequence[int | str]) -> Score:
        """Ask about one answer, in one way after another until one tells something."""
        usage = no_usage()
        way: _Way | None = self._way
        while way is not None:
            here = [*place, way.name.lower()]
            if way is _Way.VERDICT:
                scores = await self._verdicts.score(asked.question, [asked.answer], settings, place=here)
                found = _Found(scores[0])
            elif way is _Way.SEVERAL_REPLIES:
                found = await self._share(asked.messages, settings, here)
            else:
                found = await self._probability(way, asked.messages, settings, here)
            usage = add_usage(usage, found.score.usage)
            self._learn(way, found)
            way = found.following
        return replace(found.score, usage=usage)

    def _learn(self, way: _Way, found: _Found) -> None:
        """Remember the first way that works; once one has, it is kept, whatever becomes of single answers."""
        if found.score.value is not None:
            self._way, self._is_read = min(way, self._way), True
        elif found.following is not None:
            if way == self._way and not self._is_read:
                self._way = found.following
            if found.following in _NOTES:
                current_scope().tell(_NOTES[found.following])

    async def _probability(
        self, way: _Way, messages: Sequence[BaseMessage], settings: MetaScaleSettings, place: Sequence[int | str]
    ) -> _Found:
        """The probability of Yes, from the first token or from a short reply."""
        try:
            reply = await self._telling[way].chat(messages, settings, place=place)
        except ModelCallError as error:
            later = _Way.SHORT_REPLY if way is _Way.FIRST_TOKEN else _Way.SEVERAL_REPLIES
            return _failed(error, later)
        tokens = tokens_of(reply.message)
        if way is _Way.FIRST_TOKEN:
            value = probability_of_yes(tokens[0]) if tokens else None
        else:
            value = probability_in(tokens) if first_word(reply.message.text) else None
        if value is not None:
            return _Found(Score(value, wording="p_true", usage=reply.usage))
        unread = Score(None, error="the reply is neither Yes nor No", usage=reply.usage)
        if not tokens:
            return _Found(unread, _Way.SEVERAL_REPLIES)
        return _Found(unread, _Way.SHORT_REPLY if way is _Way.FIRST_TOKEN else _Way.VERDICT)

    async def _share(
        self, messages: Sequence[BaseMessage], settings: MetaScaleSettings, place: Sequence[int | str]
    ) -> _Found:
        """The share of Yes in several short replies: in one request if the server gives several."""
        server = self._replying.capabilities
        try:
            said, usage = await self._replying.replies(
                messages, settings, place, {}, 1 if server.one_by_one else REPLIES
            )
        except ModelCallError as error:
            return _failed(error, _Way.VERDICT)
        server.one_by_one = server.one_by_one or len(said) == 1
        further = await asyncio.gather(
            *(self._one_more(messages, settings, [*place, number]) for number in range(len(said), REPLIES))
        )
        for reply, bill in further:
            said, usage = [*said, *reply], add_usage(usage, bill)
        words = [word for reply in said if (word := first_word(reply.text))]
        if not words:
            return _Found(Score(None, error="no reply is Yes or No", usage=usage), _Way.VERDICT)
        return _Found(Score(words.count("yes") / len(words), wording="p_true", usage=usage))

    async def _one_more(
        self, messages: Sequence[BaseMessage], settings: MetaScaleSettings, place: Sequence[int | str]
    ) -> tuple[list[AIMessage], Usage]:
        try:
            reply = await self._replying.chat(messages, settings, place=place)
        except ModelCallError as error:
            return [], error.usage
        return [reply.message], reply.usage


def _failed(error: ModelCallError, later: _Way) -> _Found:
    """A request that failed. One that the server rejected may succeed in another way."""
    return _Found(
        Score(None, error=str(error), usage=error.usage), later if error.rejected and not error.fatal else None
    )


def _continued(question: str, sample: Drawn) -> _Asked:
    """The conversation of a sample, which goes on with the question whether the answer is correct."""
    messages = [*sample.conversation, AIMessage(sample.text), HumanMessage(prompts.load("p_true"))]
    return _Asked(question, sample.text, messages)


def _fresh(question: str, answer: str) -> _Asked:
    """A conversation about an answer that somebody gave."""
    tag = prompts.tag_for(question, answer)
    material = "\n\n".join([prompts.fence("question", question, tag), prompts.fence("answer", answer, tag)])
    messages = [SystemMessage(prompts.render("p_true_judge", tag=tag)), shown(material, question)]
    return _Asked(question, answer, messages)


def _is_about_tools(message: BaseMessage) -> bool:
    return isinstance(message, ToolMessage) or (isinstance(message, AIMessage) and bool(message.tool_calls))
