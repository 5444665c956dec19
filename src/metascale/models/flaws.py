"""Flaws of replies: refusals and truncation, which messages report, and broken Unicode, which is repaired here."""

from __future__ import annotations

from typing import Any, Literal

from langchain_core.messages import AIMessage

from metascale.records import Status

Flaw = Literal["refused", "truncated"]
Outcome = tuple[Status, str, str | None]
"""An answer: its status, its text, and what is wrong with it (None if nothing is)."""

WHY_EMPTY = "why_empty"
"""Key in a message's `response_metadata` under which a sampler says why an empty message is no answer."""

_TRUNCATED = {"length", "max_tokens", "model_length"}
_REFUSED = {"content_filter", "refusal", "safety", "blocked", "prohibited_content"}


def flaw_of(message: AIMessage) -> Flaw | None:
    """The flaw that a message reports, by the names that servers use for it; None if there is none."""
    about = message.response_metadata
    reason = str(about.get("finish_reason") or about.get("stop_reason") or about.get("done_reason") or "").lower()
    if refusal_of(message) or reason in _REFUSED:
        return "refused"
    return "truncated" if reason in _TRUNCATED else None


def refusal_of(message: AIMessage) -> str:
    """The text of a refusal that a message holds outside its content; empty where there is none."""
    refusal = message.additional_kwargs.get("refusal")
    if refusal:
        return str(refusal)
    blocks = message.content if isinstance(message.content, list) else []
    return next(
        (str(b.get("refusal") or "refused") for b in blocks if isinstance(b, dict) and b.get("type") == "refusal"),
        "",
    )


def outcome(message: AIMessage) -> Outcome:
    """What a model's message is as an answer."""
    text = message.text.strip()
    flaw = flaw_of(message)
    if flaw == "refused":
        return flaw, text or refusal_of(message), "the model refused"
    if flaw == "truncated":
        return flaw, text, "the answer was cut off at the token limit"
    if not text:
        return "empty", "", str(message.response_metadata.get(WHY_EMPTY) or "the answer is empty")
    return "ok", text, None


def well_formed_message(message: AIMessage) -> AIMessage:
    """The message with `well_formed` content and tool calls; the same object where nothing changes."""
    parts = {"content": message.content, "tool_calls": message.tool_calls}
    changed = {name: clean for name, part in parts.items() if (clean := well_formed(part)) != part}
    return message.model_copy(update=changed) if changed else message


def well_formed(value: Any) -> Any:
    """The value with every lone surrogate in its texts replaced by U+FFFD.

    A reply that is cut inside an emoji can end in a lone surrogate. That is no valid Unicode: it cannot be printed,
    sent or stored.

    Args:
        value: a text, or texts in lists and in the values and keys of dictionaries; anything else is returned as it is.

    Raises:
        RecursionError: the lists and dictionaries are nested too deeply.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [well_formed(item) for item in value]
    if isinstance(value, dict):
        return {well_formed(key): well_formed(item) for key, item in value.items()}
    return value
