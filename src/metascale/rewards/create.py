"""From the settings to a reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from langchain_core.language_models import BaseChatModel

from metascale.errors import ModelSetupError
from metascale.models import MeteredModel
from metascale.models.resolve import resolve_model
from metascale.rewards.agreement import AgreementReward
from metascale.rewards.base import RelativeReward, Reward
from metascale.rewards.certainty import CertaintyReward
from metascale.rewards.critique import CritiqueReward
from metascale.rewards.judge import JudgeReward
from metascale.rewards.p_true import PTrueReward
from metascale.rewards.pairwise import PairwiseReward
from metascale.rewards.panel import Member, PanelReward
from metascale.rewards.verifier import VerifierReward
from metascale.settings import MetaScaleSettings, PanelMember, RewardModelSettings, RewardName

EXAMPLES = {
    "verifier": "verifier=checks:is_right",
    "reward_model": 'reward_model={"api": "tei", "url": "http://localhost:8080", "model": "NAME"}',
}
"""What the settings look like that a reward needs."""
T = TypeVar("T")


def create_reward(
    settings: MetaScaleSettings, model: BaseChatModel | MeteredModel, *, is_sampler: bool = False
) -> Reward:
    """The reward that the settings name.

    Args:
        settings: `reward` names it, where "auto" is the judge; `panel`, `reward_model` and `verifier` configure it.
        model: the judge, for rewards that need a chat model.
        is_sampler: whether the answers are this model's own.

    Raises:
        MetaScaleError: a part of the reward is missing or cannot be set up.
    """
    judge = model if isinstance(model, MeteredModel) else MeteredModel(model)
    makers: dict[RewardName, Callable[[], Reward]] = {
        "auto": lambda: JudgeReward(judge),
        "judge": lambda: JudgeReward(judge),
        "critique": lambda: CritiqueReward(judge),
        "pairwise": lambda: PairwiseReward(judge),
        "panel": lambda: _panel(settings.panel, judge),
        "agreement": AgreementReward,
        "p_true": lambda: PTrueReward(judge, is_sampler=is_sampler),
        "certainty": CertaintyReward,
        "reward_model": lambda: _reward_model(_needed(settings.reward_model, "reward_model")),
        "verifier": lambda: VerifierReward.named(_needed(settings.verifier, "verifier")),
    }
    return makers[settings.reward]()


def reward_of(
    settings: MetaScaleSettings, models: Sequence[BaseChatModel], judge: BaseChatModel | None = None
) -> Reward | None:
    """The reward that the settings name, made once for all runs of some models.

    Args:
        settings: as for `create_reward`.
        models: that answer, at least one.
        judge: a model of its own that judges; None for the first of the models.

    Returns:
        None where each run makes the reward itself: for `"auto"` without a judge of its own, and where one of several
        models is to judge, so that the next one takes over from one that fails.

    Raises:
        MetaScaleError: as for `create_reward`.
    """
    if settings.reward == "auto" and judge is None:
        return None
    made = create_reward(settings, judge or models[0], is_sampler=judge is None and len(models) == 1)
    return None if judge is None and len(models) > 1 and models_of(made) else made


def models_of(reward: Reward | RelativeReward) -> list[MeteredModel]:
    """The chat models that a reward asks, those of a panel's members included, as its attributes show them."""
    own = [value for value in getattr(reward, "__dict__", {}).values() if isinstance(value, MeteredModel)]
    members = reward.members if isinstance(reward, PanelReward) else ()
    return own + [model for member in members for model in models_of(member.reward)]


def _needed(value: T | None, name: str) -> T:
    if value is None:
        raise ModelSetupError(f"the reward {name!r} needs the setting {name!r}, such as {EXAMPLES[name]}")
    return value


def _reward_model(settings: RewardModelSettings) -> Reward:
    try:
        from metascale.rewards.reward_model import RewardModelReward  # noqa: PLC0415  it needs Jinja, an extra
    except ImportError as error:
        raise ModelSetupError("the reward 'reward_model' needs: pip install 'metascale[reward-model]'") from error
    return RewardModelReward(settings)


def _panel(members: Sequence[PanelMember], judge: MeteredModel) -> PanelReward:
    return PanelReward([_member(member, judge) for member in members]) if members else PanelReward.of_wordings(judge)


def _member(member: PanelMember, judge: MeteredModel) -> Member:
    if member.model is None:
        return Member(JudgeReward(judge, rubric=member.rubric), member.reliability)
    model = resolve_model(member.model, base_url=member.base_url)
    return Member(JudgeReward(model, rubric=member.rubric), member.reliability)
