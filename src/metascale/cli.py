"""The command line."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import ValidationError
from rich.console import Console
from rich.live import Live

from metascale.errors import MetaScaleError, ModelSetupError, QuestionError, UnknownNameError, describe
from metascale.graphs import METHODS, Method
from metascale.live import view
from metascale.models import resolve_model
from metascale.models.resolve import SIMULATION_NOTICE, model_or_simulation
from metascale.pool import arm_statistics
from metascale.rewards import JudgeReward
from metascale.session import Ended, Session, ThreadError, empty_state
from metascale.settings import MetaScaleSettings
from metascale.state import State

FAILED, WRONG_USAGE = 1, 2
ONLY_THREAD = "run"

app = typer.Typer(
    help="Let a chat model choose how to think before it answers (METASCALE).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class UsageError(MetaScaleError, ValueError):
    """The command line does not make sense."""


def main() -> None:
    """Run the command line."""
    app()


@app.callback()
def _commands() -> None:
    """Let a chat model choose how to think before it answers (METASCALE)."""


@app.command()
def solve(
    question: Annotated[str, typer.Argument(help="What to answer; '-' reads it from standard input.")],
    method: Annotated[str, typer.Option(help=f"{', '.join(METHODS)}.")] = "metascale",
    model: Annotated[
        str | None, typer.Option(help="openai:NAME, simulated, … (default: METASCALE_MODEL, else simulated).")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server for openai:NAME models, judge included.")
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="Model that scores answers (default: the same).")] = None,
    budget: Annotated[int | None, typer.Option(help="Answers to generate.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Answers generated in parallel.")] = None,
    policy: Annotated[str | None, typer.Option(help="ucb, softmax or round_robin.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the run repeatable, as far as the model allows.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be repeated."),
    ] = None,
    db: Annotated[Path | None, typer.Option(help="SQLite file that keeps runs; goes with --thread.")] = None,
    thread: Annotated[str | None, typer.Option(help="Name of the run in --db: an interrupted one continues.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no notices.")] = False,
) -> None:
    """Answer one question. The answer goes to standard output, everything else to standard error.

    Exit codes: 0 answered, 1 the run failed, 2 wrong usage. Ctrl-C ends a run with the best answer so far.
    """
    console = Console(stderr=True)
    try:
        given = {"budget": budget, "batch_size": batch_size, "policy": policy, "seed": seed}
        settings = _settings(given, setting or [])
        chosen = _method(method)
        if chosen.one_pass:
            settings = settings.model_copy(update={"budget": 1})
        if judge_model is not None and not chosen.judged:
            raise UsageError(f"method {method!r} scores nothing, so it takes no --judge-model")
        if (db is None) != (thread is None):
            raise UsageError("--db and --thread go together")
        if db is not None:
            _check_database(db)
        name, simulated_by_default = model_or_simulation(model)
        if simulated_by_default and not quiet:
            console.print(SIMULATION_NOTICE, style="yellow", soft_wrap=True)
        ended = asyncio.run(
            _solve(
                _question(question),
                settings,
                method=method,
                models=(name, judge_model, base_url),
                place=(db, thread),
                console=console if console.is_terminal and not quiet else None,
            )
        )
    except (
        UsageError,
        UnknownNameError,
        QuestionError,
        ModelSetupError,
        ThreadError,
        ValidationError,
    ) as error:
        _fail(console, error, WRONG_USAGE)
    except sqlite3.Error as error:
        _fail(console, UsageError(f"the database {str(db)!r} cannot be used: {error}"), WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        _fail(console, error, FAILED)
    else:
        if ended.result["stop_reason"] == "interrupted" and db is not None and not quiet:
            console.print("Interrupted; the same command continues the run.", style="yellow")
        _report(ended, console, as_json=as_json, quiet=quiet)


@app.command(name="graph")
def draw(
    name: Annotated[str, typer.Argument(help="Which graph.")] = "metascale",
) -> None:
    """Print a graph as Mermaid text."""
    try:
        create = _method(name).create
    except UnknownNameError as error:
        _fail(Console(stderr=True), error, WRONG_USAGE)
    typer.echo(create("simulated").get_graph().draw_mermaid())


def _method(name: str) -> Method:
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]


def _settings(given: dict[str, Any], others: list[str]) -> MetaScaleSettings:
    """The settings that the command line names; values of `--set` are JSON, or else plain text."""
    values = {name: value for name, value in given.items() if value is not None}
    for text in others:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set takes NAME=VALUE, not {text!r}")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return MetaScaleSettings(**values)


def _check_database(path: Path) -> None:
    """Make sure that a database can be opened and written.

    Raises:
        sqlite3.Error: it cannot.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("begin immediate")
        database.execute("rollback")


def _question(text: str) -> str:
    if text == "-":
        try:
            text = sys.stdin.buffer.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise QuestionError("the question is not valid UTF-8") from error
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise QuestionError("the question is not valid UTF-8")
    return text


async def _solve(
    question: str,
    settings: MetaScaleSettings,
    *,
    method: str,
    models: tuple[str, str | None, str | None],
    place: tuple[Path | None, str | None],
    console: Console | None,
) -> Ended:
    name, judge_name, base_url = models
    db, thread = place
    model = resolve_model(name, base_url=base_url)
    parts: dict[str, Any] = {"settings": settings}
    if judge_name is not None:
        judge_url = base_url if judge_name.startswith("openai:") else None
        parts["reward"] = JudgeReward(resolve_model(judge_name, base_url=judge_url))
    async with AsyncExitStack() as stack:
        checkpointer: BaseCheckpointSaver[str] = InMemorySaver()
        if db is not None:
            from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver  # noqa: PLC0415  only where it is used

            checkpointer = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(db)))
        graph = METHODS[method].create(model, **parts, checkpointer=checkpointer)
        session = Session(graph, settings, thread or ONLY_THREAD, method=method, model=name, judge_model=judge_name)
        live = stack.enter_context(Live(console=console, refresh_per_second=8)) if console else None

        def watch(state: State) -> None:
            if live is not None:
                live.update(view(state, settings))

        watch(empty_state())
        return await session.solve(question, watch)


def _report(ended: Ended, console: Console, *, as_json: bool, quiet: bool) -> None:
    result = ended.result
    if not quiet:
        if ended.stored:
            console.print("This thread has answered the question before; nothing was spent now.", style="yellow")
        for note in result["notes"]:
            console.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    if as_json:
        sys.stdout.write(json.dumps(_as_json(ended), ensure_ascii=False) + "\n")
    else:
        typer.echo(result["answer"])


def _as_json(ended: Ended) -> dict[str, Any]:
    """What `--json` prints: the result, with every arm's statistics and every sample."""
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
    return {**ended.result, "pool": arms, "candidates": sorted(candidates, key=lambda c: c["id"])}


def _fail(console: Console, error: BaseException, code: int) -> NoReturn:
    console.print(f"metascale: {describe(error)}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
