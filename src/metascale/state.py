"""The typed state of a run: JSON values only, so that every checkpoint is plain data.

`pool` and `candidates` grow through `DeltaChannel`, which checkpoints their increments instead of their whole, so the
bytes that a run writes grow linearly with its budget.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NotRequired, cast

from langchain_core.messages import AnyMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.managed.is_last_step import RemainingSteps
from langgraph.types import Overwrite, StateSnapshot
from typing_extensions import TypedDict

from metascale.errors import ThreadError
from metascale.records import Candidate, Foresight, MetaThought, Pull, Refined, Result
from metascale.usage import Usage, add_usage, no_usage

AnyGraph = CompiledStateGraph[Any, Any, Any, Any]

FINGERPRINT = "metascale"
"""The key of a thread's metadata that says what its run is made of."""
SNAPSHOT_EVERY = 1_000
"""Updates of a growing channel between two whole snapshots of it. Ours: a snapshot holds everything so far, so
frequent ones make checkpoints grow with the square of the budget; rare ones cost a longer replay on resuming."""
_NEEDED = {"refines", "wording", "memo", "looks", "extracted"}
"""What candidates did not have from the beginning of the project."""


def merge_by_id(items: Sequence[Any], writes: Sequence[Sequence[Mapping[str, Any]]]) -> list[Any]:
    """Add the written records to `items`; a record with a known id updates that one's fields.

    Deterministic, and the same however the writes are batched, as `DeltaChannel` demands.
    """
    merged = {item["id"]: item for item in items}
    for write in writes:
        for record in write:
            merged[record["id"]] = {**merged.get(record["id"], {}), **record}
    return list(merged.values())


def add_notes(notes: list[str], new: list[str]) -> list[str]:
    """All notes in order of appearance, each once."""
    return list(dict.fromkeys([*notes, *new]))


REDUCERS: dict[str, Callable[[Any, Any], Any]] = {
    "pool": lambda items, records: merge_by_id(items, [records]),
    "candidates": lambda items, records: merge_by_id(items, [records]),
    "usage": add_usage,
    "granted": operator.add,
    "notes": add_notes,
}
"""How the keys of a state take up an update; all others are replaced by it."""


def _growing() -> DeltaChannel[list[Any]]:
    """A channel that checkpoints what is added to a list of records, not the list."""
    return DeltaChannel(merge_by_id, snapshot_frequency=SNAPSHOT_EVERY)


def check_continuable(state: Mapping[str, Any]) -> None:
    """Refuse what a version wrote whose samples say less than this one needs to know of them.

    Args:
        state: what a node is given: a `State` or a `Sampling`. One sample is looked at, for all are of one version.

    Raises:
        ThreadError: it is such a state.
    """
    candidates = state.get("candidates", ())
    is_old = bool(candidates) and not candidates[0].keys() >= _NEEDED
    if is_old or ("meta_thought" in state and "refined" not in state):
        raise ThreadError(
            "an earlier version of metascale started this run, and this version cannot continue it; finish it with the "
            "earlier version, or start a new thread"
        )


class Input(TypedDict):
    """What a run starts from: a conversation that ends with a question."""

    messages: Annotated[list[AnyMessage], add_messages]


class Output(TypedDict):
    """What a run returns: the conversation with the answer, and the result beside it."""

    messages: Annotated[list[AnyMessage], add_messages]
    result: Result


class State(TypedDict):
    """Everything that a run knows; what a checkpoint holds."""

    messages: Annotated[list[AnyMessage], add_messages]
    """The conversation. The only key shared with a parent graph."""
    foresight: Foresight | None
    """What the model foresees of its answers; null where it was not asked, or had nothing to say."""
    pool: Annotated[list[MetaThought], _growing()]
    """The meta-thoughts, in order of birth."""
    candidates: Annotated[list[Candidate], _growing()]
    """Every sample so far."""
    plan: list[Pull]
    """The pulls of the current round."""
    round: int
    """Rounds planned so far."""
    evolved_at: int
    """The round after which the pool last evolved; 0 before the first evolution."""
    usage: Annotated[Usage, REDUCERS["usage"]]
    """What was spent so far."""
    granted: Annotated[int, REDUCERS["granted"]]
    """Samples that were granted on top of the budget."""
    reopened_at: int
    """Samples that there were when the finished run was last continued; 0 if it never was."""
    notes: Annotated[list[str], REDUCERS["notes"]]
    """What went wrong or was replaced on the way."""
    result: Result | None
    """Set by `finalize`."""
    remaining_steps: RemainingSteps


class Sampling(TypedDict):
    """What `generate` is sent: the conversation and one planned sample."""

    messages: list[AnyMessage]
    id: int
    round: int
    meta_thought: MetaThought
    refined: Refined | None
    limit: NotRequired[int | None]
    """The longest answer by what was foreseen, in tokens; null or absent for none."""
    spent: NotRequired[float]
    """Seconds at work when it was planned; absent means none."""


def empty_state() -> State:
    """The state of a run that has not begun."""
    return {
        "messages": [],
        "foresight": None,
        "pool": [],
        "candidates": [],
        "plan": [],
        "round": 0,
        "evolved_at": 0,
        "usage": no_usage(),
        "granted": 0,
        "reopened_at": 0,
        "notes": [],
        "result": None,
        "remaining_steps": 0,
    }


def updated(state: State, update: Mapping[str, Any]) -> State:
    """The state after an update, as the graph's channels would have it; the conversation stays as it is."""
    merged = cast("dict[str, Any]", dict(state))
    for key, value in update.items():
        if isinstance(value, Overwrite):
            merged[key] = value.value
        elif key in REDUCERS:
            merged[key] = REDUCERS[key](merged[key], value)
        elif key != "messages":
            merged[key] = value
    return cast("State", merged)


def fold(state: State, updates: Mapping[str, Any]) -> State:
    """The state after a superstep: what each of its nodes returned, as `stream_mode="updates"` gives it."""
    for node, update in updates.items():
        state = state if node.startswith("__") else updated(state, update or {})
    return state


def fingerprint_of(snapshot: StateSnapshot) -> dict[str, Any]:
    """What a thread's run was made of: its method, models and settings; empty where no session began it."""
    return cast("dict[str, Any]", json.loads(str((snapshot.metadata or {}).get(FINGERPRINT, "{}"))))


def state_of(snapshot: StateSnapshot) -> State:
    """The state that a checkpoint holds."""
    return cast("State", empty_state() | snapshot.values)
