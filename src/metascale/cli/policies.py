"""`metascale bench replay` and `metascale bench memory`: policies and memories on recorded answers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter
from rich.console import Console

from metascale.cli.options import FAILED, WRONG_USAGE, AsJson, UsageError, fail
from metascale.errors import (
    MetaScaleError,
    UnknownNameError,
)
from metascale.memory.embeddings import EMBEDDINGS
from metascale.settings import Price


def replay_policies(
    record: Annotated[Path, typer.Argument(metavar="FILE", help="Recorded correctness, as JSONL.")],
    cot: Annotated[str | None, typer.Option(help="The arm that is chain of thought (default: found by name).")] = None,
    judge_accuracy: Annotated[
        list[float] | None,
        typer.Option(help="How often a right answer scores above a wrong one; repeat (default: 0.7 0.85 1)."),
    ] = None,
    budget: Annotated[
        list[int] | None, typer.Option(help="Samples; repeat for more (default: 2 4 8 16, and 32 of recorded samples).")
    ] = None,
    policy: Annotated[list[str] | None, typer.Option(help="Policies; repeat for more (default: all).")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Arms of recorded samples; repeat (default: all).")] = None,
    verdicts: Annotated[Path | None, typer.Option(help="Verdicts on recorded samples, as JSONL.")] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How often each question is replayed (default: 4; of samples, votes are drawn 200 times and searches "
            "run twice).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples' order and the judge's noise.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes at work.")] = os.cpu_count() or 1,
    as_json: AsJson = False,
) -> None:
    """Compare policies on recorded answers of known correctness, or all that can be replayed on recorded samples.

    Policies are replayed with real answers and a SIMULATED judge.

    A record has `question_id`, `task`, and `gold` and `answers` (for each arm a string with one letter per sample; -
    none extracted, ? missing) or `correct` (a list of 0 and 1 for each arm). The baseline is best-of-N under chain of
    thought.

    Recorded samples have one row each, with `question_id`, `arm`, `gold`, `text` or `answer`, and what tells right
    answers from wrong ones: `logprobs` with `pieces`, or their summary `certainty`; `yes`; `verdicts`. Arms, signals,
    ways of choosing and searches are compared. The baseline of a search is self-consistency under chain of thought at
    as many model requests. Everything is real, and what is fitted is measured on other questions.
    """
    console = Console(stderr=True)
    if _holds_samples(record):
        _refuse("recorded samples", {"--judge-accuracy": judge_accuracy})
        _replay_samples(
            record,
            verdicts,
            cot,
            arms=arm or [],
            policies=policy or [],
            samples=budget or [2, 4, 8, 16, 32],
            repeats=repeats,
            seed=seed,
            processes=processes,
            as_json=as_json,
        )
        return
    _refuse("rows of marks", {"--arm": arm, "--verdicts": verdicts})
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
                repeats=repeats or 4,
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


def _refuse(rows: str, options: Mapping[str, object]) -> None:
    """End if an option is given that says nothing of such rows."""
    for name, value in options.items():
        if value:
            fail(UsageError(f"{name} does not go with {rows}"), WRONG_USAGE)


def _holds_samples(record: Path) -> bool:
    from metascale.evals.recordings import is_recordings  # noqa: PLC0415  only where it is used

    try:
        return is_recordings(record)
    except MetaScaleError as error:
        fail(error, WRONG_USAGE)


def _replay_samples(
    record: Path,
    verdicts: Path | None,
    cot: str | None,
    *,
    arms: list[str],
    policies: list[str],
    samples: list[int],
    repeats: int | None,
    seed: int,
    processes: int,
    as_json: bool,
) -> None:
    """Compare arms, signals, ways of choosing and searches on recorded samples."""
    from metascale.evals.judges import signals as judge_signals  # noqa: PLC0415  only where it is used
    from metascale.evals.judges import tables as judge_tables  # noqa: PLC0415
    from metascale.evals.policies import choosing, searching  # noqa: PLC0415
    from metascale.evals.policies import tables as policy_tables  # noqa: PLC0415
    from metascale.evals.policies.arms import measure_arms  # noqa: PLC0415
    from metascale.evals.policies.replay import find_chain_of_thought  # noqa: PLC0415
    from metascale.evals.recordings import only_arms, read_recordings  # noqa: PLC0415
    from metascale.models.recorded import FIXED_ARMS  # noqa: PLC0415

    try:
        recordings = only_arms(read_recordings(record, verdicts), arms)
        sampled = {recordings.arms[arm] for arm in recordings.arm}
        has_cot = cot is not None or not sampled.isdisjoint(FIXED_ARMS["chain_of_thought"])
        base = find_chain_of_thought([arm for arm in recordings.arms if arm in sampled], cot) if has_cot else None
        with Console(stderr=True).status("replaying …"):
            accuracies = measure_arms(recordings, base)
            areas = judge_signals.measure_signals(recordings, seed=seed) if recordings.signals else []
            found = choosing.choose_ways(recordings, samples, draws=repeats or 200, seed=seed)
            searched = (
                searching.replay_search(
                    recordings,
                    base,
                    calls=samples,
                    policies=policies,
                    draws=repeats or 200,
                    repeats=repeats or 2,
                    seed=seed,
                    processes=processes,
                )
                if base is not None
                else []
            )
    except MetaScaleError as error:
        fail(error, WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        fail(error, FAILED)
    if as_json:
        told = {
            "arms": [asdict(one) for one in accuracies],
            "signals": [asdict(one) for one in areas],
            "found": [asdict(one) for one in found],
            "searches": [asdict(one) for one in searched],
        }
        sys.stdout.write(json.dumps({"file": record.name, **told}, ensure_ascii=False) + "\n")
        return
    console = Console()
    policy_tables.show_arms(accuracies, console)
    if searched:
        policy_tables.show_searches(searched, console)
    if areas:
        judge_tables.show_signals(recordings, areas, console)
    policy_tables.show_choices(recordings, found, console)


def _read_prices(file: Path) -> dict[str, Price]:
    try:
        return TypeAdapter(dict[str, Price]).validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(file)!r} cannot be read as prices: {error}") from error


def replay_memory(
    record: Annotated[Path, typer.Argument(metavar="FILE", help="Recorded correctness, as JSONL.")],
    arm: Annotated[list[str] | None, typer.Option(help="Arms to use; repeat for more (default: all).")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples per question.")] = 1,
    judge_accuracy: Annotated[
        float, typer.Option(min=0.5, max=1, help="How often a right answer scores above a wrong one.")
    ] = 1.0,
    orders: Annotated[int, typer.Option(min=2, help="Random orders of the questions.")] = 10,
    reversed_runs: Annotated[
        int, typer.Option(min=1, help="Runs with reversed rewards that the misled memory starts with.")
    ] = 300,
    prices: Annotated[
        Path | None,
        typer.Option(
            help="JSON file of US dollars per million tokens: {MODEL: {input: X, output: Y}}; adds a cost limit."
        ),
    ] = None,
    cost_limit: Annotated[
        float, typer.Option(min=0.01, help="Limit with --prices, as a share of the cost of the best single arm.")
    ] = 0.5,
    embeddings: Annotated[str, typer.Option(help=f"Embeddings of questions: {', '.join(EMBEDDINGS)}.")] = "hashed",
    seed: Annotated[int, typer.Option(min=0, help="Seed of orders, samples and policies.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes at work.")] = os.cpu_count() or 1,
    as_json: AsJson = False,
) -> None:
    """Measure a strategy memory on recorded answers to mixed questions, asked one after another.

    It is compared with no memory, with Thompson sampling that knows each question's kind, with a memory that starts
    with reversed rewards, and with the arm that is best in hindsight. The record is that of `bench replay`, with the
    text in `question` if known; or it has `models`, with each model's `scores` from 0 to 1 and its answers' lengths as
    `characters`. With prices, entrants with a cost limit are added; four characters count as one token.
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
                prices=_read_prices(prices) if prices else None,
                limit=cost_limit,
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


def share_budget(
    record: Annotated[
        Path, typer.Argument(metavar="FILE", help="Recorded answers with `gold`, as JSONL: see the manual.")
    ],
    samples: Annotated[int, typer.Option(min=3, help="Samples of every question in the comparison.")] = 16,
    repeats: Annotated[int, typer.Option(min=1, help="Random orders of the answers.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the orders.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure on recorded answers what it brings to share one budget over all questions.

    A row has `question_id`, `gold` and `answers`: a list, a string of letters (- none extracted, ? missing), or one of
    these for each arm, which are pooled. Recorded samples, with one row each, will do as well.
    """
    from metascale.evals.policies import sharing  # noqa: PLC0415  only where it is used
    from metascale.evals.policies import tables as policy_tables  # noqa: PLC0415

    try:
        with Console(stderr=True).status("sharing …"):
            found = sharing.compare_sharing(record, reference=samples, repeats=repeats, seed=seed)
    except MetaScaleError as error:
        fail(error, WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        fail(error, FAILED)
    if as_json:
        sys.stdout.write(json.dumps({"file": record.name, **asdict(found)}) + "\n")
    else:
        policy_tables.show_sharing(found, record.name, Console())
