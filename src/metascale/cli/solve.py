"""`metascale solve`: answer one question."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import ValidationError
from rich.console import Console

from metascale.batches.estimate import PricedModels, estimate
from metascale.batches.limits import SharedLimits
from metascale.budget.rounds import widest_round
from metascale.choice.automatic import decided_beforehand
from metascale.cli.dialogue import Dialogue, pool_table
from metascale.cli.estimates import DryRun, tell_estimate
from metascale.cli.live import Frame, LiveView
from metascale.cli.loading import load_files
from metascale.cli.log_view import LogView
from metascale.cli.memory import DEFAULT_NAME
from metascale.cli.options import (
    FAILED,
    WAITING,
    WRONG_USAGE,
    AsJson,
    Models,
    OtherSettings,
    Preset,
    UsageError,
    fail,
    method_named,
    preset_values,
    read_settings,
)
from metascale.cli.picture import check_writable, write_svg
from metascale.cli.session import Ended, Question, Session, WaitingError
from metascale.cli.threads import Remembered, recall
from metascale.errors import (
    ModelSetupError,
    QuestionError,
    SettingError,
    ThreadError,
    UnknownNameError,
    describe,
)
from metascale.graphs import METHODS
from metascale.interrupts import AnswerError, Grant, granted_samples
from metascale.models import MeteredModel, resolve_model, resolve_models
from metascale.models.lineup import names_in
from metascale.models.resolve import SIMULATION_NOTICE, model_or_simulation, shown_name
from metascale.models.simulated import knows
from metascale.nodes.remember import remembered_as
from metascale.pool.admission import arm_statistics
from metascale.question import check_question
from metascale.result import troubles
from metascale.rewards import models_of, reward_of
from metascale.runtime.databases import (
    SERIALIZER,
    DatabaseError,
    check_database,
    failure_of,
    open_checkpointer,
    open_store,
)
from metascale.settings import MetaScaleSettings, PolicyName, RewardName
from metascale.state import State

ONLY_THREAD = "run"
DEMO_LATENCY = 0.35
"""Seconds that a request of the offline model takes where nobody named it and a person watches. Not tuned."""
UNKNOWN_QUESTION = (
    "No model is named, and the offline simulation cannot answer this: it knows only the questions that ship with "
    "metascale. What follows shows a search, not an answer. To have it answered, name a model: --model gguf:FILE (a "
    "model file on this machine), --model openai:NAME --base-url http://localhost:11434/v1 (Ollama), or --model "
    "openai:NAME with OPENAI_API_KEY set."
)
SIMULATED = "SIMULATION: no language model was asked"
DEFAULT_METHOD = "metascale"


def solve(
    question: Annotated[
        str | None,
        typer.Argument(
            help="What to answer; '-' reads it from standard input. Without it the run of --thread continues."
        ),
    ] = None,
    method: Annotated[str | None, typer.Option(help=f"{', '.join(METHODS)} (default: metascale).")] = None,
    models: Models = None,
    base_url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server for openai:NAME models, judge included.")
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="Model that scores answers (default: the same).")] = None,
    budget: Annotated[int | None, typer.Option(help="Answers to generate.")] = None,
    max_cost_usd: Annotated[
        float | None, typer.Option(metavar="USD", help="US dollars that the run may cost, with models of known price.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Answers generated in parallel.")] = None,
    policy: Annotated[str | None, typer.Option(help=f"How to search: {', '.join(get_args(PolicyName))}.")] = None,
    reward: Annotated[str | None, typer.Option(help=f"What scores answers: {', '.join(get_args(RewardName))}.")] = None,
    foresee: Annotated[
        bool,
        typer.Option("--foresee", help="First predict pass rate, length and key concepts, and set the budget by them."),
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of the run; models without a seed stay random.")] = None,
    preset: Preset = None,
    setting: OtherSettings = None,
    db: Annotated[
        str | None,
        typer.Option(metavar="FILE|URL", help="SQLite file or postgresql://… that stores runs; needs --thread."),
    ] = None,
    thread: Annotated[
        str | None, typer.Option(help="Name of the run in --db: it continues with its question, models and settings.")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            help="SQLite file or postgresql://… of a strategy memory: learn from its runs, and add this run.",
        ),
    ] = None,
    memory_name: Annotated[
        str, typer.Option(help="Name of the memory within --memory, such as a user or a project.")
    ] = DEFAULT_NAME,
    review_pool: Annotated[
        bool, typer.Option("--review-pool", help="Review and edit the meta-thoughts before the first sample.")
    ] = False,
    pool: Annotated[
        Path | None, typer.Option(help='The review as JSON: "accept", or what to drop, change and add.')
    ] = None,
    ask_for_budget: Annotated[
        bool, typer.Option("--ask-for-budget", help="Ask for more once the budget or the money is spent.")
    ] = False,
    more: Annotated[
        int | None, typer.Option(help="Samples to add to the run in --db, which has finished or asks for more.")
    ] = None,
    more_usd: Annotated[
        float | None,
        typer.Option(metavar="USD", help="US dollars to add to the run in --db, which has finished or asks for more."),
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Draw the final view of the search into this file.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress and no notices.")] = False,
) -> None:
    """Answer one question. The answer goes to standard output, everything else to standard error.

    A thread remembers its question, method, models and settings; what the command line says goes first.

    Exit codes: 0 answered, 1 the run failed, 2 wrong usage, 3 the run waits in --db for an answer. Ctrl-C ends a run
    with the best answer so far.
    """
    console = Console(stderr=True)
    try:
        if (db is None) != (thread is None):
            raise UsageError("--db and --thread go together")
        if svg is not None:
            check_writable(svg)
        before = recall(db, thread) if db is not None and thread is not None else Remembered()
        asked = _question(question, before, thread)
        said = {
            "method": method,
            "model": ",".join(models or []) or None,
            "judge_model": judge_model,
            "base_url": base_url,
            "memory": memory,
        }
        parts = _parts(said, before)
        method, memory = parts["method"] or DEFAULT_METHOD, parts["memory"]
        given: dict[str, Any] = {
            "budget": budget,
            "batch_size": batch_size,
            "policy": policy,
            "reward": reward,
            "seed": seed,
            "max_cost_usd": max_cost_usd,
            "memory": memory_name if said["memory"] is not None else None,
            "foresee": foresee or None,
            "review_pool": review_pool or pool is not None or None,
            "ask_for_budget": ask_for_budget or None,
        }
        kept = before.settings if method == before.parts.get("method", method) else {}
        settings = read_settings(kept | preset_values(preset), given, setting or [])
        unused = 1
        if method_named(method).one_pass:
            unused = settings.budget if "budget" in settings.model_fields_set else 1
            settings = settings.model_copy(update={"budget": 1})
        is_judged = parts["judge_model"] is not None or reward is not None
        granted = _granted(more, more_usd)
        _check_method(method, settings, judged=is_judged, memory=memory, more=granted)
        at_terminal = console.is_terminal and sys.stdin.isatty() and question != "-"
        _check_answers(settings, db, pool, granted, at_terminal=at_terminal)
        if unused > 1 and not quiet:
            _tell_unused(method, unused, console)
        dialogue = Dialogue(settings, console if at_terminal else None, _review(pool))
        for where in (db, memory):
            if where is not None:
                check_database(where)
        name, _ = model_or_simulation(parts["model"])
        simulated_by_default = name == "simulated" and model_or_simulation(said["model"])[1]
        if simulated_by_default and not quiet:
            _print_notice(asked, console)
        judge_name = parts["judge_model"] if METHODS[method].judged else None
        latency = DEMO_LATENCY if simulated_by_default and console.is_terminal and not quiet else 0.0
        load_files(None if quiet else console, *names_in(name), judge_name, at_once=widest_round(settings))
        chats, judge = _models(name, judge_name, parts["base_url"], settings, latency=latency)
        if dry_run:
            return _tell_cost(asked, settings, method, (chats, judge), console)
        ended = asyncio.run(
            _solve(
                asked,
                settings,
                method=method,
                models=(chats, judge),
                command={**parts, "method": method, "model": name},
                place=(db, thread),
                memory=memory,
                console=None if quiet else console,
                dialogue=dialogue,
                more=granted,
            )
        )
    except (
        UsageError,
        UnknownNameError,
        QuestionError,
        ModelSetupError,
        SettingError,
        ThreadError,
        AnswerError,
        DatabaseError,
        ValidationError,
    ) as error:
        fail(error, WRONG_USAGE)
    except WaitingError as error:
        _report_question(error.question, console, as_json=as_json, quiet=quiet)
        fail(error, WAITING)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        fail(failure_of(error, db, memory) or error, FAILED)
    else:
        _report(ended, console, as_json=as_json, quiet=quiet, is_kept=db is not None, remembers=memory is not None)
        _draw_view(ended, settings, shown_name(name), svg)


def _tell_unused(method: str, budget: int, console: Console) -> None:
    notice = f"The method {method!r} gives one answer, so the budget of {budget} is not used."
    console.print(notice, style="yellow", highlight=False, soft_wrap=True)


def _tell_cost(
    question: str,
    settings: MetaScaleSettings,
    method: str,
    models: tuple[Sequence[BaseChatModel], BaseChatModel | None],
    console: Console,
) -> None:
    solvers, judge = models
    sys.path.insert(0, str(Path.cwd()))  # a user's verifier is imported from here
    reward = reward_of(settings, solvers, judge) if METHODS[method].judged else None
    settings = decided_beforehand(settings, may_vote=reward is None)
    asked = PricedModels.of([*map(MeteredModel, solvers)], models_of(reward) if reward is not None else (), settings)
    tell_estimate(estimate([question], settings, SharedLimits(), method, asked), console, with_parts=True)


def _granted(samples: int | None, usd: float | None) -> Grant | None:
    """What the options grant; None without them."""
    if samples is None and usd is None:
        return None
    return Grant(samples=granted_samples(samples), usd=usd or 0.0)


def _check_method(
    method: str, settings: MetaScaleSettings, *, judged: bool, memory: str | None, more: Grant | None
) -> None:
    """Check that the method supports what is asked of it."""
    if settings.memory is not None and (memory is None or method != "metascale"):
        raise UsageError("a strategy memory needs --memory FILE and the method 'metascale'")
    if settings.foresee and method != "metascale":
        raise UsageError(f"method {method!r} makes no predictions: --foresee needs the method 'metascale'")
    if judged and not METHODS[method].judged:
        raise UsageError(f"method {method!r} scores nothing, so it takes no --judge-model and no --reward")
    if method != "metascale" and (settings.review_pool or settings.ask_for_budget or more is not None):
        raise UsageError("only the method 'metascale' supports --review-pool, --ask-for-budget, --more and --more-usd")


def _check_answers(
    settings: MetaScaleSettings, db: str | None, pool: Path | None, more: Grant | None, *, at_terminal: bool
) -> None:
    """Check that questions of the run can be answered, now or later."""
    if db is not None:
        return
    if more is not None:
        raise UsageError("--more needs --db and --thread, which hold the run to continue; so does --more-usd")
    waits = {"--review-pool": settings.review_pool and pool is None, "--ask-for-budget": settings.ask_for_budget}
    for name, is_wanted in waits.items():
        if is_wanted and not at_terminal:
            raise UsageError(f"{name} needs a terminal, or --db and --thread to wait in")


def _review(file: Path | None) -> Any:
    """The pool review in a file; None without a file."""
    if file is None:
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--pool: the file cannot be read: {describe(error)}") from error


def _parts(said: Mapping[str, str | None], before: Remembered) -> dict[str, str | None]:
    """The parts of the command: as it says, else as the thread remembers. Another model has another address."""
    is_other = said["model"] is not None and said["model"] != before.parts.get("model")
    left_out = {"base_url"} if is_other else set()
    return {
        name: part if part is not None or name in left_out else before.parts.get(name) for name, part in said.items()
    }


def _question(text: str | None, before: Remembered, thread: str | None) -> str:
    """The question of the command line, or that of the thread if there is none."""
    if text is None:
        if before.question is None and thread is not None:
            raise ThreadError(f"thread {thread!r} holds no run; ask a question to begin one")
        if before.question is None:
            raise UsageError("there is no question: ask one, or continue a run with its --db and --thread")
        return before.question
    if text == "-":
        try:
            text = sys.stdin.buffer.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise QuestionError("the question is not valid UTF-8") from error
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise QuestionError("the question is not valid UTF-8")
    return text


def _models(
    name: str, judge_name: str | None, base_url: str | None, settings: MetaScaleSettings, *, latency: float
) -> tuple[list[BaseChatModel], BaseChatModel | None]:
    """The models, and a judge of its own if one is named; the offline model takes `latency` seconds for a request."""
    models = resolve_models(name, base_url=base_url, at_once=widest_round(settings))
    if latency:
        models = [model.model_copy(update={"latency": latency}) for model in models]
    if judge_name is None:
        return models, None
    judge_url = base_url if judge_name.startswith("openai:") else None
    return models, resolve_model(judge_name, base_url=judge_url, at_once=widest_round(settings))


async def _solve(
    question: str,
    settings: MetaScaleSettings,
    *,
    method: str,
    models: tuple[list[BaseChatModel], BaseChatModel | None],
    command: Mapping[str, str | None],
    place: tuple[str | None, str | None],
    memory: str | None,
    console: Console | None,
    dialogue: Dialogue,
    more: Grant | None,
) -> Ended:
    check_question([HumanMessage(question)], settings.max_question_chars)
    chats, judge = models
    db, thread = place
    parts: dict[str, Any] = {"settings": settings}
    if METHODS[method].judged:
        sys.path.insert(0, str(Path.cwd()))  # a user's verifier is imported from here
        parts["reward"] = reward_of(settings, chats, judge)
    async with AsyncExitStack() as stack:
        checkpointer: BaseCheckpointSaver[str] = InMemorySaver(serde=SERIALIZER)
        if db is not None:
            checkpointer = await stack.enter_async_context(open_checkpointer(db))
        if memory is not None:
            parts["store"] = await stack.enter_async_context(open_store(memory))
        graph = METHODS[method].create(chats, **parts, checkpointer=checkpointer)
        shown = {key: named and shown_name(named) for key in ("model", "judge_model") for named in [command[key]]}
        session = Session(
            graph, settings, thread or ONLY_THREAD, reward=parts.get("reward"), command=command, method=method, **shown
        )
        if console is None:
            return await session.solve(question, lambda _: None, dialogue, more=more)
        note = _note(str(command["model"]))
        if not console.is_terminal:
            log = LogView(console, settings, note=note)
            ended = await session.solve(question, log.watch, dialogue, more=more, at_work=log.at_work)
            if not ended.stored:
                log.end(ended.result)
            return ended
        live = stack.enter_context(LiveView(console, settings, note=note))
        dialogue.live = live
        ended = await session.solve(question, live.watch, dialogue, more=more, at_work=live.at_work)
        live.end(ended.state, ended.result)
        return ended


def _print_notice(question: str, console: Console) -> None:
    notice = SIMULATION_NOTICE if knows(question) else UNKNOWN_QUESTION
    console.print(notice, style="yellow", highlight=False, soft_wrap=not console.is_terminal)


def _note(model: str) -> str:
    return SIMULATED if model.startswith("simulated") else ""


def _report(ended: Ended, console: Console, *, as_json: bool, quiet: bool, is_kept: bool, remembers: bool) -> None:
    result = ended.result
    if not quiet:
        if result["stop_reason"] == "interrupted" and is_kept:
            console.print("Interrupted; the same command continues the run.", style="yellow")
        if ended.stored:
            console.print("This thread has already answered the question; nothing was spent.", style="yellow")
        for note in troubles(result["notes"]):
            console.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    if as_json:
        sys.stdout.write(json.dumps(_as_json(ended, remembers=remembers), ensure_ascii=False) + "\n")
    else:
        typer.echo(result["answer"])


def _report_question(question: Question, console: Console, *, as_json: bool, quiet: bool) -> None:
    """Show the open question of a run."""
    if as_json:
        sys.stdout.write(json.dumps({"waits_for": question}, ensure_ascii=False) + "\n")
    elif question["asks"] == "review_pool" and not quiet:
        console.print(pool_table(question["pool"]))


def _draw_view(ended: Ended, settings: MetaScaleSettings, model: str, file: Path | None) -> None:
    if file is not None:
        frame = Frame(ended.state, settings, result=ended.result, note=_note(model))
        try:
            write_svg(frame, f"metascale solve ({_note(model) or model})", file)
        except OSError as error:
            fail(error, FAILED)


def _as_json(ended: Ended, *, remembers: bool) -> dict[str, Any]:
    """What `--json` prints: the result, with every arm's statistics and every sample, and the run's key in a memory."""
    pool, candidates = ended.state["pool"], ended.state["candidates"]
    arms = [
        {
            **thought,
            "pulls": arm.pulls,
            "mean_reward": sum(arm.rewards) / len(arm.rewards) if arm.rewards else None,
            "best_reward": max(arm.rewards, default=None),
        }
        for thought, arm in zip(pool, arm_statistics(pool, candidates), strict=True)
    ]
    result: dict[str, Any] = {**ended.result}
    if remembers and ended.result["stop_reason"] != "interrupted":
        asked: State = {**ended.state, "messages": ended.state["messages"][:-1]}
        result["memory_run"] = remembered_as(asked, ended.result)
    return {**result, "pool": arms, "candidates": sorted(candidates, key=lambda c: c["id"])}
