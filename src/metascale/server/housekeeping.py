"""Requests that chat clients send for themselves: titles, tags and follow-up questions, not worth a search."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AnyMessage

OPENING, CHAT = "### Task:", "<chat_history>"
"""How Open WebUI's prompts for titles, tags, follow-up questions and searches begin, and what they quote the chat in.
Its prompt for a question about documents begins in the same way, but quotes no chat: that one deserves a search."""
EMOJI = "Your task is to reflect the speaker's likely facial expression"
"""How its prompt for the emoji of a voice call begins."""
TOOLS = "Available Tools:"
"""How its system prompt for the choice of a tool begins, where a model is not asked by `tools`."""
NOTE = "housekeeping of a chat client, answered by one direct request"


def is_housekeeping(messages: Sequence[AnyMessage]) -> bool:
    """Whether a conversation is a request that a chat client sends for itself."""
    first, last = (str(message.text).lstrip() for message in (messages[0], messages[-1]))
    if messages[-1].type != "human":
        return False
    chooses_tool = messages[0].type == "system" and first.startswith(TOOLS) and '"tool_calls"' in first
    return chooses_tool or last.startswith(EMOJI) or (last.startswith(OPENING) and CHAT in last)
