"""How many tokens a prompt has, where a server does not say: as many as it had before, or an estimate."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage

CHARACTERS = 4
"""Characters of a token in a run that knows no prompt yet; the usual value for English."""


class PromptLengths:
    """The prompts of a run whose tokens are known; any thread may use it."""

    def __init__(self) -> None:
        """Start without prompts."""
        self._known: dict[int, int] = {}
        self._last = (CHARACTERS, 1)

    def note(self, messages: Sequence[BaseMessage], tokens: int) -> None:
        """Remember the tokens of a prompt, as its server counted them."""
        self._known[_key(messages)] = tokens
        self._last = (max(1, _characters(messages)), tokens)

    def tokens(self, messages: Sequence[BaseMessage]) -> tuple[int, bool]:
        """The tokens of a prompt, and whether they were counted; else they are estimated by its characters."""
        known = self._known.get(_key(messages))
        characters, tokens = self._last
        return (known, True) if known is not None else (round(_characters(messages) * tokens / characters), False)


def _key(messages: Sequence[BaseMessage]) -> int:
    return hash(tuple((message.type, str(message.content)) for message in messages))


def _characters(messages: Sequence[BaseMessage]) -> int:
    return sum(len(message.text) for message in messages)
