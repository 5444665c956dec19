"""The start of every run: only the conversation remains of an earlier turn."""

from __future__ import annotations

from collections.abc import Sequence

from langgraph.config import get_config, get_stream_writer
from langgraph.types import Overwrite

from metascale.choice.ranking import ranking
from metascale.events import PoolMade
from metascale.nodes.config_keys import RESUMING
from metascale.nodes.run import Run, Update
from metascale.records import Foresight, MetaThought
from metascale.state import State
from metascale.usage import Usage, no_usage


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
        "granted_usd": Overwrite(0.0),
        "reopened_at": 0,
        "notes": Overwrite(list(dict.fromkeys(notes))),
        "refusal": Overwrite(""),
        "left_out": Overwrite({}),
        "result": None,
    }


def samples_anew(state: State, run: Run) -> Update | None:
    """The update by which a resumed run whose samples all failed draws new ones; None for any other run.

    The pool and the bill stay. LangGraph marks only the first step of a resumed run, so a run that fails again ends.
    """
    begun = run.ledger({**state, "candidates": []})
    if not get_config()["configurable"].get(RESUMING) or ranking(state["candidates"]) or begun.stop_reason is not None:
        return None
    tell_pool(state["pool"], no_usage())
    return {"candidates": Overwrite([]), "plan": [], "round": 0, "evolved_at": 0, "reopened_at": 0, "result": None}


def tell_pool(pool: Sequence[MetaThought], usage: Usage) -> None:
    """Stream the pool, and what it cost."""
    get_stream_writer()(PoolMade(event="pool", pool=list(pool), usage=usage))
