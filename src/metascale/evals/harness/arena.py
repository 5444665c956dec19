"""Arena-Hard's scorer: two battles against a baseline's answer, one in each order, judged by a model."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser, Model, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState

from metascale import prompts
from metascale.evals.harness.models import generate_quietly, model_named, tokens_of
from metascale.evals.harness.solvers import RECORD
from metascale.evals.report.records import BattleVerdict
from metascale.evals.report.style import share_won, style_difference, style_of
from metascale.journal.database import once
from metascale.settings import Price, price_of

_VERDICT = re.compile(r"\[\[(A>>B|A>B|A=B|B>A|B>>A)\]\]")
_SWAPPED: dict[BattleVerdict, BattleVerdict] = {
    "A>>B": "B>>A",
    "A>B": "B>A",
    "A=B": "A=B",
    "B>A": "A>B",
    "B>>A": "A>>B",
}


class Reply(NamedTuple):
    """A model's reply.

    Attributes:
        model: its name; empty for a text from a file.
        text: what it said.
        tokens: as `tokens_of` gives them; None where they are unknown.
    """

    model: str
    text: str
    tokens: tuple[int, ...] | None


@scorer(metrics=[mean(), stderr()])
def arena(
    baseline: Mapping[str, str] | None = None, baseline_model: str | None = None, judge_model: str | None = None
) -> Scorer:
    """The share of two battles won against a baseline's answer (Arena-Hard-Auto v0.1, Li et al. 2024).

    The judge sees the two answers in one order, then in the other. A strong verdict counts three times. A battle
    without exactly one verdict is left out, and a question with two such battles has no score. The baseline answers a
    question once: all methods, budgets and epochs of a benchmark fight the same answer, and the log holds it. Replies
    that were paid for are not asked for again when a benchmark is repeated.

    Args:
        baseline: answers by question id; `baseline_model` answers the other questions.
        baseline_model: an Inspect model's name; None for the evaluated model.
        judge_model: an Inspect model's name; None for the model in the role `grader`, or else the evaluated one.
    """
    answered: dict[str, Reply] = {}
    locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def opponent(state: TaskState) -> Reply:
        name = str(state.sample_id)
        if baseline is not None and name in baseline:
            return Reply("", baseline[name], None)
        async with locks[name]:
            if name not in answered:
                asked = state.input_text
                model = model_named(baseline_model)
                answered[name] = await _reply("baseline", model, [ChatMessageUser(content=asked)], asked)
        return answered[name]

    async def score(state: TaskState, target: Target) -> Score:  # noqa: ARG001
        ours, question = state.output.completion, state.input_text
        if not ours.strip():
            return Score.unscored(explanation="there is no answer to judge")
        judge = model_named(judge_model) if judge_model else get_model(role="grader")
        rival = await opponent(state)
        judgements = await asyncio.gather(
            _judgement(judge, question, ours, rival.text), _judgement(judge, question, rival.text, ours)
        )
        first, second = (read_verdict(judgement.text) for judgement in judgements)
        verdicts = [first, _SWAPPED[second] if second else None]
        style = list(style_difference(style_of(ours), style_of(rival.text)))
        record = zip(verdicts, judgements, (False, True), strict=True)
        run: dict[str, Any] = state.store.get(RECORD, {})
        prices = {name: Price(**price) for name, price in run.get("prices", {}).items()}
        metadata = {
            "battles": [
                {"verdict": verdict, "swapped": swapped, "style": style, "judgement": judgement.text}
                for verdict, judgement, swapped in record
            ],
            "unreadable": verdicts.count(None),
            "judge": str(judge),
            "judge_bill": _bill(judgements, prices),
            "baseline": {"model": rival.model or None, "answer": rival.text},
            "baseline_bill": _bill([rival] if rival.model else [], prices),
        }
        share = share_won(verdicts)
        if share is None:
            return Score.unscored(answer=ours[:200], explanation="no verdict could be read", metadata=metadata)
        return Score(value=share, answer=ours[:200], metadata=metadata)

    return score


async def _judgement(judge: Model, question: str, first: str, second: str) -> Reply:
    """The judge's words on the first answer, A, against the second, B."""
    tag = prompts.new_tag()
    material = "\n\n".join(
        [
            prompts.fence("request", question, tag),
            prompts.fence("answer_a", first, tag),
            prompts.fence("answer_b", second, tag),
        ]
    )
    asked: list[ChatMessage] = [
        ChatMessageSystem(content=prompts.render("arena_judge", tag=tag)),
        ChatMessageUser(content=material),
    ]
    return await _reply("verdict", judge, asked, prompts.load("arena_judge"), question, first, second)


async def _reply(kind: str, model: Model, messages: list[ChatMessage], *about: str) -> Reply:
    """A model's reply to messages, which the benchmark's journal keeps under its kind, the model and the texts."""

    async def ask() -> str:
        output = await generate_quietly(model, messages)
        return json.dumps([output.completion, tokens_of(output)])

    arguments = json.dumps(model.model_args, sort_keys=True, default=str)
    text, tokens = json.loads(await once(ask, kind, str(model), arguments, *about))
    return Reply(str(model), text, tuple(tokens) if tokens else None)


def _bill(replies: Sequence[Reply], prices: Mapping[str, Price]) -> dict[str, Any]:
    """What replies cost, in requests, tokens and US dollars; null where that is unknown."""
    costs = [
        price.of(*reply.tokens) if (price := price_of(prices, reply.model)) and reply.tokens else None
        for reply in replies
    ]
    return {
        "calls": len(replies),
        "input_tokens": sum(reply.tokens[0] for reply in replies if reply.tokens),
        "output_tokens": sum(reply.tokens[1] for reply in replies if reply.tokens),
        "cost_usd": None if None in costs else sum(cost for cost in costs if cost is not None),
    }


def read_verdict(text: str) -> BattleVerdict | None:
    """The verdict in a judgement; None unless there is exactly one."""
    found: set[BattleVerdict] = set(_VERDICT.findall(text))
    return found.pop() if len(found) == 1 else None
