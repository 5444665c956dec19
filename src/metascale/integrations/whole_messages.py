"""Samples as whole messages: translates between a search of texts and callers who need messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Generic, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk

from metascale.errors import SettingError
from metascale.models.cleaning import clean_message
from metascale.models.flaws import WHY_EMPTY
from metascale.models.probabilities import without_tokens
from metascale.question import said
from metascale.records import Result
from metascale.settings import ASKING_PEOPLE, MetaScaleSettings

Whole = TypeVar("Whole")

_OWN_BILLS = ("token_usage", "usage")


def check_uninterrupted(settings: MetaScaleSettings) -> None:
    """Refuse settings that ask people: a model call cannot be interrupted and resumed.

    Raises:
        SettingError: a setting asks people.
    """
    for name in ASKING_PEOPLE:
        if getattr(settings, name):
            raise SettingError(f"the setting {name!r} asks people; a node or a tool can do that, a model call cannot")


class WholeMessages(Generic[Whole]):
    """Gives a search the texts of messages, and finds the message of a text.

    The search judges, compares and returns texts. The text of a message with tool calls includes the calls.
    """

    def __init__(self) -> None:
        """Start without messages."""
        self._kept: dict[str, Whole] = {}

    def show(self, message: AIMessage, whole: Whole) -> AIMessage:
        """The message for the search, without its thinking; `whole` is kept for `find`."""
        message = clean_message(message)
        text = said(message)
        self._kept.setdefault(text, whole)
        return message.model_copy(update={"content": text}) if message.tool_calls else message

    def find(self, text: str) -> Whole | None:
        """The kept message of a text; None if there is none."""
        return self._kept.get(text)


def unusable(message: AIMessage, why: str) -> AIMessage:
    """A rejected message for the search: empty, but with its usage."""
    return message.model_copy(
        update={"content": "", "response_metadata": {**message.response_metadata, WHY_EMPTY: why}}
    )


def billed(message: AIMessage, result: Result, *, keeps_tokens: bool) -> AIMessage:
    """The chosen message without its thinking, with the usage and, under `"metascale"`, the details of the search.

    Args:
        message: the chosen message.
        result: what the search returned.
        keeps_tokens: whether the caller asked for token probabilities; those for the search's own use are dropped.
    """
    message = clean_message(message if keeps_tokens else without_tokens(message))
    bill = result["usage"]
    tokens = (bill["input_tokens"], bill["output_tokens"])
    usage = UsageMetadata(input_tokens=tokens[0], output_tokens=tokens[1], total_tokens=sum(tokens))
    about = {key: value for key, value in message.response_metadata.items() if key not in _OWN_BILLS}
    about["metascale"] = {key: value for key, value in result.items() if key != "answer"}
    return message.model_copy(
        update={"usage_metadata": usage if any(tokens) else None, "response_metadata": about},
    )


def in_chunks(message: AIMessage) -> Iterator[AIMessageChunk]:
    """A message as a stream: its text word by word, then the rest; content in blocks comes in one chunk."""
    text = message.content if isinstance(message.content, str) else None
    for word in re.findall(r"\s*\S+|\s+$", text or ""):
        yield AIMessageChunk(content=word, id=message.id)
    calls = [
        tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=index)
        for index, call in enumerate(message.tool_calls)
    ]
    yield AIMessageChunk(
        content=message.content if text is None else "",
        id=message.id,
        name=message.name,
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
        tool_call_chunks=calls,
        chunk_position="last",
    )
