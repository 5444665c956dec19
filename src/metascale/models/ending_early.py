"""Answers that are read as they are written, and ended once the model is far less sure of them than of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import aclosing, closing
from typing import Any, Self

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.messages.ai import UsageMetadata, add_ai_message_chunks
from langchain_core.runnables import RunnableConfig

from metascale.models.flaws import ENDED_EARLY, ending_of
from metascale.models.probabilities import WINDOW, Token, tokens_of, with_tokens, without_tokens
from metascale.models.prompt_lengths import PromptLengths
from metascale.runtime.bridge import either

ESTIMATED = "tokens_estimated"
"""Key in a message's `response_metadata` that says that the tokens of its prompt are an estimate."""
SAID_OF_ESTIMATES = "the server does not say what answers that were ended early cost, so their prompts are estimated"


class NoStreamError(Exception):
    """A server answered the request for a stream with something else, or with nothing."""


def can_stream(model: BaseChatModel) -> bool:
    """Whether a model's client can read a reply as it is written."""
    kind = type(model)
    return kind._stream is not BaseChatModel._stream or kind._astream is not BaseChatModel._astream


async def read_while_sure(
    model: BaseChatModel, messages: Sequence[BaseMessage], config: RunnableConfig, floor: float, options: dict[str, Any]
) -> AIMessage:
    """The reply to a request, ended once the mean log-probability of its last `WINDOW` tokens falls below `floor`.

    Without token probabilities the reply is read to its end. A reply that was ended has the finish reason
    `ENDED_EARLY`, and the connection is closed, upon which servers stop to write.

    Raises:
        NoStreamError: the server sends no stream.
    """
    fields = type(model).model_fields
    changes = {"disable_streaming": False} | ({"streaming": True} if "streaming" in fields else {})
    if "stream_usage" in fields:  # otherwise OpenAI's servers send no bill with a stream
        options = {"stream_options": {"include_usage": True}, **options}
    return await either(_read, _aread, model.model_copy(update=changes), list(messages), config, floor, options)


def _read(
    model: BaseChatModel, messages: list[BaseMessage], config: RunnableConfig, floor: float, options: dict[str, Any]
) -> AIMessage:
    stream: Any = model.stream(messages, config, **options)
    with _Reading(floor) as reading, closing(stream):
        for piece in stream:
            if reading.is_over_after(piece):
                break
    return reading.message


async def _aread(
    model: BaseChatModel, messages: list[BaseMessage], config: RunnableConfig, floor: float, options: dict[str, Any]
) -> AIMessage:
    stream: Any = model.astream(messages, config, **options)
    with _Reading(floor) as reading:
        async with aclosing(stream):
            async for piece in stream:
                if reading.is_over_after(piece):
                    break
    return reading.message


def counted(message: AIMessage, prompt: Sequence[BaseMessage], prompts: PromptLengths) -> AIMessage:
    """A reply that was read as a stream, with the tokens that it cost where its server does not tell them.

    A server sends its count at the end of a stream, so none comes with a reply that was ended early. The reply's tokens
    have all been received. The prompt's are those of the same prompt before; otherwise they are estimated, which
    `ESTIMATED` in `response_metadata` says.
    """
    told, tokens = message.usage_metadata, tokens_of(message)
    is_ended = message.response_metadata.get("finish_reason") == ENDED_EARLY
    if not tokens or (told and not is_ended):
        return message
    read, is_known = (told["input_tokens"], True) if told and told["input_tokens"] else prompts.tokens(prompt)
    usage = UsageMetadata(input_tokens=read, output_tokens=len(tokens), total_tokens=read + len(tokens))
    about = {**message.response_metadata} | ({} if is_known else {ESTIMATED: True})
    return message.model_copy(update={"usage_metadata": usage, "response_metadata": about})


class _Reading:
    """The part of a reply that was read."""

    def __init__(self, floor: float) -> None:
        self._floor = floor
        self._pieces: list[AIMessageChunk] = []
        self._tokens: list[Token] = []
        self._window: deque[float] = deque(maxlen=WINDOW)
        self._is_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, ValueError) and not self._pieces:  # LangChain's for a stream without content
            raise NoStreamError("the server sends no stream") from error

    def is_over_after(self, piece: AIMessageChunk) -> bool:
        """Read a piece; returns whether the reply ends here."""
        tokens = tokens_of(piece)
        self._pieces.append(without_tokens(piece))
        for token in tokens:
            self._tokens.append(token)
            self._window.append(token.logprob)
            is_full = len(self._window) == WINDOW
            self._is_ended |= is_full and sum(self._window) / WINDOW < self._floor
        if ending_of(piece.response_metadata):  # it is whole, and paid for
            self._is_ended = False
        return self._is_ended

    @property
    def message(self) -> AIMessage:
        """The reply so far."""
        whole = message_chunk_to_message(add_ai_message_chunks(self._pieces[0], *self._pieces[1:]))
        assert isinstance(whole, AIMessage)  # noqa: S101
        about = {**whole.response_metadata} | ({"finish_reason": ENDED_EARLY} if self._is_ended else {})
        return with_tokens(whole.model_copy(update={"response_metadata": about}), self._tokens)
