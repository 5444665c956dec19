"""What requests have shown of the server behind a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Form = Literal["json_schema", "function_calling", "prompt"]
"""How a model is asked for an object: in the server's JSON-schema mode, by a tool call, or in words."""


@dataclass
class Capabilities:
    """What a server supports, filled in as requests show it.

    Attributes:
        form: the form in which the server gave an object; None before it did.
        one_by_one: whether it gives only one reply to a request.
        options: the model's keyword arguments that ask for a schema in a form, by both; None where it has no such form.
    """

    form: Form | None = None
    one_by_one: bool = False
    options: dict[tuple[Form, type], dict[str, Any] | None] = field(default_factory=dict)
