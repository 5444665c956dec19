"""Phase 1, the part that asks the model: what is composed, abstracted and rated for the pool (paper, section 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, SystemMessage

from metascale import prompts
from metascale.budget.limits import may_compose
from metascale.budget.rounds import is_composed_beside
from metascale.errors import ModelCallError, describe
from metascale.foresight.prediction import hint
from metascale.models.embedders import embedder_of
from metascale.models.quotation import unquoted
from metascale.models.schema_in_words import example
from metascale.models.sized import sized
from metascale.nodes.fresh_run import tell_pool
from metascale.nodes.rate_methods import ask_ratings
from metascale.nodes.remember import recall
from metascale.nodes.run import PREPARATION, Run, Update
from metascale.pool.admission import Draft, Drafts, admit, builtin_drafts, interleave
from metascale.pool.arms import FIXED_ARMS, best_methods, hint_arm, refinement_arm
from metascale.pool.beliefs import Beliefs, believed_at_start
from metascale.pool.ratings import beliefs_from_ratings
from metascale.question import shown, task_of
from metascale.records import MetaThought, Origin, Pull, Rating
from metascale.runtime.bridge import invoke
from metascale.settings import MetaScaleSettings
from metascale.state import State
from metascale.usage import Usage, add_usage, no_usage, working_since

OWN_JUDGE = (
    "the answers cannot be compared, so the model judges its own answers; a small one does so badly: "
    "another judge helps (--judge-model NAME)"
)
FRUITLESS = 2
"""Requests in a row that add no meta-thought, after which no more is asked for. Not tuned."""


class Found(NamedTuple):
    """Drafts from one source.

    Attributes:
        drafts: with their origin.
        notes: what went wrong.
        usage: the bill.
        is_failed: whether the request failed.
    """

    drafts: list[tuple[Draft, Origin]]
    notes: list[str]
    usage: Usage
    is_failed: bool = False


async def compose(state: State, run: Run) -> Update:
    """Fill a pool of fixed arms: beside the first round, or later if it then is too short.

    See `budget.rounds.is_composed_beside`, `budget.rounds.is_short` and `choice.automatic`.
    """
    started = run.start_work(state, share=PREPARATION)
    run = run.with_granted(state["granted"])
    beside = len(unsampled(state))
    in_flight: Usage = {**no_usage(), "calls": beside + run.scorer.calls(beside)}
    pool, notes, usage = await whole_pool(state["pool"], state, run, add_usage(state["usage"], in_flight))
    usage = add_usage(usage, working_since(started))
    tell_pool(pool, usage)
    return {"pool": pool, "usage": usage, "notes": [OWN_JUDGE, *notes] if run.is_automatic else notes}


def unsampled(state: State) -> list[Pull]:
    """The planned pulls that have no answer yet."""
    drawn = {candidate["id"] for candidate in state["candidates"]}
    return [pull for pull in state["plan"] if pull["id"] not in drawn]


def first_requests(run: Run) -> int:
    """The requests that `filled` makes at once, repairs and missing meta-thoughts aside."""
    settings = run.settings
    return 1 + (run.parts.retriever is not None and settings.retriever_k > 0) + (settings.seed_methods > 0)


def can_pay_to_compose(state: State, run: Run) -> bool:
    """Whether the limits pay for one more sample after the pool is composed."""
    return run.ledger(state).samples_left(beside=first_requests(run)) > 0


def composes_beside(state: State, run: Run) -> bool:
    """Whether the rest of the pool is composed beside the next round."""
    return is_composed_beside(run.settings, state["pool"]) and can_pay_to_compose(state, run)


async def whole_pool(
    first: Sequence[MetaThought], state: State, run: Run, spent: Usage
) -> tuple[list[MetaThought], list[str], Usage]:
    """The fixed arms, what the strategy memory adds, and what `filled` adds to both; arguments as there."""
    settings = run.settings
    remembered, kept, notes, embedded = await recall(task_of(state["messages"]), run)
    at_most = settings.pool_size - len(first)
    pool = [*first, *admit(first, kept, at_most=at_most, threshold=settings.duplicate_similarity)]
    pool, problems, usage = await filled(pool, remembered, state, run, add_usage(spent, embedded))
    return pool, [*notes, *problems], add_usage(embedded, usage)


async def filled(
    first: Sequence[MetaThought], remembered: Beliefs, state: State, run: Run, spent: Usage
) -> tuple[list[MetaThought], list[str], Usage]:
    """The whole first pool with its priors, notes on what went wrong, and the bill.

    Args:
        first: the fixed arms and those that the strategy memory adds.
        remembered: what earlier runs say.
        state: the run so far.
        run: the run.
        spent: the bill of the run, with what is in flight.
    """
    settings = run.settings
    task = task_of(state["messages"])
    foresight = state.get("foresight") if settings.foresee else None
    notes: list[str] = []
    usage = no_usage()
    pool = list(first)
    has_hint = bool(hint(foresight)) and min(settings.budget, settings.pool_size) > len(FIXED_ARMS)
    size = settings.pool_size - has_hint
    pool = pool[:size]
    ratings: list[Rating] = []
    free = size - len(pool)
    if free > 0 and settings.budget > len(pool):
        *found, rated = await asyncio.gather(
            _compose(task, free, run),
            _abstract(task, settings, run),
            _rate(task, settings, run),
        )
        for said, bill in (*((source.notes, source.usage) for source in found), rated[1:]):
            notes += said
            usage = add_usage(usage, bill)
        ratings = rated[0]
        pool += best_methods(ratings, run.rated_methods, pool, at_most=min(settings.seed_methods, free // 2))
        drafts = interleave(*(source.drafts for source in found))
        free = size - len(pool)
        pool += admit(pool, drafts, at_most=free, threshold=settings.duplicate_similarity)
        if not found[0].is_failed:
            more, bill = await _compose_more(task, pool, size, add_usage(spent, usage), run)
            pool += more
            usage = add_usage(usage, bill)
        missing = size - len(pool)
        if missing > 0:
            builtin = admit(pool, builtin_drafts(), at_most=missing, threshold=settings.duplicate_similarity)
            pool += builtin
            notes.append(
                f"the model gave {free - missing} of {free} meta-thoughts, so {len(builtin)} built-in ones were added"
            )
    if has_hint:
        pool.append(hint_arm(hint(foresight)))
    if settings.refine:
        pool.append(refinement_arm())
    rated_beliefs = beliefs_from_ratings(ratings, run.rated_methods)
    return (
        believed_at_start(pool, remembered, rated_beliefs, advantage=settings.head_start, models=run.parts.labels),
        notes,
        usage,
    )


async def _compose(task: str, count: int, run: Run) -> Found:
    """Meta-thoughts that the model composes for the task."""
    tag = prompts.new_tag()
    system = prompts.for_experts("compose", count, tag)
    material = prompts.with_reminder(prompts.fence("task", task, tag), count)
    return await _drafts(system, shown(material, task), count, run, "self_composed", origin="self_composed")


async def _compose_more(
    task: str, pool: list[MetaThought], size: int, spent: Usage, run: Run
) -> tuple[list[MetaThought], Usage]:
    """Meta-thoughts that the model composes one by one, each from the idea of a built-in one.

    It is not asked for more than the budget can pull, nor at all once `may_compose` says no. It is not shown the
    earlier ones: asked for one that differs from them, Qwen2.5-Coder-1.5B-Instruct repeated one in 12 of 18 replies.

    Args:
        task: the question.
        pool: the pool so far.
        size: wanted size of the pool.
        spent: the bill of the run so far, with what is in flight.
        run: the run.

    Returns:
        New meta-thoughts, and the bill of the requests for them.
    """
    settings = run.settings
    wanted = min(size, settings.budget) - len(pool)
    ideas = [draft.strategy for draft, _ in builtin_drafts()]
    more: list[MetaThought] = []
    usage = no_usage()
    fruitless = number = 0
    while len(more) < wanted and fruitless < FRUITLESS and may_compose(settings, add_usage(spent, usage)):
        tag = prompts.tag_for(task, ideas[number % len(ideas)])
        material = prompts.with_reminder(prompts.fence("task", task, tag), 1)
        system = prompts.render("compose_more", idea=ideas[number % len(ideas)], tag=tag, **prompts.EXPERTS)
        found = await _drafts(system, shown(material, task), 1, run, "self_composed", number, origin="self_composed")
        usage = add_usage(usage, found.usage)
        if found.is_failed:
            break
        added = admit([*pool, *more], found.drafts, at_most=wanted - len(more), threshold=settings.duplicate_similarity)
        more += added
        fruitless = 0 if added else fruitless + 1
        number += 1
    return more, usage


async def _abstract(task: str, settings: MetaScaleSettings, run: Run) -> Found:
    """Meta-thoughts behind the most similar worked examples; none without a retriever."""
    if run.parts.retriever is None or settings.retriever_k == 0:
        return Found([], [], no_usage())
    embedder, usage = embedder_of(run.parts.retriever), no_usage()
    try:
        usage = embedder.pay(task, settings) if embedder is not None else usage
        documents = await invoke(run.parts.retriever, str(task))
    except Exception as error:  # noqa: BLE001  a retriever is the user's code: whatever it raises, the run continues
        return Found([], [f"no worked examples: the retriever failed: {describe(error)}"], usage)
    if not documents:
        return Found([], ["no worked examples: the retriever found none"], usage)
    tag = prompts.new_tag()
    examples = [prompts.fence("example", _worked(document), tag) for document in documents[: settings.retriever_k]]
    material = "\n\n".join([prompts.fence("task", task, tag), *examples])
    system = prompts.render("abstract", count=len(examples), tag=tag)
    found = await _drafts(system, shown(material, task), len(examples), run, "retrieved", origin="retrieved")
    return found._replace(usage=add_usage(usage, found.usage))


async def _rate(task: str, settings: MetaScaleSettings, run: Run) -> tuple[list[Rating], list[str], Usage]:
    """The model's ratings of reasoning methods; none if no method may enter the pool."""
    if settings.seed_methods == 0:
        return [], [], no_usage()
    return await ask_ratings(task, run.rated_methods, run)


def _worked(document: Document) -> str:
    """A worked example as text: the document, then the solution or answer in its metadata, if any."""
    solution = document.metadata.get("solution") or document.metadata.get("answer")
    return f"{document.page_content}\n\nSolution: {solution}" if solution else document.page_content


async def _drafts(system: str, turn: HumanMessage, count: int, run: Run, *place: int | str, origin: Origin) -> Found:
    messages = [SystemMessage(system), turn]
    schema: type[Drafts] = sized(Drafts, count)
    try:
        reading = await run.think(messages, schema, place=place, untrusted=str(turn.text))
    except ModelCallError as error:
        return Found([], [f"no {origin} meta-thoughts: {error}"], error.usage, is_failed=True)
    if reading.value is None:
        why = f"no {origin} meta-thoughts: the reply could not be read: {reading.problem}"
        return Found([], [why], reading.usage)
    own = unquoted(reading.value.meta_thoughts, example(Drafts))
    return Found([(draft, origin) for draft in own], [], reading.usage)
