"""Answers written from answers: the next step of a scheme, and the vote in its last one."""

from __future__ import annotations

from langgraph.config import get_stream_writer

from metascale.budget.populations import Scheme
from metascale.events import Pulled
from metascale.nodes.run import Node, Run, Update
from metascale.nodes.vote import elected
from metascale.runtime.seeds import round_generator
from metascale.state import State


def plan_step(scheme: Scheme) -> Node:
    """The node that plans what is missing of a step, or else the next step."""

    async def plan_step(state: State, run: Run) -> Update:
        number = state["round"] + 1
        left = run.ledger(state).samples_left()
        rng = round_generator(run.settings.seed, number)
        pulls = scheme.plan(state["candidates"], budget=run.settings.budget, at_most=left, rng=rng)
        get_stream_writer()(Pulled(event="pulled", round=number, pulls=pulls, left=left - len(pulls)))
        return {"round": number, "plan": pulls}

    return plan_step


def vote_in_last(scheme: Scheme) -> Node:
    """The node that chooses among the answers of the last complete step as `vote` does among all answers."""

    async def vote_in_last(state: State, run: Run) -> Update:
        last = {candidate["id"] for candidate in scheme.last(state["candidates"], run.settings.budget)}
        return elected([c for c in state["candidates"] if c["id"] in last or c["status"] == "failed"], state, run)

    return vote_in_last
