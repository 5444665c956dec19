"""Self-Discover (Zhou et al. 2024): select reasoning modules, adapt them to the task, compose them into a plan."""

from __future__ import annotations

from typing import Annotated, TypeVar

from langchain_core.messages import SystemMessage
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from metascale import prompts
from metascale.errors import ModelCallError
from metascale.nodes.fresh_run import fresh_run, tell_pool
from metascale.nodes.run import PREPARATION, Run, Update
from metascale.pool.arms import fixed_arm
from metascale.question import check_question, shown, task_of
from metascale.records import MetaThought
from metascale.state import State
from metascale.usage import Usage, add_usage, no_usage, working_since

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
Schema = TypeVar("Schema", bound=BaseModel)


class Modules(BaseModel):
    """Reasoning modules."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    modules: list[Line] = Field(
        description="The reasoning modules, one sentence each.",
        min_length=1,
        examples=[["Which part of this would an expert doubt first?", "What follows from the last condition alone?"]],
    )


class Plan(BaseModel):
    """A plan of reasoning."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    plan: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8_000)] = Field(
        description="The plan, one numbered step a line.",
        examples=["1. Write down what is known.\n2. Name what is missing.\n3. Close the gap, then check it."],
    )


class SelfDiscoverState(State):
    """The state of a run that composes its own plan."""

    modules: list[str]
    """The reasoning modules: selected, then adapted; empty once a step has failed."""


async def select_modules(state: State, run: Run) -> Update:
    """Start a fresh run, and select reasoning modules for the task.

    Raises:
        QuestionError: the conversation does not end with a question, or is too long.
    """
    started = run.start_work(None, share=PREPARATION)
    check_question(state["messages"], run.settings.max_question_chars)
    listed = prompts.load("reasoning_modules")
    found, usage, notes = await _ask(state, run, "select", Modules, modules=listed)
    update = fresh_run([], add_usage(usage, working_since(started)), notes)
    return {**update, "modules": found.modules if found else []}


async def adapt_modules(state: SelfDiscoverState, run: Run) -> Update:
    """Adapt the modules to the task."""
    started = run.start_work(state, share=PREPARATION)
    if not state["modules"]:
        return {"modules": []}
    found, usage, notes = await _ask(state, run, "adapt", Modules)
    usage = add_usage(usage, working_since(started))
    tell_pool([], usage)
    return {"modules": found.modules if found else [], "usage": usage, "notes": notes}


async def compose_plan(state: SelfDiscoverState, run: Run) -> Update:
    """Compose the modules into a plan, the only arm of this run; plain chain of thought if a step failed."""
    started = run.start_work(state, share=PREPARATION)
    if not state["modules"]:
        tell_pool([fixed_arm("chain_of_thought")], no_usage())
        return {"pool": [fixed_arm("chain_of_thought")]}
    found, usage, notes = await _ask(state, run, "compose", Plan)
    discovered: MetaThought = {
        "id": "self_discovered",
        "mindset": "",
        "strategy": found.plan if found else "",
        "origin": "self_composed",
        "parents": [],
        "generation": 0,
    }
    pool = [discovered if found else fixed_arm("chain_of_thought")]
    usage = add_usage(usage, working_since(started))
    tell_pool(pool, usage)
    return {"pool": pool, "usage": usage, "notes": notes}


async def _ask(
    state: State, run: Run, step: str, schema: type[Schema], **values: str
) -> tuple[Schema | None, Usage, list[str]]:
    tag = prompts.new_tag()
    task = task_of(state["messages"])
    material = prompts.fence("task", task, tag)
    modules = state.get("modules")
    if isinstance(modules, list) and modules and step != "select":
        material += "\n\n" + prompts.fence("modules", "\n".join(f"- {module}" for module in modules), tag)
    messages = [
        SystemMessage(prompts.render(f"self_discover_{step}", tag=tag, **values)),
        shown(material, task),
    ]
    failed = f"self-discovery failed at step {step!r}, so the run uses plain chain of thought"
    try:
        reading = await run.think(messages, schema, place=["self_discover", step], untrusted=material)
    except ModelCallError as error:
        return None, error.usage, [f"{failed}: {error}"]
    return reading.value, reading.usage, [] if reading.value else [f"{failed}: {reading.problem}"]
