"""What a run tells while it is under way: the values of `stream_mode="custom"`. JSON only.

Told by the nodes as things happen; `follow` makes a state of them again, as a live view wants it. A `usage` is what
the event added to the bill.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from langgraph.types import Overwrite
from typing_extensions import TypedDict

from metascale.records import Candidate, Foresight, Look, MetaThought, Pull, Result
from metascale.state import State, updated
from metascale.usage import Usage


class PoolMade(TypedDict):
    """The pool was made, reviewed by a person, or joined by the arm of a synthesis: here is all of it."""

    event: Literal["pool"]
    pool: list[MetaThought]
    usage: Usage


class Foreseen(TypedDict):
    """The model foresaw how its answers will turn out."""

    event: Literal["foreseen"]
    foresight: Foresight | None
    """Null where it had nothing to say."""


class Pulled(TypedDict):
    """A round was planned."""

    event: Literal["pulled"]
    round: int
    """From 1."""
    pulls: list[Pull]
    left: int
    """Samples that the limits pay for beyond this round."""


class Sampled(TypedDict):
    """A sample arrived, or failed: `candidate["status"]` says which. Not scored yet."""

    event: Literal["sampled"]
    candidate: Candidate
    usage: Usage


class Verdict(TypedDict):
    """What is known of an answer's quality."""

    id: int
    """The candidate's."""
    meta_thought: str
    reward: float | None
    critique: str | None
    extracted: str | None
    error: str | None
    looks: list[Look]


class Scored(TypedDict):
    """The samples of a round were scored."""

    event: Literal["scored"]
    round: int
    verdicts: list[Verdict]
    """Of every answer whose score is new or moved."""
    best_reward: float | None
    """The highest so far, in [0, 1]; null where nothing is scored."""
    expected: float | None
    """By how much one more sample is expected to raise it; null while too little is known."""
    regret: float
    """As in `Result`, so far."""
    usage: Usage


class Looked(TypedDict):
    """Finalists were judged again."""

    event: Literal["looked"]
    verdicts: list[Verdict]
    usage: Usage


class Evolved(TypedDict):
    """The pool evolved."""

    event: Literal["evolved"]
    children: list[MetaThought]
    """None where the evolution failed."""
    retired: list[str]
    """Ids of those that are pulled no more."""
    usage: Usage


class Granted(TypedDict):
    """Somebody granted samples, or none."""

    event: Literal["granted"]
    samples: int
    """On top of the settings' budget, all grants together."""


class Chosen(TypedDict):
    """The answer was chosen."""

    event: Literal["chosen"]
    result: Result


Event = Foreseen | PoolMade | Pulled | Sampled | Scored | Looked | Evolved | Granted | Chosen


def verdicts(candidates: Sequence[Candidate], changed: Sequence[int]) -> list[Verdict]:
    """What is known of the candidates whose ids `changed` names."""
    return [
        {
            "id": c["id"],
            "meta_thought": c["meta_thought"],
            "reward": c["reward"],
            "critique": c["critique"],
            "extracted": c["extracted"],
            "error": c["error"],
            "looks": c["looks"],
        }
        for c in candidates
        if c["id"] in changed
    ]


def follow(state: State, event: Event) -> State:
    """The state after an event: everything but the conversation and the notes, which no event reports."""
    update: dict[str, Any] = {name: spent for name, spent in event.items() if name == "usage"}
    match event["event"]:
        case "foreseen":
            update["foresight"] = event["foresight"]
        case "pool":
            update["pool"] = Overwrite(event["pool"])
        case "pulled":
            update |= {"round": event["round"], "plan": event["pulls"]}
        case "sampled":
            update["candidates"] = [event["candidate"]]
        case "scored" | "looked":
            update["candidates"] = event["verdicts"]
        case "evolved":
            update["pool"] = [*({"id": name, "retired": True} for name in event["retired"]), *event["children"]]
        case "granted":
            update |= {"granted": Overwrite(event["samples"]), "result": None}
        case "chosen":
            update["result"] = event["result"]
    return updated(state, update)
