"""What `metascale bench` says before it starts: the evaluations, the requests, and the dollars of each model."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from metascale.costs import cost, is_free, unpriced
from metascale.evals.harness.bench import BenchPlan
from metascale.evals.harness.local_models import known_as
from metascale.evals.harness.models import SERVERS
from metascale.models.simulated import OVERCONFIDENCE
from metascale.settings import Price


def say_what_it_costs(laid: BenchPlan, prices: Mapping[str, Price], console: Console) -> None:
    """Print the evaluations of a benchmark, then its requests and their cost by role and model."""
    table = Table("task", "method", "budget", "questions", "model requests", box=None)
    for cell in laid.cells:
        table.add_row(cell.task, cell.method, str(cell.budget), f"{cell.questions:,}", f"{cell.calls:,}")
    console.print(table)
    table = Table("role", "model", "model requests", "about", box=None)
    for part in laid.parts:
        table.add_row(part.role, " or ".join(part.models), f"{part.calls:,}", _dollars(part.cost(prices)))
    console.print(table)
    said = f"at most {laid.calls:,} model requests on {known_as(laid.model)}; {_in_all(laid, prices)}"
    console.print(said, markup=False, soft_wrap=True)


def _in_all(laid: BenchPlan, prices: Mapping[str, Price]) -> str:
    if laid.model == SERVERS:
        return "the cost depends on the servers' model, which is unknown here"
    missing, total = unpriced(laid.parts, prices), cost(laid.parts, prices)
    is_simulated = laid.model.removeprefix("metascale/") in OVERCONFIDENCE
    notice = "this is a SIMULATION, not a result about language models" if is_simulated else ""
    if total is None:
        said = f"the cost is unknown: no price of {', '.join(missing)} (set it with --set prices=…)"
    elif all(is_free(model) for part in laid.parts for model in part.models):
        return f"free: {notice}" if notice else "free"
    else:
        said = f"about ${total:,.2f}"
    return f"{said}; {notice}" if notice else said


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"${cost:,.2f}"
