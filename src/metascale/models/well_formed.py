"""Texts that can be written down: no half of a surrogate pair."""

from __future__ import annotations

from typing import Any


def well_formed(value: Any) -> Any:
    """The value with every half of a surrogate pair in its texts replaced by U+FFFD.

    A reply that is cut inside an emoji can end in such a half. It is no Unicode: it cannot be printed, sent or stored.

    Args:
        value: a text, or texts in lists and in the values and keys of dictionaries; anything else is left as it is.

    Raises:
        RecursionError: the lists and dictionaries are nested too deeply.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [well_formed(held) for held in value]
    if isinstance(value, dict):
        return {well_formed(key): well_formed(held) for key, held in value.items()}
    return value
