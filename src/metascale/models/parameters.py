"""Parameters of requests, as LangChain's chat models hold them: in fields, or in the extra parts of a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel

LIMIT_FIELDS = ("max_tokens", "max_output_tokens", "num_predict")
"""Fields in which chat models hold the longest reply."""
LIMIT_NAMES = ("max_completion_tokens", "max_tokens", "max_output_tokens")
"""Names of the longest reply in requests."""
_FIELDS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(LIMIT_NAMES, LIMIT_FIELDS),
    "stop": ("stop", "stop_sequences"),
}
"""The fields for a parameter, where they have other names."""
_EXTRA = ("model_kwargs", "extra_body")
"""Fields that hold further parameters by name."""


def holds(model: BaseChatModel, name: str) -> bool:
    """Whether a model sends a parameter with each request."""
    if any(name in (getattr(model, part, None) or {}) for part in _EXTRA):
        return True
    return any(getattr(model, field, None) is not None for field in _fields_of(model, name))


def without(model: BaseChatModel, name: str) -> BaseChatModel:
    """The model without a parameter, wherever it holds it; the model itself if it does not."""
    changes: dict[str, Any] = {
        field: None for field in _fields_of(model, name) if getattr(model, field) is not None and field != "metadata"
    }
    for part in _EXTRA:
        held = getattr(model, part, None)
        if isinstance(held, Mapping) and name in held:
            changes[part] = {key: value for key, value in held.items() if key != name}
    return model.model_copy(update=changes) if changes else model


def _fields_of(model: BaseChatModel, name: str) -> list[str]:
    return [field for field in _FIELDS.get(name, (name,)) if field in type(model).model_fields]
