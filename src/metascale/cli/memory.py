"""`metascale memory`: look at a strategy memory, export it, or forget it."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections import Counter, defaultdict
from pathlib import Path
from statistics import fmean
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metascale.cli.options import WRONG_USAGE, counted, fail
from metascale.errors import MetaScaleError
from metascale.memory.store import Remembered, StrategyMemory
from metascale.runtime.databases import check_database, failure_of, is_postgres, open_store

DEFAULT_NAME = "default"
SHOWN = 20

Where = Annotated[
    str, typer.Argument(metavar="FILE|URL", help="The SQLite file or postgresql://… of `metascale solve --memory`.")
]
Name = Annotated[str, typer.Option("--name", help="Name of the memory, such as a user or a project.")]


def show(where: Where, name: Name = DEFAULT_NAME) -> None:
    """Show the latest runs, and what the meta-thoughts earned in all runs."""
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
        winner = run.names.get(run.winner or "", "")
        table.add_row(key[:8], f"{run.at:%Y-%m-%d %H:%M}", Text(" ".join(run.task.split())[:60]), Text(winner[:40]))
    console.print(table)
    earned, names, won = defaultdict(list), dict[str, str](), Counter(run.winner for run in found.values())
    for run in found.values():
        names |= run.names
        for key, record in run.records.items():
            earned[key].append(record.mean)
    table = Table("meta-thought", "runs", "mean reward", "won", title="Meta-thoughts")
    for key in sorted(earned, key=lambda key: -len(earned[key]))[:SHOWN]:
        means = earned[key]
        table.add_row(Text(names.get(key, key)[:60]), f"{len(means):,}", f"{fmean(means):.2f}", f"{won[key]:,}")
    console.print(table)


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

    try:
        check_database(where)
        asyncio.run(work())
    except Exception as error:
        failure = error if isinstance(error, MetaScaleError) else failure_of(error, where)
        if failure is None:
            raise
        fail(failure, WRONG_USAGE)
    Console(stderr=True).print(f"forgot {counted(len(keys), 'run')}")


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
