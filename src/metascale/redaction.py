"""Keys and passwords out of texts that others wrote: servers quote them in error messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import SecretStr

HIDDEN = "…"
"""Stands where something was taken out."""
SHORTEST = 8
"""Characters from which a value is taken for a secret. Ours: local servers are given keys such as `none`, and to hide
every `none` of a text helps nobody."""
_NAMES_A_SECRET = re.compile(r"(?:API_KEY|ACCESS_KEY|TOKEN|SECRET|PASSWORD)$")
_SHAPES = (
    (re.compile(r"(?<=://)([^\s/:@]*):\S*@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(?<=[?&]password=)[^\s&'\"]+", re.IGNORECASE), HIDDEN),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=*-]{16,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"\bsk-[\w*-]{16,}"), HIDDEN),
    (re.compile(r"[\w-]*\*{4,}[\w-]*"), HIDDEN),
)
"""What looks like a secret whether or not anybody here knows it: the password of a URL, as part of it or among its
parameters, the value of an Authorization header, a key as OpenAI and its like write them, and one whose middle a
server has masked. Ours."""


def redacted(text: str, known: Iterable[str] = ()) -> str:
    """The text with an ellipsis for every secret in it.

    Args:
        text: what somebody else wrote.
        known: secrets beyond those in this process's environment: the values of variables whose names end with
            `API_KEY`, `ACCESS_KEY`, `TOKEN`, `SECRET` or `PASSWORD`. Those shorter than `SHORTEST` are left alone.
    """
    secrets = sorted({value for value in (*known, *_in_environment(os.environ)) if len(value) >= SHORTEST}, key=len)
    if secrets:
        text = re.sub("|".join(map(re.escape, reversed(secrets))), HIDDEN, text, flags=re.IGNORECASE)
    for shape, shown in _SHAPES:
        text = shape.sub(shown, text)
    return text


def secrets_of(model: Any) -> list[str]:
    """The secrets that a chat model, or any other pydantic object, holds in fields of its own."""
    return [value.get_secret_value() for value in vars(model).values() if isinstance(value, SecretStr)]


def _in_environment(environment: Mapping[str, str]) -> list[str]:
    return [value.strip() for name, value in environment.items() if _NAMES_A_SECRET.search(name.upper())]
