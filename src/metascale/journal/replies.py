"""The replies that an unfinished run has paid for: a run that goes on after a kill gets them again.

LangGraph's checkpoints hold what finished nodes found. A node that was cut off has replies that are in no checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langgraph.config import get_config

from metascale.journal.database import Journal, Replies
from metascale.nodes.config_keys import READ

_TAG = re.compile(r"\b[0-9a-f]{16}\b")
"""The random tags of fences, in which the same request differs each time; see `metascale.prompts.new_tag`."""


class PaidReplies:
    """The replies of one run: those of before, each given once, and new ones, which are kept."""

    def __init__(self, journal: Journal, run: str, before: Replies) -> None:
        """Go on with what `Journal.replies_of` found for the run."""
        self._journal = journal
        self._run = run
        self._before = before

    async def reply(self, request: Sequence[Any], ask: Callable[[], Awaitable[str]]) -> str:
        """The reply to a request of the current node.

        Args:
            request: all that decides the reply, as JSON values.
            ask: sends it.
        """
        key = hashlib.sha256(_TAG.sub("tag", json.dumps([*_place(), *request])).encode()).hexdigest()
        if self._before.get(key):
            return self._before[key].popleft()
        reply = await ask()
        self._journal.add_reply(self._run, key, reply)
        return reply


def _place() -> list[Any]:
    """Which execution of which node asks: the same when that execution is repeated, and no other.

    Requests that were made before it tell the executions of a node apart, also after a run went back to an earlier
    checkpoint, which gives steps and tasks new names.
    """
    config = get_config()
    made = config["configurable"][READ]("usage").get("calls", 0)  # the bill is empty before the first node
    return [list(config["metadata"]["langgraph_path"]), made]
