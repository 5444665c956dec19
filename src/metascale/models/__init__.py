"""Chat models: how a name becomes one, the offline one, and the meter that every request passes."""

from metascale.models.metered import MeteredModel, Reading, Reply, Sampler
from metascale.models.recorded import RecordDryError, RecordedChatModel, RecordError
from metascale.models.resolve import resolve_model
from metascale.models.simulated import SimulatedChatModel

__all__ = [
    "MeteredModel",
    "Reading",
    "RecordDryError",
    "RecordError",
    "RecordedChatModel",
    "Reply",
    "Sampler",
    "SimulatedChatModel",
    "resolve_model",
]
