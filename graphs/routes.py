"""The routers of all graphs: named functions from the state to the label of the next edge."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

from langgraph.types import Send

from metascale.budget.allowance import length_limit
from metascale.budget.ledger import Ledger
from metascale.budget.rounds import is_short
from metascale.nodes.compose import can_pay_to_compose, composes_beside, unsampled
from metascale.nodes.run import Run
from metascale.pool.refinement import refined_answer
from metascale.state import Sampling, State

Next = Literal["budget left", "write a synthesis", "look again", "choose"]

NEXT: dict[Hashable, str] = {
    "budget left": "select_arm",
    "write a synthesis": "synthesize",
    "look again": "confirm",
    "choose": "finalize",
}
"""The node that each label leads to."""


def before_pool(_: State, run: Run) -> Literal["straight in", "foresee first"]:
    """Whether the run starts with predictions."""
    return "foresee first" if run.settings.foresee else "straight in"


def after_pool(_: State, run: Run) -> Literal["pool made", "to be reviewed"]:
    """Whether a person reviews the pool before the first sample."""
    return "to be reviewed" if run.settings.review_pool else "pool made"


def after_composing(state: State) -> Literal["beside samples", "pool made"]:
    """Whether the pool was composed beside a round, whose samples are then to be scored."""
    return "beside samples" if unsampled(state) else "pool made"


def after_score(
    state: State, run: Run
) -> Next | Literal["answers cannot be compared", "time to evolve", "ask for more"]:
    """Compose the pool if answers cannot be compared; evolve if it is time; ask a person for more; else `next_phase`.

    A person is asked once the budget or the money is spent.
    """
    ledger = run.ledger(state)
    if _is_to_compose(state, run):
        return "answers cannot be compared"
    if ledger.stop_reason is None and ledger.evolution_due:
        return "time to evolve"
    if run.settings.ask_for_budget and ledger.grant_wanted is not None:
        return "ask for more"
    return next_phase(ledger)


def after_grant(state: State, run: Run) -> Next | Literal["pool too small"]:
    """As `after_spending`, but what the budget was too small for is composed first."""
    return "pool too small" if _is_to_compose(state, run) else after_spending(state, run)


def after_spending(state: State, run: Run) -> Next:
    """The next phase after an evolution, a synthesis or second looks.

    Second looks may show that the judge is exact. The calls reserved for further looks then pay for samples.
    """
    return next_phase(run.ledger(state))


def _is_to_compose(state: State, run: Run) -> bool:
    """Whether a judge's search goes on with a pool that is still to be composed.

    Its answers showed only now that they need a judge, or the budget was too small for more than the fixed arms. What a
    person left of a reviewed pool stays as it is.
    """
    return (
        is_short(run.settings, state["pool"], granted=state["granted"])
        and not run.settings.review_pool
        and run.ledger(state).stop_reason is None
        and can_pay_to_compose(state, run)
    )


def next_phase(ledger: Ledger) -> Next:
    """Samples while the budget lasts, then a synthesis, then second looks while each is worth its call."""
    if ledger.stop_reason is None:
        return "budget left"
    if not ledger.may_improve_the_choice:
        return "choose"
    if ledger.synthesis_due:
        return "write a synthesis"
    return "look again" if ledger.finalists_to_judge else "choose"


def after_choice(state: State) -> Literal["answer chosen", "budget left"]:
    """Whether the answer was chosen.

    A fork with a larger budget, or a run resumed after all of its samples failed, returns to the search.
    """
    return "answer chosen" if state["result"] is not None else "budget left"


def after_search(state: State, run: Run) -> Literal["answer chosen", "pool too small", "budget left"]:
    """As `after_choice`, but what the budget was too small for is composed first."""
    chosen = after_choice(state)
    return "pool too small" if chosen == "budget left" and _is_to_compose(state, run) else chosen


def after_round(state: State, run: Run) -> Literal["budget left", "budget spent"]:
    """Whether a baseline without a reward draws another round."""
    return "budget spent" if run.ledger(state).stop_reason else "budget left"


def to_first_samples(state: State, run: Run) -> Sequence[Send | str] | Literal["finalize"]:
    """As `to_samples`; beside the first round the pool is composed, if `initialize_pool` left that."""
    samples = to_samples(state)
    if samples == "finalize" or not composes_beside(state, run):
        return samples
    return [*samples, "compose"]


def to_samples(state: State) -> Sequence[Send] | Literal["finalize"]:
    """One `generate` for each planned pull; `finalize` if no pull was planned."""
    if not state["plan"]:
        return "finalize"
    thoughts = {thought["id"]: thought for thought in state["pool"]}
    answers = {candidate["id"]: candidate for candidate in state["candidates"]}

    limit = length_limit(state.get("foresight"), state["candidates"])
    return [
        Send(
            "generate",
            Sampling(
                id=pull["id"],
                round=state["round"],
                meta_thought=thoughts[pull["meta_thought"]],
                model=pull.get("model", ""),
                refined=refined_answer(pull["refines"], thoughts, answers) if pull["refines"] is not None else None,
                reads=pull.get("reads", []),
                limit=limit,
            ),
        )
        for pull in state["plan"]
    ]
