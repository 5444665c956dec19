"""Self-consistency: the final answer with the most votes (Wang et al. 2023)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer

from metascale.answers import extract
from metascale.choice.votes import with_vote_shares
from metascale.events import Chosen
from metascale.nodes.fresh_run import samples_anew
from metascale.nodes.run import Run, Update
from metascale.records import Candidate
from metascale.result import conclude
from metascale.state import State
from metascale.usage import working_since


async def vote(state: State, run: Run) -> Update:
    """Choose the earliest sample with the most frequent final answer. Its reward is that answer's share of all answers.

    Where the settings weigh votes, an answer counts for more the surer the model was of it.

    If no sample marks a final answer, there is nothing to vote on: the first complete sample wins, and a note says so.

    A run that is resumed after all of its samples failed draws new ones.

    Raises:
        NoAnswerError: no sample succeeded.
    """
    return elected(state["candidates"], state, run)


def elected(candidates: Sequence[Candidate], state: State, run: Run) -> Update:
    """As `vote`, among some samples."""
    anew = samples_anew(state, run)
    if anew is not None:
        return anew
    voted = with_vote_shares(candidates, weighted=run.settings.weigh_votes)
    is_marked = any(c["extracted"] is not None for c in voted)
    notes = [] if is_marked else ["no sample marks a final answer, so there was nothing to vote on"]
    ended: State = {**state, "candidates": voted, "notes": [*state["notes"], *notes]}
    settings = run.settings.model_copy(update={"confirm": 0, "reward": "agreement"})
    result = conclude(ended, run.ledger(state).stop_reason or "step_limit", settings)
    get_stream_writer()(Chosen(event="chosen", result=result))
    return {
        "messages": [AIMessage(result["answer"])],
        "candidates": [{"id": c["id"], "reward": c["reward"]} for c in voted if c["reward"] is not None],
        "notes": notes,
        "result": result,
    }


async def tally(state: State, run: Run) -> Update:
    """Extract the final answer of every new sample; null if none is marked."""
    started = time.time()
    kind = run.settings.answer_kind
    new = [c for c in state["candidates"] if c["round"] == state["round"] and c["text"]]
    return {
        "candidates": [{"id": c["id"], "extracted": extract(c["text"], kind)} for c in new],
        "usage": working_since(started),
    }
