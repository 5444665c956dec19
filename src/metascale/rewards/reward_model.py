"""The paper's kind of reward: a sequence-classification reward model, such as Skywork-Reward."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metascale.errors import ModelCallError, ModelSetupError
from metascale.rewards.base import Earlier, Score
from metascale.rewards.chat_template import ChatTemplate
from metascale.rewards.classifier_local import LocalClassifier
from metascale.rewards.classifier_server import ClassifierServer
from metascale.settings import MetaScaleSettings, RewardModelSettings
from metascale.usage import Usage, no_usage

PRIOR_SPREAD = 1.0
"""Prior spread of a task's logits. Reward models are trained on the Bradley-Terry likelihood (Ouyang et al. 2022,
equation 1), in which a difference of 1 multiplies the odds of being preferred by e."""
PRIOR_ANSWERS = 4
"""Weight of the prior spread, in answers: one round of the default size."""


class Classifier(Protocol):
    """A source of logits; see `ClassifierServer`."""

    def requests(self, new: int) -> int:
        """Requests to a model that `new` answers take if none fails."""
        ...

    async def logits(
        self, question: str, answers: Sequence[str], settings: MetaScaleSettings
    ) -> tuple[list[float | str], Usage]:
        """For each answer its logit, or an error in words; and the bill."""
        ...


class RewardModelReward:
    """A reward model that gives each answer one logit.

    Logits have no scale of their own, so the value of an answer depends on the other logits of its task. The memo of an
    answer is its raw logit.
    """

    def __init__(self, options: RewardModelSettings) -> None:
        """Score with the model of `options`. A local model is loaded on first use.

        Raises:
            ModelSetupError: the options are incomplete, contradict each other, or name something that does not exist.
        """
        template = ChatTemplate(options.chat_template) if options.chat_template else None
        self._classifier: Classifier
        if options.api != "local":
            self._classifier = ClassifierServer(options, template)
        elif options.url is None and options.api_key_variable is None:
            self._classifier = LocalClassifier(options.model, template)
        else:
            raise ModelSetupError("a reward model with the api 'local' has neither url nor api_key_variable")

    def calls(self, new: int, earlier: int = 0) -> int:  # noqa: ARG002
        """As in `Reward`: one request for each conversation or batch of texts; none for a local model."""
        return self._classifier.requests(new)

    async def score(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],  # noqa: ARG002
        earlier: Sequence[Earlier] = (),
    ) -> list[Score]:
        """Score new answers relative to the earlier ones; see `RelativeReward`. The first score holds the bill."""
        found: list[float | str]
        try:
            found, bill = await self._classifier.logits(question, answers, settings)
        except (ModelSetupError, ModelCallError) as error:
            found, bill = [str(error)] * len(answers), no_usage()
        found = [_finite(logit) for logit in found]
        memos = [None if isinstance(logit, str) else logit for logit in found]
        values = self.values([*(answer.memo for answer in earlier), *memos])[len(earlier) :]
        return [
            Score(
                value,
                memo=memo,
                error=logit if isinstance(logit, str) else None,
                usage=no_usage() if number else bill,
            )
            for number, (value, memo, logit) in enumerate(zip(values, memos, found, strict=True))
        ]

    def values(self, memos: Sequence[Any]) -> list[float | None]:
        """The values of all answers of a task; see `RelativeReward.values` and `relative_values`."""
        known = [float(memo) for memo in memos if memo is not None]
        values = iter(relative_values(known).tolist())
        return [None if memo is None else next(values) for memo in memos]


def relative_values(logits: Sequence[float]) -> NDArray[np.float64]:
    """Logits of one task as values in (0, 1).

    With z = (x - median) / s and u = ln(1 + |z|), the value of a logit x is 1/2 + sign(z) u / (2 (1 + u)). The median
    gets 1/2, and the logarithm keeps outliers distinct and away from 0 and 1. The scale s is the median absolute
    deviation, which is robust against outliers. It is shrunk towards `PRIOR_SPREAD` with the weight of `PRIOR_ANSWERS`
    answers, because a few logits say little about their spread.

    The map is increasing, so values keep the order of the logits. Two values are equal only if a double cannot
    distinguish them: if they differ by less than about 1e-15 of the scale, or 1e-10 of the distance from the median.

    Args:
        logits: shape (n,); finite.

    Returns:
        Shape (n,), each strictly between 0 and 1.
    """
    # Quarters, so that neither a difference nor a sum of two can overflow.
    quarters = np.asarray(logits, dtype=np.float64) / 4
    if not quarters.size:
        return quarters
    offsets = quarters - np.median(quarters)
    weight = quarters.size / (quarters.size + PRIOR_ANSWERS)
    scale = (1 - weight) * PRIOR_SPREAD / 4 + weight * np.median(np.abs(offsets))
    with np.errstate(over="ignore"):
        steps = np.log1p(np.minimum(np.abs(offsets) / scale, sys.float_info.max))
    values: NDArray[np.float64] = 0.5 + np.copysign(steps / (2 * (1 + steps)), offsets)
    return values


def _finite(logit: float | str) -> float | str:
    """The logit as a float, or an error in words; an integer may be too large for a float."""
    if isinstance(logit, str):
        return logit
    fits = abs(logit) <= sys.float_info.max
    return float(logit) if fits else "the reward model's logit is not finite"
