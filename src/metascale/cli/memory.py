"""`metascale memory`: look at a strategy memory, tell it how good an answer was, export it, or forget it."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metascale.cli.options import WRONG_USAGE, counted, fail
from metascale.errors import MetaScaleError
from metascale.memory.explained import Believed, explain
from metascale.memory.store import Remembered, StrategyMemory
from metascale.pool.parts import ArmKey
from metascale.runtime.databases import check_database, failure_of, is_postgres, open_store

DEFAULT_NAME = "default"
SHOWN = 20
BEST = 3
"""Arms that are shown of each kind of task."""
T = TypeVar("T")

Where = Annotated[
    str, typer.Argument(metavar="FILE|URL", help="The SQLite file or postgresql://… of `metascale solve --memory`.")
]
Name = Annotated[str, typer.Option("--name", help="Name of the memory, such as a user or a project.")]


def show(where: Where, name: Name = DEFAULT_NAME) -> None:
    """Show the latest runs, and which meta-thoughts are believed to be good at which kinds of task."""
    found = _runs(where, name)
    console = Console()
    if not found:
        console.print(Text(f"nothing is remembered under the name {name!r}"))
        return
    runs = list(found.items())
    table = Table(
        "run", "when", "task", "winner", title=f"{counted(len(runs), 'run')}, the latest {min(SHOWN, len(runs))}"
    )
    for key, run in runs[-SHOWN:]:
        winner = _named(run.winner or "", run.names)
        table.add_row(key[:8], f"{run.at:%Y-%m-%d %H:%M}", Text(" ".join(run.task.split())[:60]), Text(winner[:60]))
    console.print(table)
    known = [(run.task, episode) for run in found.values() if (episode := run.episode()).records]
    if not known:
        return
    names = {key: name for run in found.values() for key, name in run.names.items()}
    told = explain([task for task, _ in known], [episode for _, episode in known])
    table = Table("arm", "runs", "a sample earns (95 %)", title="All kinds of task")
    for one in told.everywhere[:SHOWN]:
        table.add_row(*_believed(one, names))
    console.print(table)
    table = Table("kind of task", "its runs", "arm", "runs", "a sample earns (95 %)", title="Kinds of task")
    for kind in told.kinds[:SHOWN]:
        for place, one in enumerate(kind.arms[:BEST]):
            first = (" ".join(kind.words) or "(no common words)", f"{kind.runs:,}") if place == 0 else ("", "")
            table.add_row(Text(first[0]), first[1], *_believed(one, names))
    console.print(table)


def _believed(one: Believed, names: Mapping[str, str]) -> tuple[Text, str, str]:
    return Text(_named(one.arm, names)), f"{one.runs:,}", f"{one.mean:.2f} ({one.low:.2f} to {one.high:.2f})"


def _named(key: str, names: Mapping[str, str]) -> str:
    """An arm for people: its model and its meta-thought."""
    arm = ArmKey.of(key)
    name = names.get(key, names.get(arm.thought, arm.thought))[:60]
    return f"{arm.model}: {name}" if arm.model else name


def feedback(
    where: Where,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="Its key, or the beginning of it; `show` prints it, and `solve --json` as `memory_run`."
        ),
    ],
    score: Annotated[
        float, typer.Argument(metavar="SCORE", min=0, max=1, help="How good its answer was: 0 is wrong, 1 is right.")
    ],
    name: Name = DEFAULT_NAME,
) -> None:
    """Tell the memory how good the answer of a run was."""
    _runs(where, name)

    async def work() -> str:
        async with open_store(where) as store:
            return await StrategyMemory(store, name).feedback(run, score)

    key = _done(work, where)
    Console(stderr=True).print(f"run {key[:8]} now has the verdict {score:g}")


def export(where: Where, name: Name = DEFAULT_NAME) -> None:
    """Print every remembered run as one JSON object a line, from old to new."""
    for run in _runs(where, name).values():
        sys.stdout.write(run.model_dump_json() + "\n")


def forget(
    where: Where,
    name: Name = DEFAULT_NAME,
    run: Annotated[
        str | None, typer.Option(help="Only the run whose key starts with this; `show` prints the keys.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Forget without asking.")] = False,
) -> None:
    """Forget one run, or all runs of a memory."""
    keys = [key for key in _runs(where, name) if run is None or key.startswith(run)]
    if run is not None and len(keys) != 1:
        fail(MetaScaleError(f"{run!r} must match one key, and matches {len(keys)}"), WRONG_USAGE)
    if keys and not yes:
        typer.confirm(f"Forget {counted(len(keys), 'run')}?", abort=True, err=True)

    async def work() -> None:
        async with open_store(where) as store:
            for key in keys:
                await StrategyMemory(store, name).forget(key)

    _done(work, where)
    Console(stderr=True).print(f"forgot {counted(len(keys), 'run')}")


def _done(work: Callable[[], Coroutine[Any, Any, T]], where: str) -> T:
    """Change a memory, or end the command with a line that says why it cannot be changed."""
    try:
        check_database(where)
        return asyncio.run(work())
    except Exception as error:
        failure = error if isinstance(error, MetaScaleError) else failure_of(error, where)
        if failure is None:
            raise
        fail(failure, WRONG_USAGE)


def _runs(where: str, name: str) -> dict[str, Remembered]:
    async def work() -> dict[str, Remembered]:
        async with open_store(where) as store:
            return await StrategyMemory(store, name).runs()

    try:
        if is_postgres(where):
            check_database(where)
        elif not Path(where).is_file():
            fail(MetaScaleError(f"no such file: {where!r}"), WRONG_USAGE)
        return asyncio.run(work())
    except sqlite3.Error as error:
        fail(MetaScaleError(f"{where!r} cannot be read as a memory: {error}"), WRONG_USAGE)
    except MetaScaleError as error:
        fail(error, WRONG_USAGE)
