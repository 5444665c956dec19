"""Phase 2, the reward: every new answer is scored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.config import get_stream_writer

from metascale.answers import extract
from metascale.budget.limits import has_reached
from metascale.budget.progress import regret
from metascale.budget.stopping import expected_progress
from metascale.errors import describe
from metascale.events import Scored, verdicts
from metascale.nodes.components import TARGET_LOOKS, Components, Update
from metascale.nodes.confirm import look_again
from metascale.pool.admission import arm_statistics
from metascale.question import question_text
from metascale.records import Candidate
from metascale.rewards import Earlier, RelativeReward, Score
from metascale.rewards.base import in_range
from metascale.settings import MetaScaleSettings
from metascale.state import State, merge_by_id
from metascale.usage import Usage, add_usage, no_usage, working_since


async def score(state: State, components: Components) -> Update:
    """Score the answers of the round, all at once. What cannot be scored stays unscored, and says why.

    An answer that reaches the target is looked at again at once: it ends the search only if it holds.
    """
    started = components.start_work(state["usage"]["seconds"])
    settings = components.settings()
    new = [c for c in state["candidates"] if c["round"] == state["round"] and c["status"] != "failed"]
    updates, usage = await scored(new, state, components)
    after: State = {
        **state,
        "candidates": merge_by_id(state["candidates"], [updates]),
        "usage": add_usage(state["usage"], usage),
    }
    reached = _reached_target(after, settings)
    looks = min(TARGET_LOOKS, components.looks_left(after))
    if reached is not None and looks:
        confirmed, bill = await look_again([reached] * looks, after, components)
        updates, usage = [*updates, *confirmed], add_usage(usage, bill)
    usage = add_usage(usage, working_since(started))
    tell(updates, usage, state)
    return {"candidates": updates, "usage": usage}


def tell(updates: Sequence[Mapping[str, Any]], usage: Usage, state: State) -> None:
    """Stream what the scores of a round are and what they let one expect."""
    candidates = merge_by_id(state["candidates"], [updates])
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


async def scored(new: Sequence[Candidate], state: State, components: Components) -> tuple[list[dict[str, Any]], Usage]:
    """The changes by which candidates get their scores, and the bill."""
    settings = components.settings()
    answers = [c for c in new if c["text"]]
    updates = [_without_text(c) for c in new if not c["text"]]
    if not answers:
        return updates, no_usage()
    earlier = _beside(answers[0], state) if isinstance(components.judge, RelativeReward) else []
    try:
        scores = await _ask_the_reward(answers, earlier, state, components)
        values = _values(scores, earlier, components)
    except Exception as error:  # noqa: BLE001  a reward is the user's code: whatever it raises, the run goes on
        scores = [Score(None, error=describe(error)) for _ in answers]
        values = [c["reward"] for c in earlier] + [None for _ in answers]
    usage = no_usage()
    for candidate, verdict, worth in zip(answers, scores, values[len(earlier) :], strict=True):
        usage = add_usage(usage, verdict.usage)
        value, problem = _checked(worth, verdict.error)
        updates.append(
            {
                "id": candidate["id"],
                "reward": value,
                "critique": verdict.critique,
                "wording": verdict.wording,
                "memo": verdict.memo,
                "extracted": extract(candidate["text"], settings.answer_kind),
                **({} if value is not None else {"error": f"not scored: {problem}"}),
            }
        )
    moved = ((c, in_range(value)) for c, value in zip(earlier, values, strict=False))
    updates += [{"id": c["id"], "reward": value} for c, value in moved if value is not None and value != c["reward"]]
    return updates, usage


def _beside(first: Candidate, state: State) -> list[Candidate]:
    """The answers of earlier rounds than that of `first`."""
    return [c for c in state["candidates"] if c["id"] < first["id"] and c["text"] and c["status"] != "failed"]


async def _ask_the_reward(
    answers: Sequence[Candidate], earlier: Sequence[Candidate], state: State, components: Components
) -> list[Score]:
    question, texts = question_text(state["messages"]), [c["text"] for c in answers]
    settings = components.settings()
    place: list[int | str] = ["judge", answers[0]["round"]]
    if isinstance(components.judge, RelativeReward):
        known = [Earlier(c["text"], c["memo"]) for c in earlier]
        scores = await components.judge.score(question, texts, settings, place=place, earlier=known)
    else:
        scores = await components.judge.score(question, texts, settings, place=place)
    if len(scores) != len(answers):
        raise ValueError(f"the reward gave {len(scores)} scores for {len(answers)} answers")
    return scores


def _values(scores: Sequence[Score], earlier: Sequence[Candidate], components: Components) -> list[float | None]:
    """The rewards of the earlier answers, which a relative reward may move, and then of the new ones."""
    if isinstance(components.judge, RelativeReward):
        memos = [*(c["memo"] for c in earlier), *(score.memo for score in scores)]
        values = components.judge.values(memos)
        if len(values) != len(memos):
            raise ValueError(f"the reward gave {len(values)} values for {len(memos)} answers")
        return values
    return [*(c["reward"] for c in earlier), *(score.value for score in scores)]


def _reached_target(state: State, settings: MetaScaleSettings) -> Candidate | None:
    """The best answer that reached the target and was not looked at again."""
    if settings.target_reward is None:
        return None
    waiting = [c for c in state["candidates"] if not c["looks"] and has_reached(c, settings.target_reward, 0)]
    return max(waiting, key=lambda c: c["reward"] or 0.0, default=None)


def _without_text(candidate: Candidate) -> dict[str, Any]:
    """An answer without text earns 0 without asking anybody."""
    return {"id": candidate["id"], "reward": 0.0, "critique": candidate["error"]}


def _checked(value: float | None, error: str | None) -> tuple[float | None, str | None]:
    """A reward that is a number in [0, 1], or None with what is wrong."""
    if value is None:
        return None, error or "the reward gave no value"
    number = in_range(value)
    return number, None if number is not None else f"the reward gave {value}, which is not in [0, 1]"
