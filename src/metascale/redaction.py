"""Redaction of keys and passwords, which servers quote in error messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import SecretStr

HIDDEN = "…"
"""Replaces a secret."""
SHORTEST = 8
"""The fewest characters of a secret. Local servers get keys such as `none`, and hiding every `none` in a text helps
nobody. Not tuned."""
_NAMES_A_SECRET = re.compile(r"(?:API_KEY|ACCESS_KEY|TOKEN|SECRET|PASSWORD)$")
_SHAPES = (
    (re.compile(r"(?<=://)([^\s/:@]*):\S*@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(?<=[?&]password=)[^\s&'\"]+", re.IGNORECASE), HIDDEN),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=*-]{16,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"\bsk-[\w*-]{16,}"), HIDDEN),
    (re.compile(r"[\w-]*\*{4,}[\w-]*"), HIDDEN),
)
"""What secrets look like: a password in a URL or its parameters, the value of an Authorization header, a key in the
format of OpenAI's, and a key whose middle the server masked."""


def redacted(text: str, known: Iterable[str] = ()) -> str:
    """The text with each secret replaced by an ellipsis.

    Secrets are the `known` ones, the values of environment variables whose names end in `API_KEY`, `ACCESS_KEY`,
    `TOKEN`, `SECRET` or `PASSWORD`, and whatever looks like a secret.

    Args:
        text: a text from outside, such as an error message.
        known: further secrets. Values shorter than `SHORTEST` are not redacted.
    """
    secrets = sorted({value for value in (*known, *_in_environment(os.environ)) if len(value) >= SHORTEST}, key=len)
    if secrets:
        text = re.sub("|".join(map(re.escape, reversed(secrets))), HIDDEN, text, flags=re.IGNORECASE)
    for shape, shown in _SHAPES:
        text = shape.sub(shown, text)
    return text


def secrets_of(model: Any) -> list[str]:
    """The values of all `SecretStr` fields of a chat model or another pydantic object."""
    return [value.get_secret_value() for value in vars(model).values() if isinstance(value, SecretStr)]


def _in_environment(environment: Mapping[str, str]) -> list[str]:
    return [value.strip() for name, value in environment.items() if _NAMES_A_SECRET.search(name.upper())]
