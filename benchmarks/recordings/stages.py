"""What is recorded of a question or a sample, each by the code that a run uses for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from benchmarks.recordings.reduction import reduced
from benchmarks.recordings.rows import Row
from metascale import create_metascale
from metascale.data import Question
from metascale.errors import ModelCallError, ModelSetupError
from metascale.models.probabilities import tokens_of
from metascale.nodes import Components
from metascale.nodes.generate import under
from metascale.records import MetaThought
from metascale.rewards import JudgeReward, PTrueReward
from metascale.rewards.base import Drawn, Score
from metascale.settings import MetaScaleSettings

COMPOSED = 6
"""Meta-thoughts that the model composes for a question, beside the two fixed arms."""


def is_composed(about: Mapping[str, Any]) -> bool:
    """Whether a meta-thought, or that of a sample, was composed by the model for the question."""
    return about.get("origin") == "self_composed"


def composed(row: Row) -> list[MetaThought]:
    """The meta-thoughts in a row of `Recorder.compose` that the model composed."""
    return [
        MetaThought(
            id=one["id"],
            mindset=one["mindset"],
            strategy=one["strategy"],
            origin=one["origin"],
            parents=[],
            generation=0,
        )
        for one in row["meta_thoughts"]
        if is_composed(one)
    ]


class Recorder:
    """Samples, judges and composes with one model, as a run does with the same settings."""

    def __init__(self, model: BaseChatModel, settings: MetaScaleSettings) -> None:
        """Set the model up.

        Args:
            model: the model that samples, judges and composes.
            settings: temperature, longest answer, seed and traffic.
        """
        telling = settings.overlaid_by(MetaScaleSettings(weigh_votes=True))
        self._model, self._settings = model, settings
        self._bare = settings.overlaid_by(MetaScaleSettings(expected_score=True, evolution="off"))
        parts = Components([model], defaults=telling)
        self._solver = parts.solver(telling, parts.labels[0])
        self._asker = PTrueReward(model, is_sampler=True)
        self._judge = JudgeReward(model, at_once=1)

    async def sample(self, question: Question, thought: MetaThought, number: int) -> Row:
        """One answer under a meta-thought, with the log-probability of each token.

        Raises:
            ModelCallError: the request failed.
            ModelSetupError: the server gives no token probabilities.
        """
        place: list[str | int] = ["sample", question["question_id"], thought["id"], number]
        reply = await self._solver.chat(_asked(question, thought), self._settings, place=place)
        tokens = tokens_of(reply.message)
        if not tokens and reply.message.text:
            raise ModelSetupError("the server gives no token probabilities")
        return {
            "question_id": question["question_id"],
            "question": question["question"],
            "arm": thought["id"],
            "origin": thought["origin"],
            "sample": number,
            "gold": question["gold"],
            "text": reply.message.text,
            "tokens": reply.usage["output_tokens"],
            "prompt_tokens": reply.usage["input_tokens"],
            "finish": reply.message.response_metadata.get("finish_reason"),
            "logprobs": [round(token.logprob, 2) for token in tokens],
            "pieces": [reduced(token.text) for token in tokens],
        }

    async def p_true(self, question: Question, thought: MetaThought, sample: Row) -> Row:
        """P(True) of a sample, asked in its own conversation; null where the model says neither Yes nor No.

        Raises:
            ModelCallError: the request failed.
        """
        drawn = Drawn(sample["text"], thought["id"], None, _asked(question, thought))
        place = ["p_true", *_place(sample)]
        (score,) = await self._asker.score_samples(question["question"], [drawn], self._settings, place=place)
        value = _read(score) if score.wording == "p_true" or score.error else None
        return {**_named(sample), "yes": None if value is None else round(value, 4)}

    async def verdict(self, question: Question, sample: Row, look: int) -> Row:
        """A verdict with its critique, from 1 to 10; null where it cannot be read.

        Args:
            question: the question.
            sample: the row of the sample.
            look: 0 for the verdict that scores an answer, k for its k-th second look, in another wording.

        Raises:
            ModelCallError: the request failed.
        """
        score = await self._look(question, sample, look, self._settings)
        value = _read(score)
        return {
            **_named(sample),
            "repeat": look,
            "score": None if value is None else round(1 + 9 * value),
            "critique": score.critique,
            "wording": score.wording,
            "tokens": score.usage["output_tokens"],
        }

    async def bare_verdict(self, question: Question, sample: Row, look: int) -> Row:
        """As `verdict`, without a critique; the score is the expected one over the probabilities of its token."""
        score = await self._look(question, sample, look, self._bare)
        value = _read(score)
        return {
            **_named(sample),
            "repeat": look,
            "score": None if value is None else round(1 + 9 * value, 3),
            "wording": score.wording,
            "tokens": score.usage["output_tokens"],
        }

    async def compose(self, question: Question) -> Row:
        """The first pool of a run on the question, without the fixed arms, which is never sampled from.

        Raises:
            ModelCallError: no request was answered.
        """
        size = COMPOSED + 2
        stops = MetaScaleSettings(review_pool=True, pool_size=size, budget=2 * size)
        graph = create_metascale(self._model, settings=self._settings.overlaid_by(stops), checkpointer=InMemorySaver())
        config: RunnableConfig = {"configurable": {"thread_id": question["question_id"]}}
        await graph.ainvoke({"messages": [HumanMessage(question["question"])]}, config)
        state = (await graph.aget_state(config)).values
        if not state["usage"]["output_tokens"]:
            raise ModelCallError("; ".join(state["notes"]))
        kept = ("id", "mindset", "strategy", "origin")
        return {
            "question_id": question["question_id"],
            "meta_thoughts": [{key: t[key] for key in kept} for t in state["pool"] if t["origin"] != "fixed"],
            "calls": state["usage"]["calls"],
            "tokens": state["usage"]["output_tokens"],
            "notes": state["notes"],
        }

    async def _look(self, question: Question, sample: Row, look: int, settings: MetaScaleSettings) -> Score:
        form = "bare" if settings is self._bare else "with critique"
        place = ["judge", form, *_place(sample), look]
        asked = question["question"], [sample["text"]], settings
        if look == 0:
            (score,) = await self._judge.score(*asked, place=place)
        else:
            (score,) = await self._judge.look_again(*asked, place=place, looks=[look])
        return score


def _asked(question: Question, thought: MetaThought) -> list[AnyMessage]:
    return under(thought, [HumanMessage(question["question"])])


def _place(sample: Row) -> Sequence[str | int]:
    return sample["question_id"], sample["arm"], sample["sample"]


def _named(sample: Row) -> Row:
    return {key: sample[key] for key in ("question_id", "arm", "sample")}


def _read(score: Score) -> float | None:
    """The value; None if there was a reply that tells none.

    Raises:
        ModelCallError: there was no reply.
    """
    if score.value is None and not score.usage["output_tokens"]:
        raise ModelCallError(score.error or "there was no reply")
    return score.value
