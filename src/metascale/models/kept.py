"""Replies that are kept as they come, so that a run that goes on after a kill gets them again."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from langchain_core.messages import BaseMessage, messages_from_dict, messages_to_dict


class Keeper(Protocol):
    """Keeps the replies of one run."""

    async def reply(self, request: Sequence[Any], ask: Callable[[], Awaitable[str]]) -> str:
        """The reply to a request of the current node: a kept one, or else what `ask` gives, which is kept.

        Args:
            request: all that decides the reply, as JSON values.
            ask: sends it.
        """
        ...


_keeper: ContextVar[Keeper | None] = ContextVar("metascale_keeper", default=None)


@contextmanager
def keeping(keeper: Keeper) -> Iterator[None]:
    """Keep the replies to all requests in this context."""
    token = _keeper.set(keeper)
    try:
        yield
    finally:
        _keeper.reset(token)


def current_keeper() -> Keeper | None:
    """The keeper of this context; None where nothing is kept."""
    return _keeper.get()


async def kept(
    keeper: Keeper,
    request: Sequence[Any],
    messages: Sequence[BaseMessage],
    send: Callable[[], Awaitable[Sequence[BaseMessage]]],
) -> list[BaseMessage]:
    """The replies to a request, through a keeper.

    Args:
        keeper: keeps them.
        request: what decides the replies beside the messages, as JSON values.
        messages: the conversation.
        send: sends the request.
    """

    async def ask() -> str:
        return json.dumps(messages_to_dict(await send()), default=str)

    said = [[message.type, message.content] for message in messages]
    return messages_from_dict(json.loads(await keeper.reply([*request, said], ask)))
