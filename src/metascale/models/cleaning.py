"""A model's message as the package uses it: well-formed Unicode, and its thinking kept apart from its text."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage

from metascale.answers.thinking import without_thinking

THINKING = "reasoning_content"
"""Key in `additional_kwargs` for a message's thinking, as servers that report it apart name it."""
_THINKING_BLOCKS = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content"})


def clean_message(message: AIMessage) -> AIMessage:
    """The message with well-formed texts and without thinking in them; the same object where nothing changes.

    Thinking moves from the text to `additional_kwargs`. Content blocks of thinking stay, because they are no text and
    some servers want them back.
    """
    parts = {"content": message.content, "tool_calls": message.tool_calls}
    changed = {name: clean for name, part in parts.items() if (clean := well_formed(part)) != part}
    content = changed.get("content", message.content)
    answer = _answering(content)
    if answer != content:
        thought = content.removesuffix(answer).strip() if isinstance(content, str) else "(in the text)"
        changed |= {"content": answer, "additional_kwargs": {THINKING: thought, **message.additional_kwargs}}
    return message.model_copy(update=changed) if changed else message


def is_thinking_only(message: AIMessage) -> bool:
    """Whether a clean message holds thinking, or its server counted some, but no text."""
    if message.text.strip():
        return False
    blocks = message.content if isinstance(message.content, list) else []
    counted = message.usage_metadata.get("output_token_details", {}) if message.usage_metadata else {}
    return bool(
        message.additional_kwargs.get(THINKING)
        or message.additional_kwargs.get("reasoning")
        or any(isinstance(block, dict) and block.get("type") in _THINKING_BLOCKS for block in blocks)
        or counted.get("reasoning")
    )


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


def _answering(content: Any) -> Any:
    """The content without thinking in its texts."""
    if isinstance(content, str):
        return without_thinking(content)
    return [_answering_block(block) for block in content]


def _answering_block(block: Any) -> Any:
    if isinstance(block, str):
        return without_thinking(block)
    if isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str):
        return {**block, "text": without_thinking(block["text"])}
    return block
