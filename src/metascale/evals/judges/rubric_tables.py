"""What came of the attempts at a better rubric, as tables for a person."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metascale.evals.judges.improve_rubric import Improvement
from metascale.evals.judges.rubric_trial import Figures
from metascale.evals.judges.tables import SIMULATION
from metascale.evals.statistics import Interval


def show_improvement(improvement: Improvement, judge: str, console: Console) -> None:
    """Print what came of it, for the judge so named."""
    if improvement.simulation:
        console.print(Text(SIMULATION, style="yellow"), soft_wrap=True)
    console.print(Text(f"A better rubric for: {judge}", style="bold"), soft_wrap=True)
    for number, found in enumerate(improvement.rounds, 1):
        table = Table("rubric", "half", "pairs", "right", "95 %", "chains", "AUC", "95 %", "unscored", box=None)
        table.title = f"Round {number}"
        table.add_row("present", "to learn from", *_row(found.training))
        if found.held_out:
            table.add_row("present", "held out", *_row(found.held_out.before))
            table.add_row("new", "held out", *_row(found.held_out.after))
        console.print(table)
        if found.diagnosis:
            console.print(Text(f"Diagnosis: {found.diagnosis}"), soft_wrap=True)
        if found.held_out:
            noise = "within noise" if found.held_out.within_noise else "beyond noise"
            console.print(Text(f"The difference is {noise} (p = {found.held_out.p_value:.3f})."), soft_wrap=True)
        console.print(Text(found.verdict, style="bold"), soft_wrap=True)
    bill = improvement.usage
    cost = f", ${bill['cost_usd']:,.2f}" if bill["cost_usd"] else ""
    tokens = f"{bill['input_tokens']:,} tokens read and {bill['output_tokens']:,} written"
    console.print(Text(f"Spent: {bill['calls']:,} model requests, {tokens}{cost}"), soft_wrap=True)
    for note in improvement.notes:
        console.print(Text(f"Note: {note}", style="yellow"), soft_wrap=True)
    for problem, times in list(improvement.problems.items())[:3]:
        console.print(Text(f"Missing {times:,} times: {problem}", style="red"), soft_wrap=True)


def _row(found: Figures) -> list[str]:
    right = "not known" if found.accuracy is None else f"{100 * found.accuracy:.1f} %"
    area = "not known" if found.auc is None else f"{found.auc:.2f}"
    return [
        f"{found.pairs:,}",
        right,
        _span(found.accuracy_interval, percent=True),
        f"{found.chains:,}",
        area,
        _span(found.auc_interval, percent=False),
        f"{found.unscored:,}",
    ]


def _span(interval: Interval | None, *, percent: bool) -> str:
    if interval is None:
        return ""
    return (
        f"{100 * interval.low:.0f}-{100 * interval.high:.0f}" if percent else f"{interval.low:.2f}-{interval.high:.2f}"
    )
