"""The question in a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AnyMessage, BaseMessage

from metascale.errors import QuestionError

_SPEAKERS = {"human": "User", "ai": "Assistant", "system": "System", "tool": "Tool"}


def check_question(messages: Sequence[AnyMessage], longest: int) -> None:
    """Make sure that the conversation ends with something to answer.

    Args:
        messages: the conversation; contents may be text or blocks.
        longest: characters that the whole conversation may have.

    Raises:
        QuestionError: it is empty, does not end with the user or a tool speaking, says nothing, or is too long.
    """
    if not messages:
        raise QuestionError("there is no question: the conversation is empty")
    last = messages[-1]
    if last.type not in {"human", "tool"}:
        raise QuestionError(
            f"there is no question: the conversation ends with a message of type {last.type!r}, not with the user's"
        )
    if not last.text.strip() and not _shows_something(last):
        raise QuestionError("the question is empty")
    length = sum(len(message.text) for message in messages)
    if length > longest:
        raise QuestionError(
            f"the question is too long: {length:,} characters, where max_question_chars allows {longest:,}"
        )


def _shows_something(message: BaseMessage) -> bool:
    """Whether a message holds a block other than text, such as an image."""
    content = message.content
    return isinstance(content, list) and any(
        isinstance(block, dict) and block.get("type") not in {None, "text"} for block in content
    )


def question_text(messages: Sequence[AnyMessage]) -> str:
    """The task as text: the question itself, or the whole conversation where there is more than one message."""
    if len(messages) == 1:
        return _as_text(messages[0])
    return "\n\n".join(f"{_SPEAKERS.get(message.type, message.type)}: {_as_text(message)}" for message in messages)


def _as_text(message: BaseMessage) -> str:
    text = message.text.strip()
    return f"{text}\n(with attached material that is not text)".strip() if _shows_something(message) else text
