"""Tests the invariants of runs on a model server that fails in every way, at every rate, in every role.

The offline model answers, behind a loopback server: a SIMULATION of a model, real faults on real connections. Every
cell is checked for the invariants of `tests.faults`: the budget is kept, the bill is right, no finished sample is lost,
the result says what went wrong, nothing hangs, a good sample gives an answer, an error never does.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tests.faults import BY_NAME, FAULTS, RATES, ROLES, Cell, Run, broken, run

METHODS = ("best_of_n", "self_consistency")
REWARDS = ("pairwise", "panel", "critique")
Outcome = tuple[Run, list[str]]


def matrix(repeats: int, budget: int) -> Iterator[Cell]:
    """Every fault in every role that it can befall, at every rate; then the other methods and rewards at 30 %."""
    for seed in range(repeats):
        for fault in FAULTS:
            for role in fault.roles:
                for rate in RATES:
                    yield Cell(fault, role, rate, seed, budget=budget)
            if "solver" in fault.roles:
                yield Cell(fault, "solver", 0.3, seed, budget=budget, is_synchronous=True)
                for method in METHODS:
                    yield Cell(fault, "solver", 0.3, seed, method, budget=budget)
            if "judge" in fault.roles:
                for reward in REWARDS:
                    yield Cell(fault, "judge", 0.3, seed, reward=reward, budget=budget)


async def measure(cells: Iterable[Cell], at_once: int) -> dict[Cell, Outcome]:
    """Run the cells, several in parallel."""
    slots = asyncio.Semaphore(at_once)

    async def one(cell: Cell) -> tuple[Cell, Outcome]:
        async with slots:
            found = await (asyncio.to_thread(asyncio.run, run(cell)) if cell.is_synchronous else run(cell))
            return cell, (found, broken(cell, found))

    return dict(await asyncio.gather(*(one(cell) for cell in cells)))


def column(cell: Cell) -> tuple[str, str]:
    """The table and the column in which a cell stands."""
    rate = f"{cell.rate:.0%}"
    if cell.reward != "judge":
        return f"judge, {rate}, by reward", cell.reward
    if cell.method != "metascale":
        return f"solver, {rate}, by method", cell.method
    if cell.is_synchronous:
        return f"solver, {rate}, by method", "invoke"
    return cell.role, rate


def shown(outcomes: Sequence[Outcome]) -> str:
    """A cell of a table: whether all held in every repeat, and medians with their range."""
    bad = sum(bool(problems) for _, problems in outcomes)
    runs = [found for found, _ in outcomes]
    figures = [
        spread([found.faults for found in runs], "faults"),
        spread([found.state["usage"]["samples"] for found in runs], "samples"),
        spread([found.state["usage"]["calls"] for found in runs], "calls"),
        spread([round(found.seconds, 1) for found in runs], "s"),
    ]
    return f"{f'BROKEN {bad}/{len(runs)}' if bad else 'ok'}: {', '.join(figures)}"


def spread(values: Sequence[float], unit: str) -> str:
    """The median, and the range where there is one."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):g}{f' ({low:g}-{high:g})' if high > low else ''} {unit}"


def main() -> None:
    """Print the tables, and what broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3, help="seeds that each cell is run with")
    parser.add_argument("--at-once", type=int, default=4, help="cells at a time")
    parser.add_argument("--fault", action="append", choices=BY_NAME, help="only these; repeat for more")
    parser.add_argument("--role", action="append", choices=ROLES, help="only these; repeat for more")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    cells = [
        cell
        for cell in matrix(options.repeats, options.budget)
        if cell.fault.name in (options.fault or BY_NAME) and cell.role in (options.role or ROLES)
    ]
    found = asyncio.run(measure(cells, options.at_once))
    tables: dict[str, dict[str, dict[str, list[Outcome]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for cell, outcome in found.items():
        table, name = column(cell)
        tables[table][cell.fault.name][name].append(outcome)
    print(f"SIMULATION of a model; budget {options.budget}, {options.repeats} seeds a cell: median (range)")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for table, rows in tables.items():
        columns = list(dict.fromkeys(name for row in rows.values() for name in row))
        print(f"\n| {table} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
        for name, row in rows.items():
            print(f"| {name} | {' | '.join(shown(row[one]) if one in row else '' for one in columns)} |")
    problems = [f"{cell}: {problem}" for cell, (_, said) in found.items() for problem in said]
    print(f"\n{len(found):,} runs, {sum(bool(said) for _, said in found.values()):,} with a broken invariant")
    print("\n".join(problems))


if __name__ == "__main__":
    main()
