"""The start of every run: only the conversation remains of an earlier turn."""

from __future__ import annotations

from collections.abc import Sequence

from langgraph.config import get_stream_writer
from langgraph.types import Overwrite

from metascale.events import PoolMade
from metascale.nodes.run import Update
from metascale.records import Foresight, MetaThought
from metascale.usage import Usage


def fresh_run(
    pool: Sequence[MetaThought], usage: Usage, notes: Sequence[str] = (), foresight: Foresight | None = None
) -> Update:
    """Stream the pool, and return the update that starts a run on it.

    Args:
        pool: the first arms; may be empty.
        usage: what was spent so far in this run.
        notes: what went wrong so far.
        foresight: what the model predicted; None if it was not asked.
    """
    tell_pool(pool, usage)
    return {
        "foresight": foresight,
        "pool": Overwrite(list(pool)),
        "candidates": Overwrite([]),
        "plan": [],
        "round": 0,
        "evolved_at": 0,
        "usage": Overwrite(usage),
        "granted": Overwrite(0),
        "reopened_at": 0,
        "notes": Overwrite(list(dict.fromkeys(notes))),
        "result": None,
    }


def tell_pool(pool: Sequence[MetaThought], usage: Usage) -> None:
    """Stream the pool, and what it cost."""
    get_stream_writer()(PoolMade(event="pool", pool=list(pool), usage=usage))
