"""One interface to any reward: callers need not know what the reward supports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from metascale.errors import describe
from metascale.rewards.base import (
    Drawn,
    Earlier,
    Rejudging,
    RelativeReward,
    Reward,
    SampleReward,
    Score,
    guarded,
    in_range,
)
from metascale.settings import MetaScaleSettings

VERIFIED = 1.0
"""The value that an exact reward gives a right answer: no answer can be better."""


def is_exact(reward: Reward | RelativeReward | None) -> bool:
    """Whether a reward declares, by an attribute `exact` that is true, that its values are free of noise."""
    return getattr(reward, "exact", False) is True


def exact_settings(settings: MetaScaleSettings) -> MetaScaleSettings:
    """The settings as they apply with an exact reward, whose values need neither second looks nor support.

    The answer of the highest reward is chosen, and the first verified answer ends the search, unless `target_reward` is
    set: to another value, or to None for no end before the budget. Agreement on an answer that is not verified does not
    end it, unless `stop_on_agreement` is set.
    """
    changes: dict[str, Any] = {"confirm": 0, "final_choice": "best"}
    if "stop_on_agreement" not in settings.model_fields_set:
        changes["stop_on_agreement"] = None
    if "target_reward" not in settings.model_fields_set:
        changes["target_reward"] = VERIFIED
    return settings.model_copy(update=changes)


def settings_of_votes(settings: MetaScaleSettings) -> MetaScaleSettings:
    """The settings as they apply with a reward whose attribute `weighs_votes` is true.

    Such a reward chooses worse than a majority if answers are compared by its values alone, but a vote weighted by the
    values is as good as a majority or better. So the sum of the values decides, unless `final_choice` is set. Measured
    for certainty on the answers that `rewards.certainty.DEVIATION` names, with 4, 8 and 16 of them to a question: the
    highest value is right in 0.57, 0.56 and 0.55, the majority in 0.53, 0.62 and 0.64, the sum in 0.58, 0.62 and 0.65.
    """
    if "final_choice" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"final_choice": "sum"})


class Scorer:
    """A reward behind one interface, whether it is relative or not and whether it can look again or not.

    A reward may be the user's code: nothing that it raises or returns ends a run.
    """

    def __init__(self, reward: Reward | RelativeReward, *, name: str = "the reward") -> None:
        """Ask `reward`, which errors call by `name`."""
        self.reward = reward
        self._name = name
        self._relative = reward if isinstance(reward, RelativeReward) else None
        self._rejudging = reward if isinstance(reward, Rejudging) else None
        self._of_samples = reward if isinstance(reward, SampleReward) else None

    @property
    def is_relative(self) -> bool:
        """Whether new answers may change the values of earlier ones."""
        return self._relative is not None

    @property
    def reads_samples(self) -> bool:
        """Whether the reward reads more of a sample than its text."""
        return self._of_samples is not None

    @property
    def reads_certainty(self) -> bool:
        """Whether samples are to be drawn with their token probabilities."""
        return self._of_samples is not None and self._of_samples.reads_certainty

    @property
    def judges_alone(self) -> bool:
        """Whether a value means something for a single answer: a panel's does, a tournament's does not."""
        return self._rejudging is not None or self._relative is None

    @property
    def calls_per_look(self) -> int | None:
        """Model requests of one second look at one answer; None where the reward is exact or cannot look again."""
        return self._rejudging.calls_per_look if self._rejudging and not self.is_exact else None

    @property
    def shares_verdicts(self) -> bool:
        """Whether a verdict on an answer holds for all answers with the same final answer.

        A reward declares it by an attribute `shares_verdicts` that is true.
        """
        return getattr(self.reward, "shares_verdicts", False) is True

    @property
    def is_exact(self) -> bool:
        """Whether the values are free of noise."""
        return is_exact(self.reward)

    def settings_for(self, settings: MetaScaleSettings) -> MetaScaleSettings:
        """The settings as they apply with this reward; see `exact_settings` and `settings_of_votes`.

        A reward whose attribute `counts_votes` is true counts as the reward `"agreement"`, however it was given.
        """
        if self.is_exact:
            return exact_settings(settings)
        if getattr(self.reward, "counts_votes", False) is True:
            return settings.model_copy(update={"reward": "agreement"})
        return settings_of_votes(settings) if getattr(self.reward, "weighs_votes", False) is True else settings

    def calls(self, new: int, earlier: int = 0) -> int:
        """Model requests to score `new` answers after `earlier` ones; see `Reward.calls`."""
        return self.reward.calls(new, earlier)

    async def score(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        earlier: Sequence[Earlier] = (),
        samples: Sequence[Drawn] = (),
    ) -> tuple[list[Score], list[float | None]]:
        """Score new answers; arguments as in `RelativeReward.score`.

        Args:
            question: the task, as text.
            answers: at least one.
            settings: the run's settings.
            place: the RNG seed path of this round.
            earlier: the earlier answers, in order.
            samples: the answers with how they came about, for a reward that reads it; empty where that is not known.

        Returns:
            One score per answer, each value in [0, 1] or None with an error; and the new values of the earlier answers,
            empty if the reward does not change them.
        """

        async def asked() -> list[Score]:
            if self._of_samples is not None and samples:
                return await self._of_samples.score_samples(question, samples, settings, place=place, earlier=earlier)
            if self._relative is None:
                return await self.reward.score(question, answers, settings, place=place)
            return await self._relative.score(question, answers, settings, place=place, earlier=earlier)

        scores = await guarded(asked(), len(answers), self._name)
        if self._relative is None:
            return scores, []
        memos = [*(answer.memo for answer in earlier), *(score.memo for score in scores)]
        try:
            values = self._relative.values(memos)
            if len(values) != len(memos):
                raise ValueError(f"{self._name} gave {len(values)} values for {len(memos)} answers")
        except Exception as error:  # noqa: BLE001  whatever it raises, the run goes on
            return [replace(score, value=None, error=describe(error)) for score in scores], []
        moved = [in_range(value) for value in values[: len(earlier)]]
        return [self._worth(score, value) for score, value in zip(scores, values[len(earlier) :], strict=True)], moved

    async def look_again(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        looks: Sequence[int],
    ) -> list[Score]:
        """Judge answers afresh; see `Rejudging.look_again`.

        Raises:
            TypeError: the reward cannot look again.
        """
        if self._rejudging is None:
            raise TypeError(f"{type(self.reward).__name__} cannot look again")
        rejudging = self._rejudging

        async def asked() -> list[Score]:
            return await rejudging.look_again(question, answers, settings, place=place, looks=looks)

        return await guarded(asked(), len(answers), self._name)

    def _worth(self, score: Score, value: float | None) -> Score:
        """A score with the value that a relative reward gives it beside the others."""
        if value is None or in_range(value) is not None:
            return replace(score, value=value)
        return replace(score, value=None, error=f"{self._name} gave {value}, which is not in [0, 1]")
