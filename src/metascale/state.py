"""The typed state of a run: JSON values only, so that every checkpoint is plain data.

`pool` and `candidates` are `DeltaChannel`s. They checkpoint increments instead of whole lists, so the bytes that a run
writes grow linearly with its budget.
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
"""The key of a thread's metadata that holds the method, models and settings of its run."""
SNAPSHOT_EVERY = 1_000
"""Updates of a growing channel between two full snapshots. A snapshot holds the whole list, so frequent ones make
checkpoints grow with the square of the budget; rare ones make resuming replay more. Not tuned."""
_NEEDED = {"refines", "wording", "memo", "looks", "extracted"}
"""Keys of a candidate that early versions did not write."""


def merge_by_id(items: Sequence[Any], writes: Sequence[Sequence[Mapping[str, Any]]]) -> list[Any]:
    """Add the written records to `items`; a record with a known id updates the fields of that item.

    The result does not depend on how the writes are batched, as `DeltaChannel` requires.
    """
    merged = {item["id"]: item for item in items}
    for write in writes:
        for record in write:
            merged[record["id"]] = {**merged.get(record["id"], {}), **record}
    return list(merged.values())


def add_notes(notes: list[str], new: list[str]) -> list[str]:
    """All notes, each once, in order of appearance."""
    return list(dict.fromkeys([*notes, *new]))


REDUCERS: dict[str, Callable[[Any, Any], Any]] = {
    "pool": lambda items, records: merge_by_id(items, [records]),
    "candidates": lambda items, records: merge_by_id(items, [records]),
    "usage": add_usage,
    "granted": operator.add,
    "granted_usd": operator.add,
    "notes": add_notes,
    "refusal": lambda first, later: first or later,
    "left_out": operator.or_,
}
"""How an update changes each of these keys of the state. It replaces the value of any other key."""


def _growing() -> DeltaChannel[list[Any]]:
    """A channel for a list of records that checkpoints only its increments."""
    return DeltaChannel(merge_by_id, snapshot_frequency=SNAPSHOT_EVERY)


def check_continuable(state: Mapping[str, Any]) -> None:
    """Refuse a state that an earlier version wrote, if its samples lack keys that this version needs.

    Args:
        state: a node's input: a `State` or a `Sampling`. One version wrote all samples, so the first one decides.

    Raises:
        ThreadError: an earlier version wrote the state.
    """
    candidates = state.get("candidates", ())
    is_old = bool(candidates) and not candidates[0].keys() >= _NEEDED
    if is_old or ("meta_thought" in state and "refined" not in state):
        raise ThreadError(
            "an earlier version of metascale started this run, and this version cannot continue it; finish it with the "
            "earlier version, or start a new thread"
        )


class Input(TypedDict):
    """The input of a run: a conversation that ends with a question."""

    messages: Annotated[list[AnyMessage], add_messages]


class Output(TypedDict):
    """The output of a run: the conversation with the answer, and the result."""

    messages: Annotated[list[AnyMessage], add_messages]
    result: Result


class State(TypedDict):
    """Everything that a run knows. A checkpoint holds exactly this."""

    messages: Annotated[list[AnyMessage], add_messages]
    """The conversation. The only key shared with a parent graph."""
    foresight: Foresight | None
    """What the model predicts of its answers; null if it was not asked, or no prediction succeeded."""
    pool: Annotated[list[MetaThought], _growing()]
    """The meta-thoughts, in order of birth."""
    candidates: Annotated[list[Candidate], _growing()]
    """Every sample so far, in order."""
    plan: list[Pull]
    """The pulls of the current round."""
    round: int
    """Rounds planned so far."""
    evolved_at: int
    """The round after which the pool last evolved; 0 before the first evolution."""
    usage: Annotated[Usage, REDUCERS["usage"]]
    """What was spent so far."""
    granted: Annotated[int, REDUCERS["granted"]]
    """Samples granted on top of the budget."""
    granted_usd: Annotated[float, REDUCERS["granted_usd"]]
    """US dollars granted on top of `max_cost_usd`."""
    reopened_at: int
    """Samples that existed when a finished run was last continued; 0 if it never was."""
    notes: Annotated[list[str], REDUCERS["notes"]]
    """What went wrong or was replaced during the run, one line each."""
    refusal: Annotated[str, REDUCERS["refusal"]]
    """Why no further request can succeed, such as a wrong key; empty while requests can."""
    left_out: Annotated[dict[str, str], REDUCERS["left_out"]]
    """The models that are no longer asked, each with the reason."""
    result: Result | None
    """The result, once `finalize` chose the answer; null before."""
    remaining_steps: RemainingSteps


class Sampling(TypedDict):
    """The input of `generate`: one planned sample."""

    messages: NotRequired[list[AnyMessage]]
    """The conversation, in checkpoints of earlier versions; now `generate` reads it from the state."""
    id: int
    round: int
    meta_thought: MetaThought
    model: NotRequired[str]
    """The name of the model that is asked; absent for the run's first one."""
    refined: Refined | None
    limit: NotRequired[int | None]
    """The length limit that foresight sets, in tokens; null or absent for none."""
    reads: NotRequired[list[int]]
    """The ids of the samples that the request shows; absent for none."""


def empty_state() -> State:
    """The state before a run."""
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
        "granted_usd": 0.0,
        "reopened_at": 0,
        "notes": [],
        "refusal": "",
        "left_out": {},
        "result": None,
        "remaining_steps": 0,
    }


def updated(state: State, update: Mapping[str, Any]) -> State:
    """The state after an update, as the graph's channels compute it; the conversation stays unchanged."""
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
    """The state after a superstep.

    Args:
        state: the state before it.
        updates: what each node returned, by node, as `stream_mode="updates"` gives it.
    """
    for node, update in updates.items():
        state = state if node.startswith("__") else updated(state, update or {})
    return state


def fingerprint_of(snapshot: StateSnapshot) -> dict[str, Any]:
    """The method, models and settings of a thread's run; empty if its metadata hold none."""
    return cast("dict[str, Any]", json.loads(str((snapshot.metadata or {}).get(FINGERPRINT, "{}"))))


def state_of(snapshot: StateSnapshot) -> State:
    """The state in a checkpoint; missing keys have the values of `empty_state`."""
    return cast("State", empty_state() | snapshot.values)
