"""Bandit policies: pure functions from the arms' statistics to a round of pulls. One policy per file."""

from collections.abc import Callable

from metascale.bandits.base import Arm, Policy, Prior, mean_rewards
from metascale.bandits.round_robin import RoundRobin
from metascale.bandits.single import Single
from metascale.bandits.softmax import Softmax
from metascale.bandits.ucb import UCB, ucb_scores
from metascale.bandits.upper_tail import UpperTail
from metascale.settings import MetaScaleSettings

POLICIES: dict[str, Callable[..., Policy]] = {
    "upper_tail": UpperTail,
    "ucb": UCB,
    "softmax": Softmax,
    "round_robin": RoundRobin,
    "single": Single,
}
"""All policies by name: frozen dataclasses whose fields all have defaults."""


def create_policy(settings: MetaScaleSettings) -> Policy:
    """The policy that the settings name."""
    if settings.policy == "ucb":
        return UCB(settings.beta)
    if settings.policy == "softmax":
        return Softmax(settings.softmax_temperature)
    return POLICIES[settings.policy]()


__all__ = [
    "POLICIES",
    "UCB",
    "Arm",
    "Policy",
    "Prior",
    "RoundRobin",
    "Single",
    "Softmax",
    "UpperTail",
    "create_policy",
    "mean_rewards",
    "ucb_scores",
]
