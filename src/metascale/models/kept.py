"""Replies that are kept as they come, so that a run that goes on after a kill gets them again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from langchain_core.messages import BaseMessage, messages_from_dict, messages_to_dict

from metascale.usage import Usage


class Keeper(Protocol):
    """Keeps the replies of one run."""

    def given(self, request: Sequence[Any]) -> str | None:
        """A kept reply to a request of the current node, which is then given away; None where there is none.

        Args:
            request: all that decides the reply, as JSON values.
        """
        ...

    def keep(self, request: Sequence[Any], reply: str) -> None:
        """Keep the reply to a request of the current node."""
        ...

    def failed(self, bill: Usage) -> None:
        """Keep the bill of an attempt that failed."""
        ...

    def take_lost(self) -> Usage:
        """The bill of the failed attempts that the run has forgotten, because it goes on from before them; once."""
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


def given(keeper: Keeper, request: Sequence[Any], messages: Sequence[BaseMessage]) -> list[BaseMessage] | None:
    """The kept replies to a request; None where it is to be sent.

    Args:
        keeper: has them.
        request: what decides the replies beside the messages, as JSON values.
        messages: the conversation.
    """
    reply = keeper.given([*request, _said(messages)])
    return None if reply is None else messages_from_dict(json.loads(reply))


def keep(
    keeper: Keeper, request: Sequence[Any], messages: Sequence[BaseMessage], replies: Sequence[BaseMessage]
) -> None:
    """Keep the replies to a request; arguments as for `given`."""
    keeper.keep([*request, _said(messages)], json.dumps(messages_to_dict(replies), default=str))


def _said(messages: Sequence[BaseMessage]) -> list[Any]:
    return [[message.type, message.content] for message in messages]
