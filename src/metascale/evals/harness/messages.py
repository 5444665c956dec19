"""Inspect's messages as LangChain's, and back, with everything that they show: images, audio and documents too."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentReasoning,
    ContentText,
    Logprobs,
    ModelUsage,
)
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import TypeAdapter

from metascale.errors import SettingError

_INSPECTS = "inspect"
"""The key of Inspect's own form in a block that LangChain has no form for."""
_CONTENT: TypeAdapter[Content] = TypeAdapter(Content)


def to_inspect(message: BaseMessage) -> ChatMessage:
    """A LangChain message as an Inspect message."""
    if message.type == "system":
        return ChatMessageSystem(content=message.text)
    if message.type == "ai":
        return ChatMessageAssistant(content=message.text)
    if isinstance(message.content, str):
        return ChatMessageUser(content=message.text)
    blocks = [block if isinstance(block, dict) else {"type": "text", "text": block} for block in message.content]
    return ChatMessageUser(content=[_content(block) for block in blocks])


def to_langchain(message: ChatMessage) -> AnyMessage:
    """An Inspect message as a LangChain message."""
    if message.role == "system":
        return SystemMessage(message.text)
    if message.role == "assistant":
        return AIMessage(message.text)
    if not isinstance(message.content, list) or all(part.type == "text" for part in message.content):
        return HumanMessage(message.text)
    return HumanMessage([_block(part) for part in message.content if not isinstance(part, ContentReasoning)])


def logprobs_of(reply: BaseMessage) -> Logprobs | None:
    """What a LangChain reply tells of its tokens, as Inspect has it."""
    told = reply.response_metadata.get("logprobs")
    return Logprobs.model_validate(told) if told else None


def as_sent(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Inspect messages in the servers' format; images in files are sent along.

    Raises:
        SettingError: a message shows something other than text and images, or an image that cannot be read.
    """
    return [{"role": message.role, "content": _sent(to_langchain(message).content)} for message in messages]


def _block(part: Content) -> dict[str, Any]:
    if isinstance(part, ContentText):
        return {"type": "text", "text": part.text}
    if isinstance(part, ContentImage):
        return {"type": "image_url", "image_url": {"url": part.image, "detail": part.detail}}
    return {"type": part.type, _INSPECTS: part.model_dump(mode="json", exclude_none=True)}


def _content(block: dict[str, Any]) -> Content:
    if block.get("type") == "image_url":
        image = block["image_url"]
        given = {"url": image} if isinstance(image, str) else image
        return ContentImage.model_validate({"image": given["url"], "detail": given.get("detail") or "auto"})
    if _INSPECTS in block:
        return _CONTENT.validate_python(block[_INSPECTS])
    return ContentText(text=str(block.get("text", "")))


def _sent(content: Any) -> Any:
    if isinstance(content, str):
        return content
    for block in content:
        if block["type"] not in {"text", "image_url"}:
            raise SettingError(f"the sample holds a part of type {block['type']!r}; servers get text and images only")
    return [
        {**block, "image_url": {**block["image_url"], "url": _within(block["image_url"]["url"])}}
        if block["type"] == "image_url"
        else block
        for block in content
    ]


def _within(image: str) -> str:
    """A URL as it is; the image in a file as a data URL."""
    if image.startswith(("http://", "https://", "data:")):
        return image
    try:
        data = base64.b64encode(Path(image).read_bytes()).decode()
    except OSError as error:
        raise SettingError(f"the image {image!r} of a sample cannot be read: {error.strerror}") from error
    return f"data:{mimetypes.guess_type(image)[0] or 'image/png'};base64,{data}"


def usage_of(reply: BaseMessage) -> ModelUsage | None:
    """The tokens of a reply in Inspect's form; None if they are unknown. Prompt tokens of a cache are counted apart."""
    told = reply.usage_metadata if isinstance(reply, AIMessage) else None
    if told is None:
        return None
    cached = told.get("input_token_details", {}).get("cache_read")
    return ModelUsage(
        input_tokens=told["input_tokens"] - (cached or 0),
        input_tokens_cache_read=cached,
        output_tokens=told["output_tokens"],
        total_tokens=told["total_tokens"],
    )
