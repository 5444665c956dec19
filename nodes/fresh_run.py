"""The beginning of every run: nothing is left of an earlier turn but the conversation."""

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
    """The update that starts a run on `pool`, told as it starts; with what was spent on it, and what was foreseen."""
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
    """Stream the pool, and what was spent to make it."""
    get_stream_writer()(PoolMade(event="pool", pool=list(pool), usage=usage))
