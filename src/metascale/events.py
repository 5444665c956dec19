"""What a run streams while it works: the values of `stream_mode="custom"`, JSON only.

The nodes write these events as things happen. `follow` rebuilds the state from them, for live views. The `usage` of an
event is what it added to the bill.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NotRequired

from langgraph.types import Overwrite
from typing_extensions import TypedDict

from metascale.records import Candidate, Foresight, Look, MetaThought, Pull, Result
from metascale.state import State, updated
from metascale.usage import Usage


class PoolMade(TypedDict):
    """The pool was made, reviewed by a person, or extended by the arm of a synthesis. Holds the whole pool."""

    event: Literal["pool"]
    pool: list[MetaThought]
    usage: Usage


class Foreseen(TypedDict):
    """The model predicted how its answers will turn out."""

    event: Literal["foreseen"]
    foresight: Foresight | None
    """Null if no prediction succeeded."""


class Pulled(TypedDict):
    """A round was planned."""

    event: Literal["pulled"]
    round: int
    """The number of the round, from 1."""
    pulls: list[Pull]
    left: int
    """Samples that the limits still pay for after this round."""


class Sampled(TypedDict):
    """A sample arrived or failed, see `candidate["status"]`. It is not scored yet."""

    event: Literal["sampled"]
    candidate: Candidate
    usage: Usage


class Verdict(TypedDict):
    """What is known of the quality of an answer."""

    id: int
    """The id of the candidate."""
    meta_thought: str
    reward: float | None
    critique: str | None
    extracted: str | None
    error: str | None
    looks: list[Look]
    shared: NotRequired[bool]
    """Whether the reward is that of other samples with the same final answer; see `Candidate`. Absent means no."""


class Scored(TypedDict):
    """The samples of a round were scored."""

    event: Literal["scored"]
    round: int
    verdicts: list[Verdict]
    """One for each answer whose score is new or changed."""
    best_reward: float | None
    """The highest reward so far, in [0, 1]; null if nothing is scored."""
    expected: float | None
    """The expected gain in the highest reward by one more sample; null while too little is known."""
    regret: float
    """The regret so far; see `Result`."""
    usage: Usage


class Looked(TypedDict):
    """Finalists were re-judged."""

    event: Literal["looked"]
    verdicts: list[Verdict]
    usage: Usage


class Evolved(TypedDict):
    """The pool evolved."""

    event: Literal["evolved"]
    children: list[MetaThought]
    """The new meta-thoughts; empty if the evolution failed."""
    retired: list[str]
    """Ids of meta-thoughts that retired."""
    usage: Usage


class Granted(TypedDict):
    """A person answered a request for more samples or dollars, or granted some."""

    event: Literal["granted"]
    samples: int
    """All samples granted so far, on top of the budget in the settings."""
    usd: float
    """All US dollars granted so far, on top of `max_cost_usd`."""


class Chosen(TypedDict):
    """The answer was chosen."""

    event: Literal["chosen"]
    result: Result


Event = Foreseen | PoolMade | Pulled | Sampled | Scored | Looked | Evolved | Granted | Chosen


def verdicts(candidates: Sequence[Candidate], changed: Sequence[int]) -> list[Verdict]:
    """Verdicts on the candidates whose ids are in `changed`."""
    return [_verdict(c) for c in candidates if c["id"] in changed]


def _verdict(candidate: Candidate) -> Verdict:
    found: Verdict = {
        "id": candidate["id"],
        "meta_thought": candidate["meta_thought"],
        "reward": candidate["reward"],
        "critique": candidate["critique"],
        "extracted": candidate["extracted"],
        "error": candidate["error"],
        "looks": candidate["looks"],
    }
    return {**found, "shared": True} if candidate.get("shared") else found


def follow(state: State, event: Event) -> State:
    """The state after an event, without the conversation and the notes: events do not report those.

    Verdicts on samples that no event told of, as an earlier process drew them in the round that was cut off, are left
    out.
    """
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
            known = {candidate["id"] for candidate in state["candidates"]}
            update["candidates"] = [verdict for verdict in event["verdicts"] if verdict["id"] in known]
        case "evolved":
            update["pool"] = [*({"id": name, "retired": True} for name in event["retired"]), *event["children"]]
        case "granted":
            update |= {"granted": Overwrite(event["samples"]), "granted_usd": Overwrite(event["usd"]), "result": None}
        case "chosen":
            update["result"] = event["result"]
    return updated(state, update)
