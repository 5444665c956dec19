"""Samples as whole messages: what stands between a search, which knows texts, and callers who want messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Generic, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk

from metascale.errors import SettingError
from metascale.models.metered import WHY_EMPTY
from metascale.question import said
from metascale.records import Result
from metascale.settings import MetaScaleSettings

Whole = TypeVar("Whole")

_OWN_BILLS = ("token_usage", "usage")
_ASKING_PEOPLE = ("review_pool", "ask_for_budget")


def check_uninterrupted(settings: MetaScaleSettings) -> None:
    """Make sure that a search asks nobody: a model's call cannot be interrupted and resumed.

    Raises:
        SettingError: it would.
    """
    for name in _ASKING_PEOPLE:
        if getattr(settings, name):
            raise SettingError(f"the setting {name!r} asks people, which a node or a tool can, but no model's call")


class WholeMessages(Generic[Whole]):
    """Shows a search what messages say, and finds by what was said what it was said by.

    The search judges, compares and returns texts: of a message that calls tools its text with the calls written out.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._kept: dict[str, Whole] = {}

    def show(self, message: AIMessage, whole: Whole) -> AIMessage:
        """The message as the search is to see it; `whole` is kept for `find`."""
        text = said(message)
        self._kept.setdefault(text, whole)
        return message.model_copy(update={"content": text}) if message.tool_calls else message

    def find(self, text: str) -> Whole | None:
        """What was kept of the message that said so; None if there was none."""
        return self._kept.get(text)


def unusable(message: AIMessage, why: str) -> AIMessage:
    """A message that is no answer, as the search is to see it: empty, though it is paid for."""
    return message.model_copy(
        update={"content": "", "response_metadata": {**message.response_metadata, WHY_EMPTY: why}}
    )


def billed(message: AIMessage, result: Result) -> AIMessage:
    """The chosen message with the bill of the whole search, and what else is known of it under `"metascale"`."""
    bill = result["usage"]
    tokens = (bill["input_tokens"], bill["output_tokens"])
    usage = UsageMetadata(input_tokens=tokens[0], output_tokens=tokens[1], total_tokens=sum(tokens))
    about = {key: value for key, value in message.response_metadata.items() if key not in _OWN_BILLS}
    about["metascale"] = {key: value for key, value in result.items() if key != "answer"}
    return message.model_copy(
        update={"usage_metadata": usage if any(tokens) else None, "response_metadata": about},
    )


def in_chunks(message: AIMessage) -> Iterator[AIMessageChunk]:
    """A whole message as a stream: its text word by word, then all the rest; content in blocks comes in one piece."""
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
