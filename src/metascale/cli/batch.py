"""`metascale batch`: a file of questions, answered on one budget."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from metascale import batches
from metascale.batches import Answer
from metascale.batches.estimate import PricedModels, estimate
from metascale.batches.limits import SharedLimits
from metascale.batches.runners import AT_ONCE
from metascale.budget.rounds import widest_round
from metascale.choice.automatic import decided_beforehand
from metascale.cli.estimates import DryRun, tell_estimate
from metascale.cli.loading import load_files
from metascale.cli.options import (
    FAILED,
    INTERRUPTED,
    WRONG_USAGE,
    Models,
    OtherSettings,
    Preset,
    UsageError,
    counted,
    fail,
    method_named,
    preset_values,
    read_settings,
    with_extra,
)
from metascale.errors import MetaScaleError, describe
from metascale.graphs import METHODS
from metascale.models import MeteredModel, resolve_model, resolve_models
from metascale.models.lineup import names_in
from metascale.models.resolve import SIMULATION_NOTICE, model_or_simulation
from metascale.rewards import models_of, reward_of
from metascale.runtime.databases import DatabaseError, failure_of

LINES, SILENCE = 20, 60.0
"""Lines of progress where there is no terminal, and the seconds after which one is written anyway. Not tuned."""


def batch(
    questions: Annotated[
        str, typer.Argument(metavar="FILE", help="JSONL, CSV or one question a line; '-' is standard input.")
    ],
    out: Annotated[Path, typer.Option(help="The answers, as JSONL, in the order of the questions.")],
    models: Models = None,
    base_url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server for openai:NAME models, judge included.")
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="Model that scores answers (default: the same).")] = None,
    method: Annotated[str, typer.Option(help=f"{', '.join(METHODS)}.")] = "metascale",
    budget: Annotated[
        int | None,
        typer.Option(help="Answers to generate for each question; with a limit of the whole file, at first."),
    ] = None,
    budget_total: Annotated[int | None, typer.Option(help="Answers to generate for all questions together.")] = None,
    max_cost_usd: Annotated[
        float | None, typer.Option(metavar="USD", help="US dollars for all questions, with models of known price.")
    ] = None,
    max_calls: Annotated[int | None, typer.Option(help="Model requests for all questions.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Seconds for all questions.")] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Questions at a time; on each --remote server.")] = AT_ONCE,
    remote: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Instead of --model: a LangGraph server that answers; repeat for more."),
    ] = None,
    column: Annotated[str, typer.Option(help="The CSV column or JSON key of the question.")] = "question",
    seed: Annotated[int | None, typer.Option(help="Seed of the runs; models without a seed stay random.")] = None,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Whether what one question taught serves the next.")
    ] = True,
    preset: Preset = None,
    setting: OtherSettings = None,
    journal: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="What was paid for (default: OUT.journal).")
    ] = None,
    dry_run: DryRun = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress, no estimate and no notices.")] = False,
) -> None:
    """Answer every question of a file. Repeat the command to go on after Ctrl-C, a kill, or failed questions.

    Without a limit of the whole file every question gets the same budget. With one, every question first gets a few
    samples, and then samples go where they help most, until the limit is reached.

    Exit codes: 0 all answered, 1 questions failed or the command did, 2 wrong usage, 130 interrupted.
    """
    console = Console(stderr=True)
    folder = journal or out.with_name(out.name + ".journal")
    done = 0
    try:
        asked = batches.read_questions(None if questions == "-" else Path(questions), _text(questions), column=column)
        settings = read_settings(preset_values(preset), {"budget": budget, "seed": seed}, setting or [])
        if remote and (models, base_url, judge_model) != (None, None, None):
            raise UsageError("servers decide their model: --remote takes no --model, --judge-model and --base-url")
        name, simulated_by_default = model_or_simulation(",".join(models or []))
        if simulated_by_default and not quiet and not remote:
            console.print(SIMULATION_NOTICE, style="yellow", soft_wrap=True)
        parts: dict[str, Any] = {}
        if not remote:
            load_files(None if quiet else console, *names_in(name), judge_model, at_once=widest_round(settings))
        chats = [] if remote else resolve_models(name, base_url=base_url)
        if chats and method_named(method).judged:
            judge_url = base_url if judge_model and judge_model.startswith("openai:") else None
            judge = resolve_model(judge_model, base_url=judge_url) if judge_model else None
            sys.path.insert(0, str(Path.cwd()))  # a user's verifier is imported from here
            parts["reward"] = reward_of(settings, chats, judge)
        if remote and dry_run:
            raise UsageError("the cost depends on the servers' model: --dry-run takes no --remote")
        if chats and (dry_run or not quiet):
            limits = SharedLimits(budget_total, max_cost_usd, max_calls, max_seconds)
            reward = parts.get("reward")
            judged = decided_beforehand(settings, may_vote=reward is None)
            priced = PricedModels.of(
                [*map(MeteredModel, chats)], models_of(reward) if reward is not None else (), settings
            )
            texts = ["\n".join(message.text for message in one.messages) for one in asked]
            tell_estimate(estimate(texts, judged, limits, method, priced), console, with_parts=dry_run)
        if dry_run:
            return
        with _written(out) as write, _shown(console, quiet=quiet) as show:

            def told(place: int, row: Answer) -> None:
                nonlocal done
                done += row["error"] is None
                write(place, row)

            rows = asyncio.run(
                batches.abatch(
                    asked,
                    chats or None,
                    settings=settings,
                    method=method,
                    budget_total=budget_total,
                    max_cost_usd=max_cost_usd,
                    max_calls=max_calls,
                    max_seconds=max_seconds,
                    journal=folder,
                    remotes=remote or (),
                    at_once=at_once,
                    memory=memory,
                    on_row=told,
                    on_progress=show,
                    **parts,
                )
            )
            for place, row in enumerate(rows):
                write(place, row)
    except KeyboardInterrupt:
        left = counted(len(asked) - done, "question")
        fail(MetaScaleError(f"interrupted: {left} of {len(asked):,} left; repeat the command to go on"), INTERRUPTED)
    except DatabaseError as error:
        fail(error, FAILED)
    except (MetaScaleError, ValidationError, ImportError) as error:
        fail(with_extra(error, "serve"), WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        fail(failure_of(error, str(folder)) or error, FAILED)
    _report(rows, console, quiet=quiet)


def _text(questions: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if questions == "-" else Path(questions).read_bytes()
        return raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the questions cannot be read: {describe(error)}") from error


class _InOrder:
    """Writes rows in the order of their places, each as soon as all before it are there."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._next = 0
        self._early: dict[int, Answer] = {}

    def __call__(self, place: int, row: Answer) -> None:
        """Write a row; a place that is written already is left as it is."""
        if place < self._next:
            return
        self._early[place] = row
        while self._next in self._early:
            self._file.write(json.dumps(self._early.pop(self._next), ensure_ascii=False) + "\n")
            self._next += 1
        self._file.flush()


@contextmanager
def _written(out: Path) -> Iterator[_InOrder]:
    try:
        file = out.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--out: the file cannot be written: {describe(error)}") from error
    with file:
        yield _InOrder(file)


@contextmanager
def _shown(console: Console, *, quiet: bool) -> Iterator[Callable[[batches.Progress], None] | None]:
    """The progress: a bar on a terminal, else lines; None if it is not wanted."""
    if quiet:
        yield None
    elif console.is_terminal:
        with Progress(BarColumn(), TextColumn("{task.description}"), console=console) as bar:
            task = bar.add_task("", total=None)

            def show(now: batches.Progress) -> None:
                bar.update(task, total=now.questions, completed=now.answered + now.failed, description=_said(now))

            yield show
    else:
        yield ProgressLines(console)


class ProgressLines:
    """The progress of a batch as plain lines: one at the start, about `LINES` in all, and one after silence."""

    def __init__(self, console: Console) -> None:
        """Write to the console."""
        self._console = console
        self._next = 0
        self._told_at = 0.0

    def __call__(self, now: batches.Progress) -> None:
        """Write a line if enough was done, or nothing was said for a while."""
        done = now.answered + now.failed
        if done < self._next and now.seconds - self._told_at < SILENCE:
            return
        self._next = done + max(1, now.questions // LINES)
        self._told_at = now.seconds
        self._console.print(_said(now), markup=False, highlight=False, soft_wrap=True)


def _said(now: batches.Progress) -> str:
    cost = f" · ${now.cost_usd:,.4f}" if now.cost_usd else ""
    trouble = f" · {now.failed:,} failed" if now.failed else ""
    left = f" · {_left(now)}" if now.answered else ""
    return (
        f"{now.answered:,}/{now.questions:,} answered{trouble} · {now.samples:,} samples · "
        f"{now.calls:,} calls{cost} · {now.seconds:,.0f} s{left}"
    )


def _left(now: batches.Progress) -> str:
    seconds = now.seconds / now.answered * (now.questions - now.answered - now.failed)
    return f"about {seconds:,.0f} s left"


def _report(rows: list[Answer], console: Console, *, quiet: bool) -> None:
    failed = [row for row in rows if row["error"] is not None]
    costs = [row["cost_usd"] for row in rows if row["usage"] is not None]
    known = [cost for cost in costs if cost is not None]
    if not quiet:
        cost = f", ${sum(known):,.4f}" if known and len(known) == len(costs) else ""
        said = (
            f"{len(rows) - len(failed):,} of {counted(len(rows), 'question')} answered: "
            f"{counted(sum(row['samples'] for row in rows), 'sample')}, "
            f"{counted(sum(row['calls'] for row in rows), 'call')}{cost}"
        )
        console.print(said, highlight=False)
    if failed:
        which = f"question {failed[0]['id']}: {failed[0]['error']}"
        what = f"{counted(len(failed), 'question')} of {len(rows):,} failed; {which}; repeat the command to ask again"
        fail(MetaScaleError(what), FAILED)
