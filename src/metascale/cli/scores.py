"""The table of scores at the end of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:  # the extra `evals`
    from metascale.evals.harness.bench import Cell
    from metascale.evals.harness.outcome import Counts
    from metascale.evals.report.tables import Row

UNKNOWN = "–"
WIDTH = 120
"""Columns of the table in a file or a pipe."""


def print_scores(cells: Sequence[Cell], counts: Sequence[Counts]) -> None:
    """Print the score and the cost of every method on standard error, with what was answered, failed or is left.

    Costs are means over the answered questions.
    """
    from metascale.evals.report.logs import LogError, read_logs  # noqa: PLC0415  the extra `evals`
    from metascale.evals.report.tables import summary  # noqa: PLC0415

    columns = ("task", "method", "budget", "score (95 %)", "answered", "failed", "left", "calls", "tokens")
    table = Table(*columns, box=None)
    is_simulation = False
    for cell, count in zip(cells, counts, strict=True):
        try:
            answers = read_logs(count.logs)
        except LogError:
            answers = []
        is_simulation = is_simulation or any(answer.simulated for answer in answers)
        row = summary(answers)[0] if answers and count.answered else None
        done = [f"{number:,}" for number in (count.answered, count.failed, count.left)]
        table.add_row(cell.task, cell.method, str(cell.budget), _score(row), *done, *_cost(row))
    console = Console(stderr=True)
    if not console.is_terminal:
        console.width = WIDTH
    if is_simulation:
        console.print("SIMULATION: these scores say nothing about language models", markup=False)
    console.print(table)


def _score(row: Row | None) -> str:
    if row is None or row.score is None or row.interval is None:
        return UNKNOWN
    return f"{row.score:.3f} [{row.interval.low:.3f}, {row.interval.high:.3f}]"


def _cost(row: Row | None) -> tuple[str, str]:
    if row is None or row.calls is None or row.input_tokens is None or row.output_tokens is None:
        return UNKNOWN, UNKNOWN
    return f"{row.calls:,.1f}", f"{row.input_tokens + row.output_tokens:,.0f}"
