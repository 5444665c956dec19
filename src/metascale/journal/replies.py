"""What an unfinished run has paid for: a run that goes on after a kill or a failure gets its replies again.

LangGraph's checkpoints hold what finished nodes found. A node that was cut off has replies that are in no checkpoint,
and a run that goes back to before its failures has forgotten what they cost.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from langgraph.config import get_config

from metascale.journal.database import Journal, Replies
from metascale.nodes.config_keys import READ
from metascale.usage import Usage, add_usage, no_usage

_FAILED = "failed"
"""What failed attempts are kept under: no hash of a request."""
_TAG = re.compile(r"\b[0-9a-f]{16}\b")
"""The random tags of fences, in which the same request differs each time; see `metascale.prompts.new_tag`."""


class PaidReplies:
    """The replies of one run: those of before, each given once, and new ones, which are kept."""

    def __init__(self, journal: Journal, run: str, before: Replies, lost: Usage) -> None:
        """Go on with what `Journal.replies_of` found for the run, and with what it has `lost`; see `lost_since`."""
        self._journal = journal
        self._run = run
        self._before = before
        self._lost = lost

    def given(self, request: Sequence[Any]) -> str | None:
        """As in `Keeper`."""
        kept = self._before.get(_key(request))
        return kept.popleft() if kept else None

    def keep(self, request: Sequence[Any], reply: str) -> None:
        """As in `Keeper`."""
        self._journal.add_reply(self._run, _key(request), reply)

    def failed(self, bill: Usage) -> None:
        """As in `Keeper`."""
        self._journal.add_reply(self._run, _FAILED, json.dumps([_made(), bill]))

    def take_lost(self) -> Usage:
        """As in `Keeper`."""
        lost, self._lost = self._lost, no_usage()
        return lost


def lost_since(before: Replies, bill: Usage) -> Usage:
    """The bill of the failed attempts that a run forgets which goes back to an earlier checkpoint.

    Args:
        before: what `Journal.replies_of` found for the run.
        bill: of the checkpoint. Whatever was asked when fewer requests had been made is in it.
    """
    lost = no_usage()
    for made, failed in map(json.loads, before.get(_FAILED, ())):
        if made >= bill["calls"]:
            lost = add_usage(lost, failed)
    return lost


def _key(request: Sequence[Any]) -> str:
    return hashlib.sha256(_TAG.sub("tag", json.dumps([*_place(), *request])).encode()).hexdigest()


def _made() -> int:
    """The requests that the run had made before the current node."""
    usage = get_config()["configurable"][READ]("usage")
    return int(usage.get("calls", 0))  # the bill is empty before the first node


def _place() -> list[Any]:
    """Which execution of which node asks: the same when that execution is repeated, and no other.

    Requests that were made before it tell the executions of a node apart, also after a run went back to an earlier
    checkpoint, which gives steps and tasks new names.
    """
    config = get_config()
    return [list(config["metadata"]["langgraph_path"]), _made()]
