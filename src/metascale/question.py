"""The question in a conversation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage

from metascale import prompts
from metascale.answers.thinking import without_thinking
from metascale.errors import QuestionError

_SPEAKERS = {"human": "User", "ai": "Assistant", "system": "System", "tool": "Tool"}


def check_question(messages: Sequence[AnyMessage], longest: int) -> None:
    """Check that the conversation ends with a question.

    Args:
        messages: the conversation; contents may be text or blocks.
        longest: the most characters that the whole conversation may have.

    Raises:
        QuestionError: the conversation is empty or too long, its last message is not from the user or a tool, or that
            message is empty.
    """
    if not messages:
        raise QuestionError("there is no question: the conversation is empty")
    last = messages[-1]
    if last.type not in {"human", "tool"}:
        raise QuestionError(
            f"there is no question: the conversation ends with a message of type {last.type!r}; it must end with a "
            "message from the user or a tool"
        )
    if last.type == "human" and not last.text.strip() and not _shows_something(last):
        raise QuestionError("the question is empty")
    length = sum(len(message.text) for message in messages)
    if length > longest:
        raise QuestionError(
            f"the question is too long: {length:,} characters, but max_question_chars allows {longest:,}"
        )


LONG = 8_000
"""Characters from which a conversation is long: some 2,000 tokens. Servers cache prompts from 1,024 tokens."""


def is_long(task: str) -> bool:
    """Whether one request about a task goes ahead, so that a server has the task in its cache for the others."""
    return len(task) >= LONG


class Task(str):
    """A task as text, with what its text cannot hold.

    Attributes:
        attached: content blocks of the user and of tools, such as images, in order.
    """

    __slots__ = ("attached",)
    attached: tuple[dict[str, Any], ...]

    def __new__(cls, text: str, attached: Sequence[dict[str, Any]] = ()) -> Self:
        """A task."""
        task = super().__new__(cls, text)
        task.attached = tuple(attached)
        return task


def shown(material: str, task: str) -> HumanMessage:
    """The user's turn that shows material about a task, after what is attached to the task."""
    attached = task.attached if isinstance(task, Task) else ()
    return HumanMessage([*attached, {"type": "text", "text": material}] if attached else material)


def unattached(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages with their text alone."""
    return [m.model_copy(update={"content": str(m.text)}) if _attached(m) else m for m in messages]


def _attached(message: BaseMessage) -> list[dict[str, Any]]:
    """The blocks of a message other than text."""
    blocks = message.content if isinstance(message.content, list) else []
    return [block for block in blocks if isinstance(block, dict) and block.get("type") not in {None, "text"}]


def _shows_something(message: BaseMessage) -> bool:
    """Whether a message has a block other than text, such as an image."""
    return bool(_attached(message))


def task_of(messages: Sequence[AnyMessage]) -> Task:
    """The task for a model to read: its text as in `question_text`, with what the user and tools attached."""
    return Task(question_text(messages), [b for m in messages if m.type in {"human", "tool"} for b in _attached(m)])


def question_text(messages: Sequence[AnyMessage]) -> str:
    """The task as text: a single message as it is, a longer conversation with its speakers."""
    if len(messages) == 1:
        return _as_text(messages[0])
    return "\n\n".join(f"{_SPEAKERS.get(message.type, message.type)}: {_as_text(message)}" for message in messages)


def said(message: BaseMessage) -> str:
    """A message as text: its content, then its tool calls; a model's message without its thinking."""
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    text = without_thinking(message.text) if isinstance(message, AIMessage) else message.text
    shown = [
        prompts.render("tool_call", tool=call["name"], arguments=json.dumps(call["args"], ensure_ascii=False))
        for call in calls
    ]
    return "\n\n".join(part for part in (text.strip(), "\n".join(shown)) if part)


def _as_text(message: BaseMessage) -> str:
    text = said(message)
    return f"{text}\n(with attached material that is not text)".strip() if _shows_something(message) else text
