"""The comparisons of policies as tables for a person. Every table says that it is a SIMULATION."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metascale.choice.second_look import SAMPLE_CALLS
from metascale.evals.policies.contest import Contest, Estimate, EvolutionRow, QualityRow, ShareRow
from metascale.evals.policies.memory_replay import MemoryReplay
from metascale.evals.policies.replay import ALWAYS_COT, Found, Replay

SIMULATION = "SIMULATION: nothing of it is a result about language models."
REPLAYED = "SIMULATION of the judge: real answers, SIMULATED judge."


def show_shares(played: Contest, rows: Sequence[ShareRow], missing: Mapping[str, str], console: Console) -> None:
    """Print the share of the gap that each entrant closes, overall and by landscape.

    Args:
        played: what was played.
        rows: the results.
        missing: who could not take part, and why.
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
    """Print what evolution is worth at equal calls, and what its gate keeps of that."""
    for at, budget in enumerate(played.budgets):
        table = Table("policy", "children", "always - off (SE)", "gated - off (SE)", "gated / always", box=None)
        table.title = f"SIMULATION: what evolution adds to the true quality, paired, {SAMPLE_CALLS * budget} calls"
        for row in rows:
            gains = [f"{one.value:+.4f} ({one.error:.4f})" for one in (row.always[at], row.gated[at])]
            kept = row.kept[at]
            table.add_row(Text(row.name), Text(row.heredity), *gains, "-" if kept is None else f"{kept:.2f}")
        console.print(table)
    if rows:
        _say("children: how much better than their best parent, and the spread of that", console)


def show_replay(found: Replay, console: Console) -> None:
    """Print how policies do on recorded answers beside best-of-N under chain of thought, a table for each judge."""
    _say(REPLAYED, console)
    _say(f"{found.file}: {found.questions:,} questions; arms in this order: {', '.join(found.arms)}", console)
    if found.left_out:
        _say(f"{found.left_out:,} questions have no sample under {found.chain_of_thought} and are left out", console)
    samples = list(dict.fromkeys(one.samples for one in found.found))
    for accuracy in dict.fromkeys(one.judge_accuracy for one in found.found):
        table = Table("policy", *(f"N = {number}" for number in samples), box=None)
        table.title = f"SIMULATED judge, right {accuracy:.0%} of pairs: % right, and difference to always CoT (95 %)"
        of_judge = [one for one in found.found if one.judge_accuracy == accuracy]
        for name in dict.fromkeys(one.name for one in of_judge):
            table.add_row(Text(name), *(_replayed(one) for one in of_judge if one.name == name))
        console.print(table)
    if samples[-1] > found.most_under_cot:
        limit = f"{found.most_under_cot} samples are recorded under {found.chain_of_thought}: for a larger N"
        _say(f"{limit} always CoT is the best of {found.most_under_cot}, while the others draw N.", console)
    _say("= marks a tie: the interval over questions contains 0", console)


def show_memory_replay(found: MemoryReplay, samples: int, accuracy: float, orders: int, console: Console) -> None:
    """Print what a memory is worth on recorded answers."""
    if accuracy < 1:
        _say(REPLAYED, console)
    judge = "feedback says what was right" if accuracy == 1 else f"SIMULATED judge, right {accuracy:.0%} of pairs"
    table = Table("", "% right (SE)", "quarters of the stream", "ahead of told (SE)", box=None)
    table.title = f"{found.file}: {found.questions:,} questions, {samples} samples each, {orders} orders; {judge}"
    for line in found.lines:
        quarters = " ".join(f"{100 * one:.1f}" for one in line.quarters)
        ahead = f"{100 * line.ahead:+.1f} ({100 * line.ahead_error:.1f})"
        table.add_row(Text(line.name), f"{100 * line.right:.1f} ({100 * line.error:.1f})", quarters, ahead)
    console.print(table)
    name, best = found.best_single
    _say(
        f"One sample a question: an arm at random {100 * found.uniform:.1f}; the best single arm in hindsight "
        f"({name}) {100 * best:.1f}; the best of each kind, cross-fitted, {100 * found.best_per_kind:.1f}",
        console,
    )
    _say(f"A reversed memory cost {found.lost:.1f} right answers of {found.questions:,} against no memory", console)
    if not found.has_texts:
        _say("The record has no questions' texts: to the memory all questions look alike", console)
    _say(f"Arms: {', '.join(found.arms)}. SE over orders, of the same questions", console)


def _replayed(one: Found) -> str:
    right = f"{100 * one.right:.1f}"
    if one.name == ALWAYS_COT:
        return right
    span = f"{100 * one.low:+.1f} to {100 * one.high:+.1f}"
    return f"{right}, {100 * one.difference:+.1f} ({span}){' =' if one.tie else ''}"


def _percent(share: Estimate) -> str:
    return f"{100 * share.value:.1f} ({100 * share.error:.1f})"


def _say(text: str, console: Console) -> None:
    console.print(Text(text), soft_wrap=True)
