"""Requests that chat clients send for themselves: titles, tags and follow-up questions, not worth a search."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AnyMessage

OPENING = "### Task:"
"""How Open WebUI's prompts for titles, tags, follow-up questions and searches begin."""
NOTE = "housekeeping of a chat client, answered by one direct request"


def is_housekeeping(messages: Sequence[AnyMessage]) -> bool:
    """Whether a conversation ends with a request that a chat client sends for itself."""
    return messages[-1].type == "human" and str(messages[-1].text).lstrip().startswith(OPENING)
