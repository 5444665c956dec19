"""Phase 3: the model breeds new meta-thoughts from the good ones (paper, section 3)."""

from __future__ import annotations

from langchain_core.messages import SystemMessage
from langgraph.config import get_stream_writer

from metascale import prompts
from metascale.errors import ModelCallError
from metascale.events import Evolved
from metascale.evolution import OPERATORS, by_front, by_ucb, choose_operator, making_room, room
from metascale.models.quotation import unquoted
from metascale.models.schema_in_words import example
from metascale.models.sized import sized
from metascale.nodes.run import PREPARATION, Run, Update
from metascale.pool.admission import Draft, Drafts, admit, arm_statistics
from metascale.question import shown, task_of
from metascale.records import MetaThought, OperatorName, Origin
from metascale.runtime.seeds import place_generator
from metascale.state import State
from metascale.usage import add_usage, working_since


async def evolve(state: State, run: Run) -> Update:
    """Add children to the pool, at most as many as the budget can still pull and the pool has room for.

    Children have no pulls yet, so every policy pulls them first. A failed evolution leaves the pool unchanged. In a
    full pool, one arm retires for each child.
    """
    started = run.start_work(state, share=PREPARATION)
    settings = run.settings
    pool = state["pool"]
    members = arm_statistics(pool, state["candidates"])
    ranked = by_ucb(members, settings.beta) if settings.evolution == "always" else by_front(members)
    names: list[OperatorName] = list(OPERATORS) if settings.operators == "all" else ["combine"]
    found = {name: OPERATORS[name].parents(members, ranked, settings.parents) for name in names}
    usable = {name: parents for name, parents in found.items() if parents is not None}
    name = choose_operator(members, list(usable), place_generator(settings.seed or 0, "operator", state["round"]))
    operator, parents = OPERATORS[name], usable[name]
    count = min(settings.children, max(1, run.ledger(state).samples_left()), room(members, settings.max_pool))
    tag = prompts.new_tag()
    task = task_of(state["messages"])
    parts = [prompts.fence("task", task, tag), *operator.material(pool, members, parents, tag)]
    material = prompts.with_reminder("\n\n".join(parts), count, are_new=True)
    system = prompts.for_experts(operator.prompt, count, tag, are_new=True)
    messages = [SystemMessage(system), shown(material, task)]
    children: list[MetaThought] = []
    try:
        reading = await run.think(messages, sized(Drafts, count), place=["evolve", state["round"]], untrusted=material)
    except ModelCallError as error:
        usage, note = error.usage, f"evolution failed: {error}"
    else:
        usage, note = reading.usage, f"evolution failed: {reading.problem}"
        if reading.value is not None:
            own = unquoted(reading.value.meta_thoughts, example(Drafts))
            drafts: list[tuple[Draft, Origin]] = [(draft, "evolved") for draft in own]
            children = admit(
                pool,
                drafts,
                at_most=count,
                threshold=settings.duplicate_similarity,
                parents=[pool[index] for index in parents],
                operator=name,
            )
            note = "evolution produced only near-duplicates of meta-thoughts in the pool"
    leaving: list[MetaThought] = [
        {**pool[index], "retired": True} for index in making_room(members, len(children), settings.max_pool)
    ]
    usage = add_usage(usage, working_since(started))
    get_stream_writer()(
        Evolved(event="evolved", children=children, retired=[thought["id"] for thought in leaving], usage=usage)
    )
    return {
        "pool": [*leaving, *children],
        "evolved_at": state["round"],
        "usage": usage,
        "notes": [] if children else [note],
    }
