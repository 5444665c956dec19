"""The second look: finalists are judged again before one is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph.config import get_stream_writer

from metascale.choice.ranking import field_of
from metascale.choice.second_look import next_looks
from metascale.events import Looked, verdicts
from metascale.nodes.components import Components, Update, looks_made
from metascale.question import question_text
from metascale.records import Candidate, Look
from metascale.rewards import Rejudging
from metascale.rewards.base import guarded, in_range
from metascale.state import State, merge_by_id
from metascale.usage import Usage, add_usage, no_usage, working_since


def to_look_at(state: State, components: Components) -> list[Candidate]:
    """The answers that the next round of second looks judges: none where the choice is clear or nothing may be spent.

    Of answers that stand or fall together the one with the best scores is looked at.
    """
    rule = components.settings().final_choice
    field = field_of(state["candidates"], rule)
    return [field.groups[index][0] for index in next_looks(field.contenders, components.looks_left(state), rule)]


async def confirm(state: State, components: Components, finalists: Sequence[Candidate]) -> Update:
    """Judge finalists once more, all at once."""
    started = components.start_work(state["usage"]["seconds"])
    updates, usage = await look_again(finalists, state, components)
    usage = add_usage(usage, working_since(started))
    seen = verdicts(merge_by_id(state["candidates"], [updates]), [update["id"] for update in updates])
    get_stream_writer()(Looked(event="looked", verdicts=seen, usage=usage))
    return {"candidates": updates, "usage": usage}


async def look_again(
    answers: Sequence[Candidate], state: State, components: Components
) -> tuple[list[dict[str, Any]], Usage]:
    """The changes by which answers get further looks, and the bill; an answer may be given more than once."""
    judge = components.judge
    assert isinstance(judge, Rejudging)  # noqa: S101
    counts = {c["id"]: 1 + len(c["looks"]) for c in answers}
    numbers = []
    for candidate in answers:
        numbers.append(counts[candidate["id"]])
        counts[candidate["id"]] += 1
    scores = await guarded(
        judge.look_again(
            question_text(state["messages"]),
            [c["text"] for c in answers],
            components.settings(),
            place=["confirm", len(looks_made(state))],
            looks=numbers,
        ),
        len(answers),
    )
    usage = no_usage()
    looks: dict[int, list[Look]] = {c["id"]: list(c["looks"]) for c in answers}
    for candidate, fresh in zip(answers, scores, strict=True):
        usage = add_usage(usage, fresh.usage)
        looks[candidate["id"]].append({"value": in_range(fresh.value), "wording": fresh.wording})
    return [{"id": number, "looks": given} for number, given in looks.items()], usage
