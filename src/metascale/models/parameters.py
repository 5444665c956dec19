"""Parameters of requests, as LangChain's chat models hold them: in fields, or in the extra parts of a request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from langchain_core.language_models import BaseChatModel

from metascale.errors import ModelSetupError, UnknownNameError
from metascale.models.local.names import is_local

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
IN_NAMES: Mapping[str, Sequence[str]] = {
    "effort": ("reasoning_effort", "effort"),
    "temperature": ("temperature",),
    "max_tokens": LIMIT_FIELDS,
    "base_url": (),
}
"""Parameters in models' names, as in `openai:b?effort=low`, and the fields of chat models that take them. The address
is a part of how the model is built instead."""


def split_name(name: str) -> tuple[str, dict[str, str]]:
    """A model's name without the parameters after its question mark, and these.

    The options of a model file stay in its name.

    Raises:
        ModelSetupError: what follows the question mark is not `NAME=VALUE&NAME=VALUE`.
        UnknownNameError: there is no such parameter.
    """
    plain, _, query = name.partition("?")
    try:
        given = parse_qsl(query, strict_parsing=True, keep_blank_values=True) if query else []
    except ValueError as error:
        raise ModelSetupError(f"the parameters in {name!r} are not NAME=VALUE&NAME=VALUE") from error
    others = [(key, value) for key, value in given if key not in IN_NAMES]
    if others and not is_local(name):
        raise UnknownNameError("parameter of a model", others[0][0], IN_NAMES)
    return plain + (f"?{urlencode(others)}" if others else ""), {key: value for key, value in given if key in IN_NAMES}


def with_parameters(model: BaseChatModel, given: Mapping[str, str]) -> BaseChatModel:
    """The model with the parameters of its name, except `base_url`.

    Raises:
        ModelSetupError: the model takes no such parameter, or the value is not a number in range.
    """
    changes: dict[str, Any] = {}
    for name, text in given.items():
        field = next((field for field in IN_NAMES[name] if field in type(model).model_fields), None)
        if field is None:
            raise ModelSetupError(f"{type(model).__name__} takes no {name!r}; leave it out of the model's name")
        changes[field] = _value(name, text)
    return model.model_copy(update=changes) if changes else model


def _value(name: str, text: str) -> str | float:
    if name == "max_tokens" and not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise ModelSetupError(f"the parameter max_tokens of a model is a whole number from 1, not {text!r}")
    if name == "temperature" and not re.fullmatch(r"[0-9](\.\d+)?", text):
        raise ModelSetupError(f"the parameter temperature of a model is a number from 0 to 9, not {text!r}")
    if name == "max_tokens":
        return int(text)
    return float(text) if name == "temperature" else text


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
