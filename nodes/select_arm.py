"""Phase 2, first half: the bandit plans a round of pulls (paper, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from langgraph.types import Send

from metascale.nodes.components import Components, Update
from metascale.pool import arm_statistics
from metascale.seeds import round_generator
from metascale.state import Sampling, State


async def select_arm(state: State, components: Components) -> Update:
    """Plan the next round: `batch_size` pulls, and never more than the budget leaves."""
    settings = components.settings()
    arms = arm_statistics(state["pool"], state["candidates"])
    number = state["round"] + 1
    left = components.samples_left(state)
    policy = components.chosen_policy(settings)
    plan = policy.plan(arms, min(settings.batch_size, left), round_generator(settings.seed, number), left=left)
    first = len(state["candidates"])
    return {
        "round": number,
        "plan": [{"id": first + i, "meta_thought": state["pool"][arm]["id"]} for i, arm in enumerate(plan)],
    }


def fan_out(state: State) -> Sequence[Send] | Literal["finalize"]:
    """One `generate` for each planned pull; where the calls pay for none, the end of the run."""
    if not state["plan"]:
        return "finalize"
    thoughts = {thought["id"]: thought for thought in state["pool"]}
    return [
        Send(
            "generate",
            Sampling(
                messages=state["messages"],
                id=pull["id"],
                round=state["round"],
                meta_thought=thoughts[pull["meta_thought"]],
            ),
        )
        for pull in state["plan"]
    ]
