"""LangGraph's private config keys that nodes read, because it has no public accessor for them."""

from __future__ import annotations

CHECKPOINTER = "__pregel_checkpointer"
"""The task's checkpointer; missing or None without one."""
RESUMING = "__pregel_resuming"
"""True in the first step of a resumed run."""
READ = "__pregel_read"
"""A function by which a task reads a channel of its graph's state."""
