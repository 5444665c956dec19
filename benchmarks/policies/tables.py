"""The contest of policies as tables for a person. Every table says that it is a SIMULATION."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.policies.contest import Contest, Estimate, EvolutionRow, QualityRow, ShareRow
from metascale.choice.second_look import SAMPLE_CALLS

SIMULATION = "SIMULATION: nothing of it is a result about language models."


def show_shares(played: Contest, rows: Sequence[ShareRow], missing: Mapping[str, str], console: Console) -> None:
    """Print the share of the gap that each entrant closes, overall and by landscape.

    Args:
        played: what was played.
        rows: the results.
        missing: entrants that could not play, and why.
        console: where to.
    """
    _say(SIMULATION, console)
    table = Table("policy", *(f"N = {budget}" for budget in played.budgets), "tasks", "us a pull", "x", box=None)
    table.title = f"SIMULATION: % of the gap from uniform choice to oracle (SE), batches of {played.batch_size}"
    for row in rows:
        pace = f"{row.pace.ratio:.2g} ({row.pace.low:.2g}-{row.pace.high:.2g})"
        shares = [_percent(one) for one in row.shares]
        table.add_row(Text(row.name), *shares, f"{row.tasks:,}", f"{row.pace.microseconds:.0f}", pace)
    for name in missing:
        table.add_row(Text(name), "not measured")
    console.print(table)
    for name, why in missing.items():
        _say(f"{name}: {why}", console)
    _say(
        "x: time to decide on a pull beside ucb (else the first), median and 10-90 % over tasks of this run",
        console,
    )
    table = Table("policy", "quality", "SE", "N", "landscape", box=None)
    table.title = "SIMULATION: worst difference to uniform choice"
    for row in rows:
        difference = row.worst.difference
        cells = (f"{difference.value:+.4f}", f"{difference.error:.4f}", str(row.worst.budget))
        table.add_row(Text(row.name), *cells, Text(row.worst.landscape))
    console.print(table)
    for at, budget in enumerate(played.budgets):
        table = Table("policy", *(one.name.split()[0] for one in played.landscapes), box=None)
        table.title = f"SIMULATION: by landscape, % of the gap (SE), N = {budget}"
        for row in rows:
            table.add_row(Text(row.name), *(_percent(shares[at]) for shares in row.by_landscape.values()))
        console.print(table)
    _say("; ".join(one.name for one in played.landscapes), console)


def show_qualities(played: Contest, rows: Sequence[QualityRow], console: Console) -> None:
    """Print the mean true quality of each entrant's answers at equal calls."""
    _say(SIMULATION, console)
    heads = [f"{SAMPLE_CALLS * budget} calls" for budget in played.budgets]
    table = Table("policy", *heads, box=None)
    table.title = (
        f"SIMULATION: true quality (SE) at equal calls, batches of {played.batch_size}, {played.tasks:,} tasks"
    )
    for row in rows:
        table.add_row(Text(row.name), *(f"{one.value:.4f} ({one.error:.4f})" for one in row.qualities))
    console.print(table)
    table = Table("policy", *heads, box=None, title="SIMULATION: what second looks add, paired (SE)")
    for row in rows:
        if row.gain is not None:
            table.add_row(Text(row.name), *(f"{one.value:+.4f} ({one.error:.4f})" for one in row.gain))
    if table.row_count:
        console.print(table)


def show_evolution(played: Contest, rows: Sequence[EvolutionRow], console: Console) -> None:
    """Print the gain of evolution at equal calls, and the share that its gate keeps."""
    for at, budget in enumerate(played.budgets):
        table = Table("policy", "children", "always - off (SE)", "gated - off (SE)", "gated / always", box=None)
        table.title = f"SIMULATION: what evolution adds to the true quality, paired, {SAMPLE_CALLS * budget} calls"
        for row in rows:
            gains = [f"{one.value:+.4f} ({one.error:.4f})" for one in (row.always[at], row.gated[at])]
            kept = row.kept[at]
            table.add_row(Text(row.name), Text(row.heredity), *gains, "-" if kept is None else f"{kept:.2f}")
        console.print(table)
    if rows:
        _say("children: their lead over the best parent, and its spread", console)


def _percent(share: Estimate) -> str:
    return f"{100 * share.value:.1f} ({100 * share.error:.1f})"


def _say(text: str, console: Console) -> None:
    console.print(Text(text), soft_wrap=True)
