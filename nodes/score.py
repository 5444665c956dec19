"""Phase 2, the reward: every new answer is scored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AnyMessage
from langgraph.config import get_stream_writer

from metascale.answers import extract
from metascale.budget.ledger import TARGET_LOOKS
from metascale.budget.limits import unconfirmed
from metascale.budget.progress import regret
from metascale.budget.stopping import expected_progress
from metascale.events import Scored, verdicts
from metascale.nodes.confirm import look_again
from metascale.nodes.generate import asked_of
from metascale.nodes.run import Run, Update
from metascale.pool.admission import arm_statistics
from metascale.question import task_of
from metascale.records import Candidate
from metascale.rewards import Earlier
from metascale.rewards.base import Drawn, in_range
from metascale.rewards.sharing import may_share, shared_rewards, to_judge
from metascale.state import State, updated
from metascale.usage import Usage, add_usage, no_usage, working_since


async def score(state: State, run: Run) -> Update:
    """Score the answers of the round concurrently. An answer that cannot be scored keeps its error and no reward.

    The best answer that reaches the target reward is re-judged at once. It ends the search only if its mean score
    still reaches the target.
    """
    started = run.start_work(state)
    settings = run.settings
    new = [c for c in state["candidates"] if c["round"] == state["round"] and c["status"] != "failed"]
    late = [_as_drawn(c) for c in run.left_unjudged(state) if c["round"] < state["round"]]
    updates, usage = await scored([*new, *late], state, run)
    updates = [*({"id": c["id"], "error": c["error"]} for c in late), *updates]
    after = updated(state, {"candidates": updates, "usage": usage})
    reached = unconfirmed(after["candidates"], settings.target_reward)
    looks = min(TARGET_LOOKS, run.ledger(after).looks_left)
    if reached is not None and looks:
        confirmed, bill = await look_again([reached] * looks, after, run)
        updates, usage = [*updates, *confirmed], add_usage(usage, bill)
    usage = add_usage(usage, working_since(started))
    tell(updates, usage, state)
    return {"candidates": updates, "usage": usage}


def tell(updates: Sequence[Mapping[str, Any]], usage: Usage, state: State) -> None:
    """Stream the scores of a round, and the expected gain of one more sample."""
    candidates = updated(state, {"candidates": updates})["candidates"]
    rewards = [c["reward"] for c in candidates if c["reward"] is not None]
    arms = arm_statistics(state["pool"], candidates)
    expected = expected_progress(arms)
    get_stream_writer()(
        Scored(
            event="scored",
            round=state["round"],
            verdicts=verdicts(candidates, [update["id"] for update in updates]),
            best_reward=max(rewards, default=None),
            expected=expected if math.isfinite(expected) else None,
            regret=regret(arms),
            usage=usage,
        )
    )


async def scored(
    new: Sequence[Candidate], state: State, run: Run, *, asked: Sequence[AnyMessage] | None = None
) -> tuple[list[dict[str, Any]], Usage]:
    """The changes by which candidates get their scores, and the bill.

    Where final answers are compared, some candidates share the verdicts on others; see `rewards.sharing`. If all
    verdicts on a final answer fail, the candidates that would have shared them are judged too.

    Args:
        new: the candidates.
        state: the run so far.
        run: the run.
        asked: the request that they all answered; None where it follows from their meta-thoughts.
    """
    updates = [_without_text(c) for c in new if not c["text"]]
    answers: list[Candidate] = [
        {**c, "extracted": extract(c["text"], run.settings.answer_kind)} for c in new if c["text"]
    ]
    if not run.scorer.shares_verdicts or not may_share(run.settings):
        judged, usage = await _judged(answers, state, run, asked)
        return [*updates, *judged], usage
    numbers = {c["id"] for c in answers}
    chosen = to_judge(answers, [c for c in state["candidates"] if c["id"] not in numbers])
    judged, usage = await _judged(chosen, state, run, asked)
    after = updated(state, {"candidates": [*answers, *judged]})
    shared = shared_rewards(after["candidates"])
    left = [c for c in answers if c not in chosen and c["id"] not in shared]
    if left:
        more, bill = await _judged(left, after, run, asked, "again")
        judged, usage = [*judged, *more], add_usage(usage, bill)
        after = updated(after, {"candidates": more})
        shared = shared_rewards(after["candidates"])
    for candidate in after["candidates"]:
        value = shared.get(candidate["id"])
        if value is not None and value != candidate["reward"]:
            judged.append({"id": candidate["id"], "extracted": candidate["extracted"], "reward": value, "shared": True})
    return [*updates, *judged], usage


async def _judged(
    answers: Sequence[Candidate], state: State, run: Run, asked: Sequence[AnyMessage] | None, *place: str
) -> tuple[list[dict[str, Any]], Usage]:
    """The changes by which candidates get verdicts of their own, and the bill."""
    if not answers:
        return [], no_usage()
    updates: list[dict[str, Any]] = []
    scorer = run.scorer
    earlier = _beside(answers, state) if scorer.is_relative else []
    scores, moved = await scorer.score(
        task_of(state["messages"]),
        [c["text"] for c in answers],
        run.settings,
        place=["judge", answers[0]["round"], *place],
        earlier=[Earlier(c["text"], c["memo"]) for c in earlier],
        samples=[_drawn(c, asked or asked_of(c, state)) for c in answers] if scorer.reads_samples else [],
    )
    usage = no_usage()
    for candidate, verdict in zip(answers, scores, strict=True):
        usage = add_usage(usage, verdict.usage)
        value = in_range(verdict.value)
        updates.append(
            {
                "id": candidate["id"],
                "reward": value,
                "critique": verdict.critique,
                "wording": verdict.wording,
                "memo": verdict.memo,
                "extracted": candidate["extracted"],
                **(
                    {}
                    if value is not None or candidate["status"] != "ok"
                    else {"error": f"not scored: {verdict.error or 'the reward returned no value'}"}
                ),
            }
        )
    values = zip(earlier, moved, strict=False)
    updates += [{"id": c["id"], "reward": value} for c, value in values if value is not None and value != c["reward"]]
    without = [c for c, verdict in zip(answers, scores, strict=True) if in_range(verdict.value) is None]
    if without and run.scorer is not scorer:  # its model was left out, so the next one judges
        more, bill = await _judged(without, state, run, asked, *place)
        again = {candidate["id"] for candidate in without}
        return [*(u for u in updates if u["id"] not in again), *more], add_usage(usage, bill)
    return updates, usage


def _as_drawn(candidate: Candidate) -> Candidate:
    """A sample without the error of an earlier score: flaws of its own stay."""
    return {**candidate, "error": None} if candidate["status"] == "ok" else candidate


def _drawn(candidate: Candidate, asked: Sequence[AnyMessage]) -> Drawn:
    return Drawn(candidate["text"], candidate["meta_thought"], candidate.get("certainty"), asked)


def _beside(answers: Sequence[Candidate], state: State) -> list[Candidate]:
    """The answers of earlier rounds, and those of this round that have verdicts already."""
    this = answers[0]["round"]
    return [
        c
        for c in state["candidates"]
        if c["text"] and c["status"] != "failed" and (c["round"] < this or c["memo"] is not None)
    ]


def _without_text(candidate: Candidate) -> dict[str, Any]:
    """The score of an answer without text: 0, without a request."""
    return {"id": candidate["id"], "reward": 0.0, "critique": candidate["error"]}
