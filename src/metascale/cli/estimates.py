"""What a command says of its cost before it starts."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from metascale.batches.estimate import Estimate
from metascale.cli.options import counted
from metascale.costs import is_free

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what the command would cost, and ask nothing.")]


def tell_estimate(found: Estimate, console: Console, *, with_parts: bool) -> None:
    """Print what a command will cost, in one line; before it, if wanted, the likely requests by role and model."""
    if with_parts:
        table = Table("role", "model", "model requests", "tokens read", "tokens written", box=None)
        for part in found.likely:
            read, written = (f"{round(tokens):,}" for tokens in part.tokens)
            table.add_row(part.role, " or ".join(part.models), f"{part.calls:,}", read, written)
        console.print(table)
    console.print(said_of(found), markup=False, highlight=False, soft_wrap=True)


def said_of(found: Estimate) -> str:
    """One line: what is likely, and what it is at most."""
    tokens = sum(sum(part.tokens) for part in found.likely)
    calls = counted(sum(part.calls for part in found.likely), "model request")
    likely = f"likely {calls} and {round(tokens, -3):,.0f} tokens"
    bounds = [] if found.most_calls is None else [counted(found.most_calls, "model request")]
    if found.unpriced:
        price = f"; the cost is unknown: no price of {', '.join(found.unpriced)} (set it with --set prices=…)"
    elif all(is_free(model) for part in found.likely for model in part.models):
        price = ", free"
    else:
        price = f", ${found.likely_usd:,.2f}"
        bounds += [] if found.most_usd is None else [f"${found.most_usd:,.2f}"]
    return f"{likely}{price}" + (f"; at most {' and '.join(bounds)}" if bounds else "")
