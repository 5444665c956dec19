"""One more answer, synthesised from the best (the planner of HIMA, arXiv 2508.06042; Mixture-of-Agents' aggregator)."""

from __future__ import annotations

from langchain_core.messages import AnyMessage, SystemMessage
from langgraph.config import get_stream_writer

from metascale import prompts
from metascale.choice.ranking import choose, field_of
from metascale.events import Pulled, Sampled
from metascale.nodes.fresh_run import tell_pool
from metascale.nodes.generate import draw
from metascale.nodes.run import Run, Update
from metascale.nodes.score import scored, tell
from metascale.pool.arms import SYNTHESIS
from metascale.question import shown, task_of
from metascale.records import MetaThought, Pull
from metascale.state import Sampling, State, updated
from metascale.usage import add_usage, no_usage, working_since

SHOWN = 3
"""Finalists that a synthesis reads. Not tuned."""


async def synthesize(state: State, run: Run) -> Update:
    """Draw one sample that reads the best answers, and score it like any other. It wins only by its scores."""
    started = run.start_work(state)
    settings = run.settings
    field = field_of(state["candidates"], settings.final_choice, weighted=settings.weigh_votes)
    leaders = {group[0]["id"]: group[0] for group in field.groups}
    best = [leaders[c["id"]] for c in choose(state["candidates"], settings).ranked if c["id"] in leaders][:SHOWN]
    thought: MetaThought = {
        "id": SYNTHESIS,
        "mindset": "",
        "strategy": prompts.load("synthesis_strategy"),
        "origin": "synthesis",
        "parents": list(dict.fromkeys(c["meta_thought"] for c in best)),
        "generation": 1 + max((t["generation"] for t in state["pool"]), default=0),
    }
    tag = prompts.new_tag()
    task = task_of(state["messages"])
    answers = [
        prompts.fence(f"answer_{number}", f"{c['text']}\n\nCritique: {c['critique'] or '(none)'}", tag)
        for number, c in enumerate(best, 1)
    ]
    material = "\n\n".join([prompts.fence("question", task, tag), *answers])
    number = state["round"] + 1
    asked: list[AnyMessage] = [SystemMessage(prompts.render("synthesize", tag=tag)), shown(material, task)]
    sampling: Sampling = {
        "id": len(state["candidates"]),
        "round": number,
        "meta_thought": thought,
        "refined": None,
    }
    after = updated(state, {"pool": [thought], "round": number})
    tell_pool(after["pool"], no_usage())
    pull: Pull = {"id": sampling["id"], "meta_thought": SYNTHESIS, "model": run.thinker.label, "refines": None}
    get_stream_writer()(Pulled(event="pulled", round=number, pulls=[pull], left=run.ledger(state).samples_left()))
    candidate, usage = await draw(sampling, asked, run)
    get_stream_writer()(Sampled(event="sampled", candidate=candidate, usage=usage))
    answered = [candidate] if candidate["status"] != "failed" else []
    updates, judged = await scored(answered, state, run, asked=asked)
    judged = add_usage(judged, working_since(started))
    tell(updates, judged, updated(after, {"candidates": [candidate]}))
    return {
        "pool": [thought],
        "round": number,
        "candidates": [candidate, *updates],
        "usage": add_usage(usage, judged),
    }
