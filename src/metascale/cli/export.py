"""`metascale export`: recorded runs as rows for TRL's trainers."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic import ValidationError

from metascale.cli.options import FAILED, WRONG_USAGE, AsJson, counted, fail
from metascale.errors import MetaScaleError, SettingError, UnknownNameError
from metascale.training.rollouts import gathered
from metascale.training.rows import Row, export
from metascale.training.selection import Form, Gate, Selection, What
from metascale.training.sources import Sources

NO_GATE = "none"

REASONS = {
    "zero_variance": "all answers earned the same (--gate zero_variance)",
    "predictive": "predicted to be easy or hopeless (--gate predictive)",
    "not_measured": "no gold answer and no --good-reward to tell good answers",
    "no_predictions": "without predictions (runs with --foresee have them)",
    "no_completion": "without a completion",
    "no_pair": "no two completions differ by --margin",
    "not_whole": "cut off, refused or empty",
    "max_length": "longer than --max-length",
    "cutoff": "longer than --cutoff",
    "wrong": "wrong by the gold answer",
    "unscored": "unscored",
    "min_reward": "below --min-reward",
    "unfinished": "unfinished",
    "failed": "without an answer",
    "no_texts": "logged by an older version, without texts",
    "not_text": "with more than text in the question",
}
"""Why a run, prompt or completion was left out."""


def export_command(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE",
            help="SQLite files of `metascale solve --db`, logs of `metascale bench`, or folders of logs.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="New file for the rows, as JSONL.")],
    form: Annotated[str, typer.Option("--format", help=f"The trainer that reads them: {', '.join(get_args(Form))}.")],
    what: Annotated[
        str, typer.Option(help="answers to questions, or predictions of a model about its own answers.")
    ] = "answers",
    gate: Annotated[
        list[str] | None,
        typer.Option(
            help="Drop prompts. zero_variance: all answers earned the same; predictive: the model predicted that the"
            " prompt is easy or hopeless; none. Repeat for both (default: zero_variance for grpo)."
        ),
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(help="Predictive gate: the standard deviation of predictions must be below this (0.1)."),
    ] = None,
    near: Annotated[
        float | None, typer.Option(help="Predictive gate: the mean prediction must be this close to 0 or 1 (0.1).")
    ] = None,
    good_reward: Annotated[
        float | None, typer.Option(help="Without a gold answer, answers with at least this reward count as good.")
    ] = None,
    min_reward: Annotated[
        float | None,
        typer.Option(help="sft: the lowest reward of an answer, or notion score of a prediction (0.2)."),
    ] = None,
    max_length: Annotated[int | None, typer.Option(help="Longest answer, in tokens.")] = None,
    cutoff: Annotated[float | None, typer.Option(help="Longest answer, as a multiple of the predicted length.")] = None,
    margin: Annotated[float | None, typer.Option(help="dpo: how much better the chosen completion is (0.2).")] = None,
    as_json: AsJson = False,
) -> None:
    """Write recorded runs as JSONL that TRL's trainers read: GRPO, SFT or DPO, in the conversational form.

    All runs of one model on one question become one prompt. Only logs have gold answers, which tell whether an answer
    is correct. Rewards are exported as rewards; --good-reward uses them where there is no gold answer.

    grpo: the prompt, and the columns that the reward functions of metascale.training need (for answers also `solution`,
    as TRL's accuracy_reward reads it). sft: the best answer, or the prediction with the best notions, with the measured
    pass rate and length. dpo: the best with the worst, the second best with the second worst, …

    The summary goes to standard output. Exit codes: 0 written, 1 nothing was left to write, 2 wrong usage.
    """
    try:
        selection = _selection(
            form,
            what,
            gate,
            {
                "sigma": sigma,
                "near": near,
                "good_reward": good_reward,
                "min_reward": min_reward,
                "max_length": max_length,
                "cutoff": cutoff,
                "margin": margin,
            },
        )
        if out.exists() or not out.parent.is_dir():
            raise SettingError(
                f"{str(out)!r} {'already exists' if out.exists() else 'is in a folder that does not exist'}"
            )
        read = Sources(sources)
        runs = list(read.runs())
        prompts = gathered(runs)
        done = export(prompts, selection)
        if done.rows:
            _write(done.rows, out)
    except ImportError as error:
        fail(SettingError(f"logs need more packages ({error.name}): pip install 'metascale[evals]'"), WRONG_USAGE)
    except (MetaScaleError, ValidationError, OSError) as error:
        fail(error, WRONG_USAGE)
    summary = {
        "format": form,
        "what": what,
        "out": str(out) if done.rows else None,
        "rows": len(done.rows),
        "prompts": done.prompts,
        "prompts_read": len(prompts),
        "runs_read": len(runs),
        "runs_skipped": dict(read.skipped),
        "prompts_removed": dict(done.removed_prompts),
        "completions_removed": {reason: n for reason, n in done.removed_completions.items() if n},
        "simulated_prompts": sum(prompt.simulated for prompt in prompts),
    }
    if as_json:
        sys.stdout.write(json.dumps(summary, ensure_ascii=False) + "\n")
    else:
        _say(summary)
    if not done.rows:
        fail(MetaScaleError(f"nothing to export: {_why_nothing(summary)}"), FAILED)


def _selection(form: str, what: str, gates: Sequence[str] | None, given: Mapping[str, Any]) -> Selection:
    """What the command line selects.

    Raises:
        MetaScaleError: it does not make sense.
        ValidationError: a number is out of its range.
    """
    known = {"format": (form, get_args(Form)), "kind of completion": (what, get_args(What))}
    for kind, (name, names) in known.items():
        if name not in names:
            raise UnknownNameError(kind, name, names)
    for name in gates or []:
        if name not in (*get_args(Gate), NO_GATE):
            raise UnknownNameError("gate", name, (*get_args(Gate), NO_GATE))
    if gates is None:
        gates = ["zero_variance"] if form == "grpo" else []
    if NO_GATE in gates and len(set(gates)) > 1:
        raise SettingError("--gate none excludes other gates")
    named = {name: value for name, value in given.items() if value is not None}
    return Selection.model_validate({"format": form, "what": what, "gates": set(gates) - {NO_GATE}, **named})


def _write(rows: Sequence[Row], out: Path) -> None:
    """Write all rows or none: the file gets its name once it is complete."""
    part = out.with_name(f".{out.name}.part")
    try:
        with part.open("wb") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _say(summary: Mapping[str, Any]) -> None:
    """The summary in words."""
    lines = [
        f"{counted(summary['rows'], 'row')} of {counted(summary['prompts'], 'prompt')}"
        + (f" in {summary['out']}" if summary["out"] else "")
        + f"; {counted(summary['runs_read'], 'run')} read, of {counted(summary['prompts_read'], 'prompt')}"
    ]
    for key in ("runs_skipped", "prompts_removed", "completions_removed"):
        thing = key.partition("_")[0].removesuffix("s")
        lines += [f"left out: {counted(count, thing)}, {REASONS[reason]}" for reason, count in summary[key].items()]
    if summary["simulated_prompts"]:
        lines.append(f"SIMULATION: the offline model answered {counted(summary['simulated_prompts'], 'prompt')}")
    typer.echo("\n".join(lines))


def _why_nothing(summary: Mapping[str, Any]) -> str:
    left_out = summary["runs_skipped"] | summary["prompts_removed"]
    counts = [f"{count:,} {REASONS[reason]}" for reason, count in left_out.items()]
    return "; ".join(counts) or "the sources contain no run of metascale"
