"""Rewards score answers. Each reward is in a file of its own, behind one small protocol.

`RewardModelReward` needs Jinja, so it is imported only on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metascale.rewards.agreement import AgreementReward
from metascale.rewards.base import Drawn, Earlier, Rejudging, RelativeReward, Reward, SampleReward, Score
from metascale.rewards.certainty import CertaintyReward
from metascale.rewards.create import create_reward, models_of, reward_of
from metascale.rewards.critique import CritiqueReward
from metascale.rewards.judge import JudgeReward
from metascale.rewards.p_true import PTrueReward
from metascale.rewards.pairwise import PairwiseReward
from metascale.rewards.panel import Member, PanelReward
from metascale.rewards.unscored import Unscored
from metascale.rewards.verifier import VerifierReward

if TYPE_CHECKING:
    from metascale.rewards.reward_model import RewardModelReward

__all__ = [
    "AgreementReward",
    "CertaintyReward",
    "CritiqueReward",
    "Drawn",
    "Earlier",
    "JudgeReward",
    "Member",
    "PTrueReward",
    "PairwiseReward",
    "PanelReward",
    "Rejudging",
    "RelativeReward",
    "Reward",
    "RewardModelReward",
    "SampleReward",
    "Score",
    "Unscored",
    "VerifierReward",
    "create_reward",
    "models_of",
    "reward_of",
]


def __getattr__(name: str) -> Any:
    if name == "RewardModelReward":
        from metascale.rewards.reward_model import RewardModelReward  # noqa: PLC0415

        return RewardModelReward
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
