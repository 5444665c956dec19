"""Bandit policies: pure functions from the arms' statistics to a round of pulls. One policy a file."""

from metascale.bandits.base import Arm, Policy, mean_rewards
from metascale.bandits.round_robin import RoundRobin
from metascale.bandits.softmax import Softmax
from metascale.bandits.ucb import UCB, ucb_scores

__all__ = ["UCB", "Arm", "Policy", "RoundRobin", "Softmax", "mean_rewards", "ucb_scores"]
