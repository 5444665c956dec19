"""`metascale bench choice`: rules of the final choice on recorded answers and verdicts."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from metascale.cli.options import FAILED, WRONG_USAGE, AsJson, fail
from metascale.errors import MetaScaleError


def try_choice(
    record: Annotated[Path, typer.Argument(metavar="FILE", help="Recorded answers and verdicts, as JSONL.")],
    n: Annotated[
        list[int] | None, typer.Option("--n", min=1, help="Samples and calls; repeat (default: 4 8 16 32 64).")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Random draws of each question (default: about 2000 over all questions).")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples in a round, where stopping is asked.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare rules of the final choice on recorded answers, and test how true the confidence is.

    A row has `answers` (final answers, or free texts; null where none is marked), and `gold` or `quality` (a number in
    [0, 1] for each answer). Optional are `verdicts` (for each answer a list of scores in [0, 1], null unread), `judges`
    (several such lists by name), `certainty` and `arms` (one for each answer), and `question_id`. Nothing is fitted to
    the file but the weights that say so, which are cross-fitted by question.
    """
    try:
        from metascale.evals.choice import tables, trial  # noqa: PLC0415  only where it is used
        from metascale.evals.choice.rows import read_questions  # noqa: PLC0415

        with Console(stderr=True).status("choosing …"):
            questions = read_questions(record)
            found = trial.try_rules(questions, n or (4, 8, 16, 32, 64), repeats=repeats, batch=batch, seed=seed)
    except MetaScaleError as error:
        fail(error, WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  a person gets one line, whatever went wrong
        fail(error, FAILED)
    if as_json:
        sys.stdout.write(json.dumps({"file": record.name, **asdict(found)}, ensure_ascii=False) + "\n")
    else:
        tables.show_trial(record.name, found, Console())
