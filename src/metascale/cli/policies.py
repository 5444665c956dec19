"""`metascale bench replay` and `metascale bench memory`: policies and memories on recorded answers."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from metascale.cli.options import FAILED, WRONG_USAGE, AsJson, UsageError, fail
from metascale.errors import (
    MetaScaleError,
    UnknownNameError,
)
from metascale.memory.embeddings import EMBEDDINGS


def policies_bench(
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
        from metascale.evals.policies import contest as policy_bench  # noqa: PLC0415  where it is used
        from metascale.evals.policies import entrants as policy_entrants  # noqa: PLC0415
        from metascale.evals.policies import tables as policy_tables  # noqa: PLC0415

        if calls and budget:
            raise UsageError("--calls and --budget exclude each other")
        if (confirm or evolution) and not calls:
            raise UsageError(f"--{'confirm' if confirm else 'evolution'} goes with --calls")
        if calls and any(number < 2 or number % 2 for number in calls):
            raise UsageError("--calls takes even numbers from 2: a sample and its score are two calls")
        played = policy_bench.contest(
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
            results = policy_bench.run(played, processes)
        if calls:
            qualities = policy_bench.quality_rows(played, results)
            evolved = policy_bench.evolution_rows(played, results)
        else:
            shares = policy_bench.share_rows(played, results)
    except (MetaScaleError, ValidationError) as error:
        fail(error, WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        fail(error, FAILED)
    wanted = policy_entrants.TREEQUEST if treequest_tasks and not calls else {}
    missing = {name: policy_entrants.TREEQUEST_MISSING for name in wanted if name not in played.entrants}
    if as_json:
        found: dict[str, Any] = {"simulation": True, "tasks": played.tasks, "seed": seed}
        found["batch_size"] = played.batch_size
        found |= {"calls": sorted(set(calls))} if calls else {"budgets": list(played.budgets)}
        found |= {"rows": [asdict(row) for row in (qualities if calls else shares)], "missing": missing}
        if evolution:
            found["evolution"] = [asdict(row) for row in evolved]
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    elif calls:
        policy_tables.show_qualities(played, qualities, Console())
        policy_tables.show_evolution(played, evolved, Console())
    else:
        policy_tables.show_shares(played, shares, missing, Console())


def replay_policies(
    record: Annotated[Path, typer.Argument(metavar="FILE", help="Recorded correctness, as JSONL.")],
    cot: Annotated[str | None, typer.Option(help="The arm that is chain of thought (default: found by name).")] = None,
    judge_accuracy: Annotated[
        list[float] | None,
        typer.Option(help="How often a right answer scores above a wrong one; repeat (default: 0.7 0.85 1)."),
    ] = None,
    budget: Annotated[list[int] | None, typer.Option(help="Samples; repeat for more (default: 2 4 8 16).")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="Policies; repeat for more (default: all).")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Times that each question is replayed.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of the samples' order and the judge's noise.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes at work.")] = os.cpu_count() or 1,
    as_json: AsJson = False,
) -> None:
    """Compare policies on recorded answers, whose rightness is known. Real answers, SIMULATED judge.

    A record has `question_id`, `task`, and `gold` and `answers` (a letter a sample for each arm; - none extracted,
    ? missing) or `correct` (a list of 0 and 1 for each arm). All are compared with best-of-N under chain of thought.
    """
    console = Console(stderr=True)
    try:
        from metascale.evals.policies import replay as policy_replay  # noqa: PLC0415  only where it is used
        from metascale.evals.policies import tables as policy_tables  # noqa: PLC0415

        with console.status("replaying …"):
            found = policy_replay.replay(
                record,
                chain_of_thought=cot,
                accuracies=judge_accuracy or [0.7, 0.85, 1.0],
                samples=budget or [2, 4, 8, 16],
                policies=policy or [],
                repeats=repeats,
                seed=seed,
                processes=processes,
            )
    except MetaScaleError as error:
        fail(error, WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        fail(error, FAILED)
    if as_json:
        sys.stdout.write(json.dumps({"simulated_judge": True, **asdict(found)}, ensure_ascii=False) + "\n")
    else:
        policy_tables.show_replay(found, Console())


def replay_memory(
    record: Annotated[Path, typer.Argument(metavar="FILE", help="Recorded correctness, as JSONL.")],
    arm: Annotated[list[str] | None, typer.Option(help="Arms that take part; repeat (default: all).")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples a question.")] = 1,
    judge_accuracy: Annotated[
        float, typer.Option(min=0.5, max=1, help="How often a right answer scores above a wrong one.")
    ] = 1.0,
    orders: Annotated[int, typer.Option(min=2, help="Random orders of the questions.")] = 40,
    reversed_runs: Annotated[int, typer.Option(min=1, help="Wrong runs that the reversed memory begins with.")] = 300,
    embeddings: Annotated[str, typer.Option(help=f"What embeds questions: {', '.join(EMBEDDINGS)}.")] = "hashed",
    seed: Annotated[int, typer.Option(min=0, help="Of orders, samples and policies.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes at work.")] = os.cpu_count() or 1,
    as_json: AsJson = False,
) -> None:
    """Measure a strategy memory on recorded answers to mixed questions, asked one after another.

    It is compared with no memory, with Thompson sampling that is told each question's kind, and with a memory whose
    first runs are all reversed. The record is as for `bench replay`, with `question` where the text is known.
    """
    console = Console(stderr=True)
    try:
        from metascale.evals.policies import memory_replay  # noqa: PLC0415  only where it is used
        from metascale.evals.policies import tables as policy_tables  # noqa: PLC0415

        if embeddings not in EMBEDDINGS:
            raise UnknownNameError("embeddings", embeddings, EMBEDDINGS)
        with console.status("replaying …"):
            found = memory_replay.replay_memory(
                record,
                EMBEDDINGS[embeddings](),
                arms=arm or [],
                samples=samples,
                accuracy=judge_accuracy,
                orders=orders,
                reversed_runs=reversed_runs,
                seed=seed,
                processes=processes,
            )
    except MetaScaleError as error:
        fail(error, WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        fail(error, FAILED)
    if as_json:
        sys.stdout.write(json.dumps(asdict(found), ensure_ascii=False) + "\n")
    else:
        policy_tables.show_memory_replay(found, samples, judge_accuracy, orders, Console())
