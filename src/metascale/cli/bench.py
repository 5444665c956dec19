"""`metascale bench` and `metascale report`: run a benchmark, and make a report of its logs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from metascale.cli.loading import load_files
from metascale.cli.options import (
    FAILED,
    INTERRUPTED,
    WRONG_USAGE,
    OtherSettings,
    Preset,
    UsageError,
    Yes,
    ask_to_start,
    fail,
    named_values,
    preset_values,
    with_extra,
)
from metascale.cli.scores import print_scores
from metascale.errors import (
    MetaScaleError,
)
from metascale.graphs import METHODS
from metascale.settings import MetaScaleSettings

DISPLAY_VARIABLE = "INSPECT_DISPLAY"
"""Names Inspect's display of progress, which is otherwise shown on terminals only."""


def bench(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="openai:NAME, gguf:FILE, simulated, recorded:FILE, or Inspect's provider/name; with several, all of "
            "them may answer with the method metascale, and the first one with the others.",
        ),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="gsm8k, mmlu_pro, arena_hard, recorded; repeat for more.")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="Methods; repeat for more (default: all).")] = None,
    budget: Annotated[
        list[int] | None, typer.Option(min=1, help="Sampling budgets; repeat for more (default: 1 4 16).")
    ] = None,
    path: Annotated[Path | None, typer.Option(help="The task's questions, as JSONL.")] = None,
    subset: Annotated[
        int | None, typer.Option(min=1, help="Number of questions to draw at random (64 in the paper).")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask only this many questions, from the first on.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="How often each question is asked.")] = 1,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the runs; models without a seed stay random.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="OpenAI-compatible server for openai:NAME models.")] = None,
    judge_model: Annotated[str | None, typer.Option(help="Model that scores answers (default: the same).")] = None,
    remote: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Instead of --model: a LangGraph server that answers; repeat for a fleet."),
    ] = None,
    at_once: Annotated[
        int | None, typer.Option(min=1, help="Questions in flight on each --remote server (default: 8).")
    ] = None,
    preset: Preset = None,
    setting: OtherSettings = None,
    log_dir: Annotated[Path, typer.Option(help="Folder of the logs; an interrupted benchmark continues there.")] = Path(
        "logs"
    ),
    yes: Yes = False,
) -> None:
    """Run methods x tasks x budgets on Inspect, after showing what it will cost.

    It ends with a table of scores. A question whose requests failed is not wrong: it is counted apart, and asked again
    by the same command. After Ctrl-C or a kill the same command goes on, and asks nothing again that was answered.

    Logs open in `inspect view --log-dir DIR`, and `metascale report DIR --out OUT` makes a report of them.

    With --remote the methods run on LangGraph servers, with the servers' model. When a server dies, the others take
    over its questions. METASCALE_SERVER_TOKEN holds the servers' bearer token, if they require one.
    """
    if context.invoked_subcommand is not None:
        return
    console = Console(stderr=True)

    def tell(note: str) -> None:
        console.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)

    def log(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    try:
        _check_who_answers(models, remote, at_once, local=(base_url, judge_model))
        if log_dir.exists() and not log_dir.is_dir():
            raise UsageError(f"logs need a folder, and {str(log_dir)!r} is a file; name another with --log-dir")
        from metascale.cli.bench_plan import say_what_it_costs  # noqa: PLC0415  the extra `evals`
        from metascale.evals.harness import bench as benchmark  # noqa: PLC0415
        from metascale.evals.harness.models import SERVERS  # noqa: PLC0415

        model, *others = models or [SERVERS]
        further = preset_values(preset) | named_values(setting or [])
        laid = benchmark.plan(
            model=model,
            tasks=task or ["gsm8k"],
            methods=method or list(METHODS),
            budgets=budget or [1, 4, 16],
            task_args={
                key: value for key, value in {"path": path and str(path), "subset": subset}.items() if value is not None
            },
            limit=limit,
            epochs=epochs,
            seed=seed,
            settings=further,
            judge_model=judge_model,
            other_models=others,
            base_url=base_url,
        )
        load_files(console, model, *others, judge_model, at_once=laid.widest_round)
        settings = MetaScaleSettings.model_validate(further)
        say_what_it_costs(laid, settings.prices, console)
        for line in benchmark.check_servers(laid, remote) if remote else ():
            tell(line)
        ask_to_start(yes=yes)
        where = " ".join(remote) if remote else base_url
        shows = sys.stdout.isatty() or DISPLAY_VARIABLE in os.environ
        in_flight = settings.max_in_flight if "max_in_flight" in settings.model_fields_set else None
        outcome = benchmark.run(
            laid,
            log_dir,
            base_url=where,
            limit=limit,
            at_once=at_once if remote else in_flight,
            call_timeout=settings.call_timeout,
            tell=tell,
            progress=None if shows else log,
        )
    except (MetaScaleError, ValidationError, ImportError) as error:
        fail(with_extra(error), WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        fail(error, FAILED)
    print_scores(laid.cells, outcome.counts)
    if not outcome.is_complete:
        fail(MetaScaleError(outcome.said), INTERRUPTED if outcome.interrupted and not outcome.refusal else FAILED)
    console.print(
        f"Logs are in {log_dir}; metascale report {log_dir} --out report makes a report of them.",
        markup=False,
        soft_wrap=True,
    )


def report(
    logs: Annotated[list[Path], typer.Argument(help="Inspect logs of metascale's methods, or folders of them.")],
    out: Annotated[Path, typer.Option(help="The folder that the report is written to.")] = Path("report"),
    most_missing: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Largest share of a method's runs that failed or have not ended with which it is still compared.",
        ),
    ] = 0.05,
    as_json: Annotated[
        bool, typer.Option("--json", help="Also write report.json: all numbers, settings and answers of the page.")
    ] = False,
) -> None:
    """Make an HTML page with figures from the logs of benchmarks.

    Every answered question counts once, whatever logs lie beside each other. Questions that failed or are unanswered
    are counted apart and are not wrong answers.
    """
    try:
        from metascale.evals.report.logs import read_logs  # noqa: PLC0415  the extra `evals`
        from metascale.evals.report.page import write_report  # noqa: PLC0415

        answers = read_logs(logs)
        page = write_report(answers, out, most_missing=most_missing, with_json=as_json)
    except (MetaScaleError, OSError, ImportError) as error:
        fail(with_extra(error), WRONG_USAGE)
    left_out = sum(answer.left_out for answer in answers)
    if left_out:
        said = f"note: {left_out} answers are left out: later ones under the same settings and seed replace them"
        Console(stderr=True).print(said, style="yellow", soft_wrap=True)
    typer.echo(str(page))
    if as_json:
        typer.echo(str(page.with_suffix(".json")))


def _check_who_answers(
    models: list[str] | None, remote: list[str] | None, at_once: int | None, *, local: tuple[str | None, str | None]
) -> None:
    """Check that either a model or servers answer."""
    if not models and not remote:
        raise UsageError("a benchmark needs a model: --model openai:NAME")
    if remote and (models or None, *local) != (None, None, None):
        raise UsageError("servers decide their model: --remote takes no --model, --judge-model and --base-url")
    if at_once and not remote:
        raise UsageError("--at-once goes with --remote")
