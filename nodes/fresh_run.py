"""The beginning of every run: nothing is left of an earlier turn but the conversation."""

from __future__ import annotations

from collections.abc import Sequence

from langgraph.config import get_stream_writer
from langgraph.types import Overwrite

from metascale import prompts
from metascale.events import PoolMade
from metascale.nodes.components import Update
from metascale.refinement import REFINEMENT
from metascale.state import Foresight, MetaThought
from metascale.usage import Usage

FIXED_ARMS = ("chain_of_thought", "no_strategy")


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


def hint_arm(notions: str) -> MetaThought:
    """The arm that is told which notions the task is foreseen to need."""
    return {
        "id": "hint",
        "mindset": "",
        "strategy": prompts.render("foresee_hint", notions=notions),
        "origin": "foreseen",
        "parents": [],
        "generation": 0,
    }


def refinement_arm() -> MetaThought:
    """The arm whose pulls refine one of the best answers; under the meta-thought of that answer."""
    return {
        "id": REFINEMENT,
        "mindset": "",
        "strategy": prompts.load("refinement_strategy"),
        "origin": "refinement",
        "parents": [],
        "generation": 0,
    }


def fixed_arm(name: str) -> MetaThought:
    """One of `FIXED_ARMS`: plain chain of thought, or no strategy at all."""
    mindset, strategy = prompts.BUILT_IN_META_THOUGHTS[name]
    return {
        "id": name,
        "mindset": mindset,
        "strategy": strategy,
        "origin": "fixed",
        "parents": [],
        "generation": 0,
    }
