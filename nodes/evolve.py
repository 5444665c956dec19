"""Phase 3: the model breeds new meta-thoughts from the good ones (paper, section 3)."""

from __future__ import annotations

import time

from langchain_core.messages import HumanMessage, SystemMessage

from metascale import prompts
from metascale.bandits import Arm
from metascale.errors import ModelCallError
from metascale.evolution import choose_parents
from metascale.nodes.components import Components, Update
from metascale.pool import Draft, Drafts, admit, arm_statistics
from metascale.question import question_text
from metascale.state import Candidate, MetaThought, Origin, State
from metascale.usage import add_usage, working_since

CRITIQUES_SHOWN = 4
"""Critiques of a parent's answers that the model reads, the latest ones. Ours."""


async def evolve(state: State, components: Components) -> Update:
    """Add children of the arms of highest UCB to the pool, at most as many as can still be pulled.

    Children have no pull yet, so every policy pulls them first. A failed evolution leaves the pool as it is.
    """
    started = time.time()
    settings = components.settings()
    pool = state["pool"]
    arms = arm_statistics(pool, state["candidates"])
    chosen = choose_parents(arms, settings.parents, settings.beta)
    parents = [pool[index] for index in chosen]
    count = min(settings.children, max(1, components.samples_left(state)))
    tag = prompts.new_tag()
    material = "\n\n".join(
        [
            prompts.fence("task", question_text(state["messages"]), tag),
            *(prompts.fence("parent", _record(pool[index], arms[index], state["candidates"]), tag) for index in chosen),
        ]
    )
    messages = [SystemMessage(prompts.render("evolve", count=count, tag=tag)), HumanMessage(material)]
    children: list[MetaThought] = []
    try:
        reading = await components.thinker.ask(
            messages, Drafts, settings, place=["evolve", state["round"]], untrusted=material
        )
    except ModelCallError as error:
        usage, note = error.usage, f"an evolution failed: {error}"
    else:
        usage, note = reading.usage, f"an evolution failed: {reading.problem}"
        if reading.value is not None:
            drafts: list[tuple[Draft, Origin]] = [(draft, "evolved") for draft in reading.value.meta_thoughts]
            children = admit(pool, drafts, at_most=count, threshold=settings.duplicate_similarity, parents=parents)
            note = "an evolution gave only near-duplicates"
    return {
        "pool": children,
        "evolved_at": state["round"],
        "usage": add_usage(usage, working_since(started)),
        "notes": [] if children else [note],
    }


def _record(thought: MetaThought, arm: Arm, candidates: list[Candidate]) -> str:
    """A parent as the model reads it: what it is, what it earned, what was said of its answers."""
    mean = sum(arm.rewards) / len(arm.rewards)
    said = [c["critique"] for c in candidates if c["meta_thought"] == thought["id"] and c["critique"]]
    return "\n".join(
        [
            f"Mindset: {thought['mindset'] or '(none)'}",
            f"Strategy: {thought['strategy'] or '(none)'}",
            f"Mean reward: {mean:.2f} over {len(arm.rewards)} answers",
            *(f"Critique: {critique}" for critique in said[-CRITIQUES_SHOWN:]),
        ]
    )
