"""Rewards: what scores an answer. One reward a file, behind one small protocol."""

from metascale.rewards.agreement import AgreementReward
from metascale.rewards.base import Earlier, Rejudging, RelativeReward, Reward, Score
from metascale.rewards.create import create_reward
from metascale.rewards.critique import CritiqueReward
from metascale.rewards.judge import JudgeReward
from metascale.rewards.pairwise import PairwiseReward
from metascale.rewards.panel import Member, PanelReward
from metascale.rewards.reward_model import RewardModelReward
from metascale.rewards.unscored import Unscored
from metascale.rewards.verifier import VerifierReward

__all__ = [
    "AgreementReward",
    "CritiqueReward",
    "Earlier",
    "JudgeReward",
    "Member",
    "PairwiseReward",
    "PanelReward",
    "Rejudging",
    "RelativeReward",
    "Reward",
    "RewardModelReward",
    "Score",
    "Unscored",
    "VerifierReward",
    "create_reward",
]
