"""Phase 2, first half: the bandit plans a round of pulls (paper, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

from langgraph.config import get_stream_writer

from metascale.bandits.base import untried
from metascale.budget.allowance import first_look
from metascale.budget.pull_costs import allowed_cost, expected_costs
from metascale.budget.rounds import round_size
from metascale.events import Pulled
from metascale.evolution import with_class_prior
from metascale.nodes.compose import composes_beside, first_requests
from metascale.nodes.run import Run, Update
from metascale.pool.admission import PoolArm, arm_statistics
from metascale.pool.pairs import Pair, offered
from metascale.pool.refinement import REFINEMENT, pulls_of, to_refine
from metascale.question import is_long, question_text
from metascale.runtime.seeds import round_generator
from metascale.state import State


async def select_arm(state: State, run: Run) -> Update:
    """Plan the next round: as wide as `round_size` says, within what the budget leaves, and none of retired arms.

    An arm is a pair of a meta-thought and a model. A task that is foreseen to be easy starts with a small round
    instead, each pull on a different arm. With gated evolution, the policy sees children with the prior of their class.
    The first round on a long conversation is one pull: servers cache the conversation for the others.
    """
    settings = run.settings
    members = arm_statistics(state["pool"], state["candidates"])
    if settings.evolution == "gated":
        members = with_class_prior(members)
    number = state["round"] + 1
    beside = first_requests(run) if composes_beside(state, run) else 0
    left = run.ledger(state).samples_left(beside=beside)
    pairs = _offered(state, run, members, left)
    arms = [pair.arm for pair in pairs]
    size = min(round_size(settings, state["usage"]), left)
    if not state["candidates"] and is_long(question_text(state["messages"])):
        size = min(size, 1)
    look = min(size, first_look(state.get("foresight"), state["usage"]["samples"]))
    plan = run.policy.plan(arms, look or size, round_generator(settings.seed, number), left=left)
    plan = [*untried(arms, look), *plan][: len(plan)]
    pulls = pulls_of([pairs[index].key for index in plan], state["candidates"])
    get_stream_writer()(Pulled(event="pulled", round=number, pulls=pulls, left=left - len(pulls)))
    return {"round": number, "plan": pulls}


def _offered(state: State, run: Run, members: Sequence[PoolArm], left: int) -> list[Pair]:
    """The pairs of a meta-thought and a model that the policy chooses among, with `left` samples to come."""
    active = {
        index
        for index, (thought, member) in enumerate(zip(state["pool"], members, strict=True))
        if (index == 0 or run.settings.policy != "single")
        and not member.retired
        and (thought["id"] != REFINEMENT or to_refine(state["candidates"], 1))
    }
    tariffs = run.tariffs if len(run.models) > 1 else {}
    money = run.ledger(state).max_usd
    return offered(
        state["pool"],
        members,
        state["candidates"],
        run.parts.labels,
        among=(active, run.models),
        costs=expected_costs(state["candidates"], tariffs),
        allowed=allowed_cost(money, state["usage"], state["candidates"], tariffs, left=max(1, left)),
    )
