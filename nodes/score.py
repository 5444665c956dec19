"""Phase 2, the reward: every new answer is scored."""

from __future__ import annotations

import math
import time
from typing import Any

from metascale.errors import describe
from metascale.nodes.components import Components, Update
from metascale.question import question_text
from metascale.rewards import Score
from metascale.state import Candidate, State
from metascale.usage import add_usage, no_usage, working_since


async def score(state: State, components: Components) -> Update:
    """Score the answers of the round, all at once. What cannot be scored stays unscored, and says why."""
    started = time.time()
    settings = components.settings()
    new = [c for c in state["candidates"] if c["round"] == state["round"] and c["status"] != "failed"]
    answers = [c for c in new if c["text"]]
    usage = no_usage()
    updates: list[dict[str, Any]] = [_without_text(c) for c in new if not c["text"]]
    if answers:
        texts = [c["text"] for c in answers]
        try:
            scores = await components.judge.score(
                question_text(state["messages"]), texts, settings, place=["judge", state["round"]]
            )
            if len(scores) != len(answers):
                raise ValueError(f"the reward gave {len(scores)} scores for {len(answers)} answers")
        except Exception as error:  # noqa: BLE001  a reward is the user's code: whatever it raises, the run goes on
            scores = [Score(None, error=describe(error)) for _ in answers]
        for candidate, verdict in zip(answers, scores, strict=True):
            usage = add_usage(usage, verdict.usage)
            value, problem = _checked(verdict)
            update = {"id": candidate["id"], "reward": value, "critique": verdict.critique}
            updates.append(update if value is not None else {**update, "error": f"not scored: {problem}"})
    return {"candidates": updates, "usage": add_usage(usage, working_since(started))}


def _without_text(candidate: Candidate) -> dict[str, Any]:
    """An answer without text earns 0 without asking anybody."""
    return {"id": candidate["id"], "reward": 0.0, "critique": candidate["error"]}


def _checked(verdict: Score) -> tuple[float | None, str | None]:
    """A reward that is a number in [0, 1], or None with what is wrong."""
    if verdict.value is None:
        return None, verdict.error or "the reward gave no value"
    if not math.isfinite(verdict.value) or not 0 <= verdict.value <= 1:
        return None, f"the reward gave {verdict.value}, which is not in [0, 1]"
    return float(verdict.value), None
