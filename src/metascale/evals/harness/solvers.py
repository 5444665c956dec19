"""Every method as an Inspect solver, `metascale/<method>`, for any Inspect task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from inspect_ai.model import ChatMessageAssistant, Model, ModelOutput
from inspect_ai.solver import Generate, Solver, TaskState, solver

from metascale import __version__
from metascale.errors import MetaScaleError, SettingError
from metascale.evals.harness.choices import LETTERS, mark_choices, show_choices
from metascale.evals.harness.finals import FinalAnswers, final_answers, wanted_kind
from metascale.evals.harness.fleet import FleetError, FleetReply, context_of
from metascale.evals.harness.messages import as_sent, to_langchain
from metascale.evals.harness.models import (
    InspectChatModel,
    LangGraphServers,
    begin_run,
    hide_keys,
    is_recorded,
    model_named,
)
from metascale.evals.harness.watch import RunFailedError, current_watch
from metascale.foresight.meta_rewards import used
from metascale.graphs import METHODS
from metascale.journal.database import current_journal
from metascale.journal.runs import name_of, run_on, run_once, why_failed
from metascale.models.simulated import NOTICE
from metascale.result import bill, conclude
from metascale.rewards import reward_of
from metascale.rewards.scorer import Scorer
from metascale.runtime.seeds import derive_seed
from metascale.settings import KEEPS_ANSWERS, MetaScaleSettings
from metascale.state import State

RECORD = "metascale"
"""The key of a run's record in the store of an Inspect sample."""


def _solver(name: str) -> Callable[..., Solver]:
    @solver(name=name)
    def answer(
        budget: int = 16,
        batch_size: int | None = None,
        policy: str | None = None,
        model: str | None = None,
        judge_model: str | None = None,
        other_models: list[str] | None = None,
        seed: int | None = None,
        settings: dict[str, Any] | None = None,
        multiple_correct: bool = False,
    ) -> Solver:
        """Answer with a method of metascale.

        The options of a sample with `choices` are shown in the question, and the answer's are marked for `choice()`.

        Args:
            budget: answers to generate.
            batch_size: answers generated in parallel; None for rounds that double.
            policy: which meta-thoughts to sample from; None for the default.
            model: an Inspect model's name; None for the evaluation's model. `langgraph/servers` runs the method on
                servers, with these settings as its context.
            judge_model: an Inspect model that scores answers; None for `model`.
            other_models: further Inspect models that may answer, with the method `metascale`.
            seed: seed of the evaluation; each question and epoch derives its own.
            settings: other `MetaScaleSettings`, except a memory, because questions must be independent, and questions
                to people.
            multiple_correct: whether more than one of a sample's `choices` may be right.

        A run without an answer of the method, because requests failed, is a sample error of Inspect.

        Raises:
            SettingError: a memory is set, people would be asked, or servers with their own judge get another.
        """
        given = {"budget": budget, "batch_size": batch_size, "seed": seed, **(settings or {})}
        chosen = MetaScaleSettings.model_validate(given if policy is None else {"policy": policy, **given})
        if chosen.memory is not None:
            raise SettingError("questions of an evaluation are independent, so it takes no setting 'memory'")
        if chosen.review_pool or chosen.ask_for_budget:
            raise SettingError("an evaluation cannot ask people, so it takes no 'review_pool' and no 'ask_for_budget'")

        async def solve(state: TaskState, generate: Generate) -> TaskState:  # noqa: ARG001
            watch = current_watch()
            if watch is not None:
                watch.check()
            begin_run()
            asked = model_named(model)
            own = chosen.model_copy(update={"seed": derive_seed(seed, str(state.sample_id), state.epoch)})
            is_lettered = 0 < len(state.choices) <= LETTERS and not multiple_correct
            kind = wanted_kind()
            by_default = "choice" if is_lettered else chosen.answer_kind
            form = final_answers(kind or by_default, state.choices, state.metadata)
            if kind is not None:
                form.golds(state.target, state.sample_id)  # before anything is paid for
            if "answer_kind" not in chosen.model_fields_set:
                own = own.model_copy(update={"answer_kind": form.kind})
            show_choices(state, several=multiple_correct)
            if isinstance(asked.api, LangGraphServers):
                if judge_model is not None or other_models:
                    raise SettingError("servers have models of their own, so they take no judge_model or other_models")
                failure = await _solve_on_servers(state, asked, name, own, form)
            else:
                failure = await _solve_here(
                    state, [asked, *map(model_named, other_models or [])], name, own, form, judge_model
                )
            mark_choices(state, several=multiple_correct)
            if failure is not None:
                raise failure
            return state

        return solve

    return answer


async def _solve_on_servers(
    state: TaskState, asked: Model, name: str, own: MetaScaleSettings, form: FinalAnswers
) -> Exception | None:
    """Record a run on a fleet; returns why it failed, or None."""
    try:
        reply = await cast("LangGraphServers", asked.api).fleet.ask(name, as_sent(state.messages), context_of(own))
    except FleetError as error:
        watch = current_watch()
        if watch is not None:
            watch.refuse(str(error))
        raise
    problem = reply.problem or why_failed(reply.state)
    _record(state, reply.state, problem, own, form, model=str(asked), reply=reply)
    return RunFailedError(problem) if problem is not None else None


async def _solve_here(
    state: TaskState,
    models: Sequence[Model],
    name: str,
    own: MetaScaleSettings,
    form: FinalAnswers,
    judge_model: str | None,
) -> Exception | None:
    """Record a run in this process; returns why it failed or ended early, or None."""
    asked, *others = models
    chats, method = [_chat(model) for model in models], METHODS[name]
    parts: dict[str, Any] = {}
    if method.judged:
        parts["reward"] = reward_of(own, chats, _chat(model_named(judge_model)) if judge_model else None)
    journal = None if is_recorded(asked) else current_journal()
    graph = method.create(chats, settings=own, checkpointer=journal.saver if journal else None, **parts)
    messages = [to_langchain(message) for message in state.messages]
    try:
        if journal is None:
            run, problem = await run_once(graph, messages)
        else:
            said = [message.model_dump(mode="json", exclude={"id"}) for message in messages]
            deciding = [str(asked), asked.model_args, judge_model, *map(str, others)]
            known_by = name_of(name, _deciding(own), deciding, state.sample_id, state.epoch, said)
            run, problem = await run_on(graph, messages, journal, known_by)
    finally:
        hide_keys()
    problem = problem or why_failed(run)
    reward = parts.get("reward")
    judged = Scorer(reward).settings_for(own) if reward is not None else own
    _record(state, run, problem, judged, form, model=str(asked))
    exceeded = next((chat.exceeded for chat in chats if chat.exceeded is not None), None)
    if exceeded is not None:
        return exceeded
    return RunFailedError(problem) if problem is not None else None


SOLVERS = {name: _solver(name) for name in METHODS}


def _deciding(settings: MetaScaleSettings) -> dict[str, Any]:
    """The settings that decide an answer: all but how requests are sent and what they cost."""
    return settings.model_dump(mode="json", exclude=set(KEEPS_ANSWERS))


def _chat(model: Model) -> InspectChatModel:
    return InspectChatModel(inner=model, max_retries=None if current_watch() is None else 0)


def _record(
    state: TaskState,
    run: State,
    problem: str | None,
    settings: MetaScaleSettings,
    form: FinalAnswers,
    *,
    model: str,
    reply: FleetReply | None = None,
) -> None:
    """Store the answer and the run's record where Inspect scores and logs them."""
    result = run["result"]
    if result is None and problem is not None:
        try:
            result = conclude(run, "interrupted", settings)
        except MetaScaleError:
            result = None
    text = result["answer"] if result else ""
    notions = run["foresight"]["notions"] if run["foresight"] else []
    state.output = ModelOutput.from_content(model, text)
    state.messages.append(ChatMessageAssistant(content=text, model=model, source="generate"))
    state.store.set(
        RECORD,
        {
            "version": __version__,
            "usage": bill(run["usage"]),
            "reward": result["reward"] if result else None,
            "winner": result["candidate"] if result else None,
            "stop_reason": result["stop_reason"] if result else None,
            "finalists": result["finalists"] if result else [],
            "confidence": result["confidence"] if result else None,
            "foresight": result["foresight"] if result else None,
            "notes": [*(result["notes"] if result else run["notes"]), *(reply.notes if reply else ())],
            "problem": problem,
            "prices": {name: price.model_dump() for name, price in settings.prices.items()},
            **(_of_server(reply) if reply else {}),
            "pool": run["pool"],
            "candidates": [
                {key: value for key, value in c.items() if key != "critique"}
                | {"extracted": form.of(c["text"]), "notions": used(notions, c["text"])}
                for c in sorted(run["candidates"], key=lambda c: c["id"])
            ],
        },
    )


def _of_server(reply: FleetReply) -> dict[str, Any]:
    """Which server answered, and whether it used the offline model, which says so in every answer."""
    return {"server": reply.server, "simulated": any(NOTICE in c["text"] for c in reply.state["candidates"])}
