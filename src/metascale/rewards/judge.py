"""The default reward: a chat model as a judge, critique first, then a score from 1 to 10.

The paper scores with an outcome reward model (section 3, phase 2); a judge is ours, because most users have only a chat
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import ensure_config
from langchain_core.runnables.utils import gather_with_concurrency
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from metascale import prompts
from metascale.errors import ModelCallError
from metascale.models import MeteredModel, resolve_model
from metascale.rewards.base import Score
from metascale.settings import MetaScaleSettings
from metascale.usage import add_usage, no_usage


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        message = "a score is a number"
        raise ValueError(message)  # noqa: TRY004
    return value


class Verdict(BaseModel):
    """A judge's reply."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    critique: str = Field(description="What is right and wrong about the answer, before any score is given.")
    score: Annotated[float, BeforeValidator(_no_bool)] = Field(
        ge=1, le=10, allow_inf_nan=False, description="A whole number from 1 (wrong) to 10 (right, checked)."
    )


class JudgeReward:
    """A chat model that judges one answer a request, all answers of a round at once.

    A judge that fails twice, by error or by an unreadable reply, leaves the answer unscored.
    """

    calls_per_answer = 1

    def __init__(self, model: BaseChatModel | MeteredModel | str) -> None:
        """Judge with `model`: a chat model, or a name as `create_metascale` takes it.

        Raises:
            MetaScaleError: the name is unknown or the model cannot be set up.
        """
        self.model = model if isinstance(model, MeteredModel) else MeteredModel(resolve_model(model))

    async def score(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
    ) -> list[Score]:
        """Score the answers; see `Reward.score`."""
        judgements = (self._judge(question, answer, settings, [*place, i]) for i, answer in enumerate(answers))
        return await gather_with_concurrency(ensure_config().get("max_concurrency"), *judgements)

    async def _judge(
        self, question: str, answer: str, settings: MetaScaleSettings, place: Sequence[int | str]
    ) -> Score:
        tag = prompts.new_tag()
        material = f"{prompts.fence('question', question, tag)}\n\n{prompts.fence('answer', answer, tag)}"
        messages = [SystemMessage(prompts.render("judge", tag=tag)), HumanMessage(material)]
        usage = no_usage()
        for attempt in range(2):
            try:
                reading = await self.model.ask(messages, Verdict, settings, place=[*place, attempt], untrusted=material)
            except ModelCallError as error:
                usage, problem = add_usage(usage, error.usage), str(error)
                continue
            usage = add_usage(usage, reading.usage)
            if reading.value is None:
                return Score(None, error=f"the verdict could not be read: {reading.problem}", usage=usage)
            return Score((reading.value.score - 1) / 9, critique=reading.value.critique, usage=usage)
        return Score(None, error=problem, usage=usage)
