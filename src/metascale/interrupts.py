"""What a run asks people, how it reads their answers, and how to grant a finished run more samples.

Questions and answers are JSON, because they pass through LangGraph's interrupts, its server, and files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from langgraph.types import Command
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator
from typing_extensions import TypedDict

from metascale.errors import MetaScaleError, describe
from metascale.pool.admission import highest_number, similarity
from metascale.records import Bill, MetaThought, Origin
from metascale.settings import MetaScaleSettings

ACCEPT = "accept"
"""The answer that leaves the pool unchanged; `true` does the same."""
MOST_SAMPLES = 100_000
"""Samples that one grant may add: the same as the maximum of the setting `budget`."""
_UNTOUCHABLE = {"fixed", "refinement"}

Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4_000)]


class AnswerError(MetaScaleError, ValueError):
    """The answer to a run's question is not valid; the message says why."""


class Reviewed(TypedDict):
    """A meta-thought as a reviewer sees it."""

    id: str
    mindset: str
    strategy: str
    origin: Origin


class PoolQuestion(TypedDict):
    """Asks a person to review the pool before any sample. Answers: `"accept"` (or true), or `PoolEdits` as JSON."""

    asks: Literal["review_pool"]
    question: str
    """The task."""
    pool: list[Reviewed]
    problem: str | None
    """What was wrong with the last answer; null at first."""


class BudgetQuestion(TypedDict):
    """Asks a person for more samples once the budget is spent, or for more dollars once `max_cost_usd` is reached.

    Answers: how many of these, 0 or null for none; or `{"samples": 8, "usd": 0.5}`.
    """

    asks: Literal["grant_budget"]
    question: str
    """The task."""
    answer: str | None
    """The best answer so far; null without one."""
    reward: float | None
    """Its reward in [0, 1]."""
    meta_thought: str | None
    """The id of the meta-thought that it was sampled under."""
    stop_reason: Literal["budget", "max_cost_usd"]
    """What is spent."""
    budget: int
    """Samples allowed so far, earlier grants included."""
    max_cost_usd: float | None
    """US dollars allowed so far, earlier grants included; null without a limit."""
    usage: Bill
    problem: str | None
    """What was wrong with the last answer; null at first."""


class _Edit(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Change(_Edit):
    """New texts for a meta-thought; a text that is left out stays as it was."""

    id: str
    mindset: Line | None = None
    strategy: Line | None = None


class Addition(_Edit):
    """A new meta-thought, with a mindset, a strategy or both."""

    mindset: Line = ""
    strategy: Line = ""

    @model_validator(mode="after")
    def _says_something(self) -> Addition:
        if not self.mindset and not self.strategy:
            raise ValueError("a meta-thought needs a mindset or a strategy")
        return self


class PoolEdits(_Edit):
    """Changes to the pool."""

    drop: list[str] = Field(default_factory=list, description="Ids of meta-thoughts to leave out.")
    change: list[Change] = Field(default_factory=list, description="Meta-thoughts to reword.")
    add: list[Addition] = Field(default_factory=list, description="Meta-thoughts to add.")


def edited_pool(pool: Sequence[MetaThought], answer: Any, settings: MetaScaleSettings) -> list[MetaThought]:
    """The pool after an answer to `PoolQuestion`.

    Fixed meta-thoughts can be dropped but not reworded, because their ids name their contents. Meta-thoughts that a
    person wrote or reworded get the origin `human` and no prior.

    Args:
        pool: the pool as it was shown.
        answer: `"accept"`, true, or `PoolEdits` as JSON.
        settings: the settings of this run: `max_pool` and `duplicate_similarity` apply.

    Raises:
        AnswerError: the answer is not valid.
    """
    if answer is True or answer == ACCEPT:
        return list(pool)
    try:
        edits = PoolEdits.model_validate(answer)
    except ValidationError as error:
        raise AnswerError(describe(error)) from error
    known = {thought["id"]: thought for thought in pool}
    named = [*edits.drop, *(change.id for change in edits.change)]
    for name in named:
        if name not in known:
            raise AnswerError(f"there is no meta-thought {name!r}; the pool holds {', '.join(known)}")
        if named.count(name) > 1:
            raise AnswerError(f"{name!r} is named more than once; drop or change each meta-thought once")
    for change in edits.change:
        known[change.id] = _reworded(known[change.id], change)
    kept = [thought for name, thought in known.items() if name not in edits.drop]
    added = [_own(one, f"m{highest_number(pool) + place}") for place, one in enumerate(edits.add, 1)]
    edited = [*kept, *added]
    if all(thought["origin"] == "refinement" for thought in edited):
        raise AnswerError("no meta-thought would be left to sample under; keep or add at least one")
    if len(edited) > max(len(pool), settings.max_pool):
        raise AnswerError(f"{len(edited)} meta-thoughts are more than max_pool allows: at most {settings.max_pool}")
    _check_differences(edited, settings.duplicate_similarity)
    return edited


def _reworded(thought: MetaThought, change: Change) -> MetaThought:
    if thought["origin"] in _UNTOUCHABLE:
        raise AnswerError(f"{thought['id']!r} cannot be changed; drop it, and add a meta-thought of your own")
    mindset = thought["mindset"] if change.mindset is None else change.mindset
    strategy = thought["strategy"] if change.strategy is None else change.strategy
    if not mindset and not strategy:
        raise AnswerError(f"{thought['id']!r} needs a mindset or a strategy")
    return _own(Addition(mindset=mindset, strategy=strategy), thought["id"])


def _own(addition: Addition, name: str) -> MetaThought:
    return {
        "id": name,
        "mindset": addition.mindset,
        "strategy": addition.strategy,
        "origin": "human",
        "parents": [],
        "generation": 0,
    }


def _check_differences(pool: Sequence[MetaThought], threshold: float) -> None:
    """Refuse meta-thoughts of a person that are near-duplicates; the error names the latest of them."""
    for place, thought in reversed(list(enumerate(pool))):
        for other in [*pool[:place], *pool[place + 1 :]] if thought["origin"] == "human" else []:
            if similarity(_text(thought), _text(other)) >= threshold:
                raise AnswerError(
                    f"{thought['id']!r} says nearly the same as {other['id']!r}; drop or reword one of them"
                )


def _text(thought: MetaThought) -> str:
    return f"{thought['mindset']}\n{thought['strategy']}"


class Grant(BaseModel):
    """What a person grants a run on top of its limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    samples: int = Field(default=0, ge=0, le=MOST_SAMPLES, description="Samples on top of the budget.")
    usd: float = Field(default=0.0, ge=0, allow_inf_nan=False, description="US dollars on top of max_cost_usd.")


def granted_by(answer: Any, spent: Literal["budget", "max_cost_usd"]) -> Grant:
    """What an answer to `BudgetQuestion` grants; null grants nothing.

    Args:
        answer: a number, in the unit of what is spent; an object with `samples` and `usd`; or null.
        spent: the question's `stop_reason`.

    Raises:
        AnswerError: the answer is neither.
    """
    try:
        if isinstance(answer, dict):
            return Grant.model_validate(answer)
        if spent == "max_cost_usd" and not isinstance(answer, bool):
            return Grant.model_validate({"usd": answer or 0})
    except ValidationError as error:
        raise AnswerError(f"how many more US dollars? {describe(error)}") from error
    return Grant(samples=granted_samples(answer))


def granted_samples(answer: Any, *, least: int = 0) -> int:
    """The samples that an answer to `BudgetQuestion` grants; null grants none.

    Args:
        answer: a number from `least` to `MOST_SAMPLES`, or null.
        least: the fewest samples to accept.

    Raises:
        AnswerError: the answer is not such a number.
    """
    bounded = TypeAdapter(Annotated[int, Field(ge=least, le=MOST_SAMPLES)])
    try:
        if not isinstance(answer, bool):
            return bounded.validate_python(0 if answer is None else answer)
    except ValidationError:
        pass
    raise AnswerError(f"how many more samples? Give a number from {least} to {MOST_SAMPLES:,}, not {answer!r:.60}")


def grant(samples: int = 0, *, usd: float = 0.0) -> Command[Any]:
    """The input that continues a finished thread with more samples or dollars, on the same pool, candidates and bill.

    Call `graph.invoke(grant(8), config)` with the thread's `config` and the run's `context`. It also answers a run that
    asks for more.

    Args:
        samples: how many to add to the budget, up to `MOST_SAMPLES`.
        usd: US dollars to add to `max_cost_usd`, at least 0.

    Raises:
        AnswerError: a number is out of its range, or both are 0.
    """
    try:
        given = Grant(samples=granted_samples(samples, least=int(usd == 0)), usd=usd)
    except ValidationError as error:
        raise AnswerError(describe(error)) from error
    return Command(update={"granted": given.samples, "granted_usd": given.usd}, goto="grant_budget")
