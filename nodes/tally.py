"""Self-consistency: what each new sample answers."""

from __future__ import annotations

import time

from metascale.answers import extract
from metascale.nodes.components import Components, Update
from metascale.state import State
from metascale.usage import working_since


async def tally(state: State, components: Components) -> Update:
    """Read the final answer of every new sample; where none is marked, it stays null."""
    started = time.time()
    kind = components.settings().answer_kind
    new = [c for c in state["candidates"] if c["round"] == state["round"] and c["text"]]
    return {
        "candidates": [{"id": c["id"], "extracted": extract(c["text"], kind)} for c in new],
        "usage": working_since(started),
    }
