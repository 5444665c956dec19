"""Rewards: what scores an answer. One reward a file, behind one small protocol."""

from metascale.rewards.base import Reward, Score
from metascale.rewards.judge import JudgeReward
from metascale.rewards.unscored import Unscored

__all__ = ["JudgeReward", "Reward", "Score", "Unscored"]
