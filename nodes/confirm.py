"""The second look: finalists are re-judged before one is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.config import get_stream_writer

from metascale.budget.ledger import looks_made
from metascale.events import Looked, verdicts
from metascale.nodes.run import Run, Update
from metascale.question import task_of
from metascale.records import Candidate, Look
from metascale.rewards.base import in_range
from metascale.state import State, updated
from metascale.usage import Usage, add_usage, no_usage, working_since


async def confirm(state: State, run: Run) -> Update:
    """Re-judge the finalists, each once, concurrently."""
    started = run.start_work(state)
    finalists = run.ledger(state).finalists_to_judge
    if not finalists:
        return {}
    updates, usage = await look_again(finalists, state, run)
    usage = add_usage(usage, working_since(started))
    after = updated(state, {"candidates": updates})
    seen = verdicts(after["candidates"], [update["id"] for update in updates])
    get_stream_writer()(Looked(event="looked", verdicts=seen, usage=usage))
    return {"candidates": updates, "usage": usage}


async def look_again(answers: Sequence[Candidate], state: State, run: Run) -> tuple[list[dict[str, Any]], Usage]:
    """Re-judge answers concurrently; an answer that is listed twice gets two further looks.

    Returns:
        The updates of the candidates, and what the looks cost.
    """
    counts = {c["id"]: 1 + len(c["looks"]) for c in answers}
    numbers = []
    for candidate in answers:
        numbers.append(counts[candidate["id"]])
        counts[candidate["id"]] += 1
    scores = await run.scorer.look_again(
        task_of(state["messages"]),
        [c["text"] for c in answers],
        run.settings,
        place=["confirm", len(looks_made(state["candidates"]))],
        looks=numbers,
    )
    usage = no_usage()
    looks: dict[int, list[Look]] = {c["id"]: list(c["looks"]) for c in answers}
    for candidate, fresh in zip(answers, scores, strict=True):
        usage = add_usage(usage, fresh.usage)
        looks[candidate["id"]].append({"value": in_range(fresh.value), "wording": fresh.wording})
    return [{"id": number, "looks": given} for number, given in looks.items()], usage
