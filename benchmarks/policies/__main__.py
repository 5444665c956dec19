"""Policies compared on simulated tasks with hidden qualities.

python -m benchmarks.policies --help
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from benchmarks.policies.contest import contest, evolution_rows, quality_rows, run, share_rows
from benchmarks.policies.entrants import TREEQUEST, TREEQUEST_MISSING
from benchmarks.policies.tables import show_evolution, show_qualities, show_shares
from metascale.cli.options import FAILED, WRONG_USAGE, AsJson, UsageError, fail
from metascale.errors import MetaScaleError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def compare(
    tasks: Annotated[
        int | None, typer.Option(min=2, help="Tasks of each landscape (default: 3000; with --calls 500).")
    ] = None,
    budget: Annotated[list[int] | None, typer.Option(help="Pulls; repeat for more (default: 8 16 32 64 128).")] = None,
    calls: Annotated[
        list[int] | None, typer.Option(help="Instead, equal calls, second looks included; repeat for more.")
    ] = None,
    policy: Annotated[list[str] | None, typer.Option(help="Policies; repeat for more (default: all).")] = None,
    confirm: Annotated[
        list[str] | None, typer.Option(help="With --calls: policies that also look twice (default: upper_tail).")
    ] = None,
    landscape: Annotated[
        list[str] | None,
        typer.Option("--setting", metavar="SPREAD,LOW,HIGH,NOISE", help="Your own landscapes instead of the seven."),
    ] = None,
    evolution: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DELTA,SIGMA",
            help="With --calls: also evolve, to children better than their best parent by DELTA, spread SIGMA.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pulls planned at a time (default: 1; with --evolution 4).")
    ] = None,
    treequest_tasks: Annotated[
        int, typer.Option(min=0, help="Tasks of each landscape for TreeQuest's AB-MCTS-A, which is slow; 0 for none.")
    ] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Draws the tasks.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes at work.")] = os.cpu_count() or 1,
    as_json: AsJson = False,
) -> None:
    """Compare policies on simulated tasks with hidden qualities. A SIMULATION: no model is asked.

    Each policy is measured between uniform choice and an oracle that knows the arms.
    """
    console = Console(stderr=True)
    try:
        if calls and budget:
            raise UsageError("--calls and --budget exclude each other")
        if (confirm or evolution) and not calls:
            raise UsageError(f"--{'confirm' if confirm else 'evolution'} goes with --calls")
        if calls and any(number < 2 or number % 2 for number in calls):
            raise UsageError("--calls takes even numbers from 2: a sample and its score are two calls")
        played = contest(
            budgets=[number // 2 for number in calls] if calls else budget or [8, 16, 32, 64, 128],
            tasks=tasks or (500 if calls else 3_000),
            policies=policy or [],
            settings=landscape or [],
            batch_size=batch_size or (4 if evolution else 1),
            seed=seed,
            treequest_tasks=0 if calls else treequest_tasks,
            confirm=(confirm or ["upper_tail"]) if calls else [],
            evolution=evolution or [],
        )
        with console.status("playing …"):
            results = run(played, processes)
        if calls:
            qualities = quality_rows(played, results)
            evolved = evolution_rows(played, results)
        else:
            shares = share_rows(played, results)
    except (MetaScaleError, ValidationError) as error:
        fail(error, WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        fail(error, FAILED)
    wanted = TREEQUEST if treequest_tasks and not calls else {}
    missing = {name: TREEQUEST_MISSING for name in wanted if name not in played.entrants}
    if as_json:
        found: dict[str, Any] = {"simulation": True, "tasks": played.tasks, "seed": seed}
        found["batch_size"] = played.batch_size
        found |= {"calls": sorted(set(calls))} if calls else {"budgets": list(played.budgets)}
        found |= {"rows": [asdict(row) for row in (qualities if calls else shares)], "missing": missing}
        if evolution:
            found["evolution"] = [asdict(row) for row in evolved]
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    elif calls:
        show_qualities(played, qualities, Console())
        show_evolution(played, evolved, Console())
    else:
        show_shares(played, shares, missing, Console())


if __name__ == "__main__":
    app()
