"""Test-time scaling with evolving meta-thoughts (METASCALE) for any chat model, as a LangGraph workflow."""

from metascale.errors import (
    MetaScaleError,
    ModelSetupError,
    NoAnswerError,
    QuestionError,
    SettingError,
    UnknownNameError,
)
from metascale.graphs import create_metascale
from metascale.integrations import ChatMetaScale, as_node, as_tool
from metascale.rewards import JudgeReward, Reward, Score, VerifierReward
from metascale.settings import MetaScaleSettings, Price
from metascale.state import Candidate, MetaThought, Result

__all__ = [
    "Candidate",
    "ChatMetaScale",
    "JudgeReward",
    "MetaScaleError",
    "MetaScaleSettings",
    "MetaThought",
    "ModelSetupError",
    "NoAnswerError",
    "Price",
    "QuestionError",
    "Result",
    "Reward",
    "Score",
    "SettingError",
    "UnknownNameError",
    "VerifierReward",
    "as_node",
    "as_tool",
    "create_metascale",
]
