"""What a run left in its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from metascale import create_metascale
from tests.conftest import THREAD


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """A final state without what differs between equal runs: message ids and the clock."""
    return {
        "pool": values["pool"],
        "candidates": values["candidates"],
        "result": {**values["result"], "usage": {**values["result"]["usage"], "seconds": None}},
        "messages": [m.content for m in values["messages"]],
    }


def kept_in(path: str | Path) -> dict[int, str]:
    """The samples that a database holds of the thread `t`."""
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graph = create_metascale("simulated", checkpointer=saver)
        return {c["id"]: c["text"] for c in graph.get_state(THREAD).values.get("candidates", [])}
