"""Test-time scaling with evolving meta-thoughts (METASCALE) for any chat model, as a LangGraph workflow."""

from importlib.metadata import version

from metascale.batches import abatch, batch
from metascale.errors import (
    MetaScaleError,
    ModelSetupError,
    NoAnswerError,
    QuestionError,
    SettingError,
    ThreadError,
    UnknownNameError,
)
from metascale.events import Event
from metascale.graphs import create_metascale
from metascale.integrations import ChatMetaScale, as_node, as_tool
from metascale.interrupts import BudgetQuestion, PoolEdits, PoolQuestion, grant
from metascale.records import Candidate, MetaThought, Result
from metascale.rewards import JudgeReward, Reward, Score, VerifierReward
from metascale.settings import MetaScaleSettings, Price

__version__ = version("metascale")

__all__ = [
    "BudgetQuestion",
    "Candidate",
    "ChatMetaScale",
    "Event",
    "JudgeReward",
    "MetaScaleError",
    "MetaScaleSettings",
    "MetaThought",
    "ModelSetupError",
    "NoAnswerError",
    "PoolEdits",
    "PoolQuestion",
    "Price",
    "QuestionError",
    "Result",
    "Reward",
    "Score",
    "SettingError",
    "ThreadError",
    "UnknownNameError",
    "VerifierReward",
    "__version__",
    "abatch",
    "as_node",
    "as_tool",
    "batch",
    "create_metascale",
    "grant",
]
