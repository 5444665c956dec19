"""Chat models: names to models, the meter for every request, structured replies, and the offline models."""

from metascale.models.metered import MeteredModel, Reply, Sampler
from metascale.models.recorded import RecordDryError, RecordedChatModel, RecordError
from metascale.models.resolve import Models, resolve_model, resolve_models
from metascale.models.simulated import SimulatedChatModel
from metascale.models.structured import Reading, ask, ask_several

__all__ = [
    "MeteredModel",
    "Models",
    "Reading",
    "RecordDryError",
    "RecordError",
    "RecordedChatModel",
    "Reply",
    "Sampler",
    "SimulatedChatModel",
    "ask",
    "ask_several",
    "resolve_model",
    "resolve_models",
]
