"""What a model's message says of itself: that the model refused, or that it was cut short."""

from __future__ import annotations

from typing import Any, Literal

from langchain_core.messages import AIMessage

Flaw = Literal["refused", "truncated"]

_CUT = {"length", "max_tokens", "model_length"}
_REFUSED = {"content_filter", "refusal", "safety", "blocked", "prohibited_content"}


def flaw_of(message: AIMessage) -> Flaw | None:
    """The flaw of a message, by the names that servers have for it; None if there is none."""
    about = message.response_metadata
    reason = str(about.get("finish_reason") or about.get("stop_reason") or about.get("done_reason") or "").lower()
    if refusal_of(message) or reason in _REFUSED:
        return "refused"
    return "truncated" if reason in _CUT else None


def refusal_of(message: AIMessage) -> str:
    """The words of a refusal that stands beside a message's text; empty where there is none."""
    beside = message.additional_kwargs.get("refusal")
    if beside:
        return str(beside)
    blocks = message.content if isinstance(message.content, list) else []
    return next(
        (str(b.get("refusal") or "refused") for b in blocks if isinstance(b, dict) and b.get("type") == "refusal"),
        "",
    )


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
