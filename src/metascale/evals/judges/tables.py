"""A judge's trial, and the attempts at a better rubric, as tables for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from metascale.evals.judges.improve_rubric import Improvement
from metascale.evals.judges.mistakes import MistakesTrial
from metascale.evals.judges.rubric_trial import Figures
from metascale.evals.judges.signals import Discrimination, Signal
from metascale.evals.judges.trial import ChainsTrial, PairsFound, PairsTrial, RepeatsTrial, Trial
from metascale.evals.recordings import Recordings
from metascale.evals.statistics import Interval

SIMULATION = "SIMULATION: the offline model was asked, so this is not a result about language models."


def show_trial(trial: Trial, judge: str, console: Console) -> None:
    """Print a trial of the named judge."""
    if trial.simulation:
        console.print(Text(SIMULATION, style="yellow"), soft_wrap=True)
    console.print(Text(f"The judge on trial: {judge}", style="bold"), soft_wrap=True)
    if trial.pairs:
        console.print(_pairs_table(trial.pairs))
    if trial.chains:
        console.print(_facts("Chains of thought: is a chain without mistakes valued higher?", _chains(trial.chains)))
        if trial.chains.bins:
            console.print(_bins_table(trial.chains))
    if trial.repeats:
        console.print(_facts("The same chains judged again", _repeats(trial.repeats)))
    if trial.mistakes:
        console.print(_facts("The first mistake of each chain", _mistakes(trial.mistakes)))
    bill = trial.usage
    cost = "" if bill["cost_usd"] is None or not bill["cost_usd"] else f", ${bill['cost_usd']:,.2f}"
    tokens = f"{bill['input_tokens']:,} tokens read and {bill['output_tokens']:,} written"
    console.print(Text(f"Spent: {bill['calls']:,} model requests, {tokens}{cost}"), soft_wrap=True)
    for note in trial.notes:
        console.print(Text(f"Note: {note}", style="yellow"), soft_wrap=True)
    for problem, times in list(trial.problems.items())[:3]:
        console.print(Text(f"Missing {times:,} times: {problem}", style="red"), soft_wrap=True)


def show_signals(recordings: Recordings, found: Sequence[Signal], console: Console) -> None:
    """Print how well recorded signals tell right answers from wrong ones."""
    console.print(Text(f"{recordings.file}: {len(recordings.right):,} answers", style="bold"), soft_wrap=True)
    table = Table("signal", "answers", "all answers", "with a final answer", "of the same arm", box=None)
    table.title = "Area under the curve within a question (95 % over questions)"
    for signal in found:
        areas = (_area(one) for one in (signal.all_answers, signal.votes, signal.same_arm))
        table.add_row(Text(signal.name), f"{signal.answers:,}", *areas)
    console.print(table)
    console.print(Text("Combinations are fitted to other questions than those they are measured on."), soft_wrap=True)
    for note in recordings.notes:
        console.print(Text(f"Note: {note}", style="yellow"), soft_wrap=True)


def _area(found: Discrimination | None) -> str:
    if found is None:
        return "no pairs"
    return f"{found.auc:.2f} ({found.interval.low:.2f} to {found.interval.high:.2f}), {found.pairs:,} pairs"


def show_improvement(improvement: Improvement, judge: str, console: Console) -> None:
    """Print the rounds of improvement for the named judge."""
    if improvement.simulation:
        console.print(Text(SIMULATION, style="yellow"), soft_wrap=True)
    console.print(Text(f"A better rubric for: {judge}", style="bold"), soft_wrap=True)
    for number, found in enumerate(improvement.rounds, 1):
        table = Table("rubric", "half", "pairs", "right", "95 %", "chains", "AUC", "95 %", "unscored", box=None)
        table.title = f"Round {number}"
        table.add_row("present", "to learn from", *_figures(found.training))
        if found.held_out:
            table.add_row("present", "held out", *_figures(found.held_out.before))
            table.add_row("new", "held out", *_figures(found.held_out.after))
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


def _pairs_table(pairs: PairsTrial) -> Table:
    table = Table(
        Column(no_wrap=True), "pairs", "right", "95 %", "ties", "unscored", "same winner", "flipped", box=None
    )
    table.title = "Pairs, each in both orders"
    for name, found in [("all", pairs), *pairs.subsets.items()]:
        table.add_row(*_pairs_row(name, found))
    return table


def _pairs_row(name: str, found: PairsFound) -> list[Text]:
    cells = [name, f"{found.pairs:,}", _percent(found.accuracy), _span(found.interval), f"{found.ties:,}"]
    cells += [f"{found.unscored:,}", _percent(found.same_winner), f"{found.flipped:,}"]
    return [Text(cell) for cell in cells]


def _chains(chains: ChainsTrial) -> Iterator[tuple[str, str]]:
    yield "chains", f"{chains.chains:,}, {chains.right:,} of them right, {chains.unscored:,} unscored"
    yield "AUC (0.5 is chance)", _number(chains.auc)
    if chains.reliability:
        yield "calibration error", _number(chains.reliability.calibration_error)
        yield "over-confidence", _number(chains.reliability.overconfidence)
        yield "concordance", _number(chains.reliability.concordance)
        yield "weight in a panel", _number(chains.weight)


def _bins_table(chains: ChainsTrial) -> Table:
    table = Table("value", "chains", "mean value", "share right", box=None, title="Calibration")
    for held in chains.bins:
        shares = (_number(held.mean_confidence), _number(held.accuracy))
        table.add_row(f"{held.low:.1f}-{held.high:.1f}", f"{held.count:,}", *shares)
    return table


def _repeats(repeats: RepeatsTrial) -> Iterator[tuple[str, str]]:
    yield "judgements", f"{repeats.judgements:,} of {repeats.answers:,} chains"
    yield "SD within a chain", f"{_number(repeats.within)} ({_number(repeats.within_of_10)} from 1 to 10)"
    yield "SD between chains", f"{_number(repeats.between)} ({_number(repeats.between_of_10)} from 1 to 10)"
    yield "ICC", _number(repeats.icc)
    yield "errors shared, same wording", _number(repeats.same_wording)
    yield "errors shared, other wording", _number(repeats.other_wording)


def _mistakes(mistakes: MistakesTrial) -> Iterator[tuple[str, str]]:
    yield "chains", f"{mistakes.chains:,}, {mistakes.wrong:,} of them wrong, {mistakes.unread:,} replies unread"
    yield "MCC of right and wrong", _number(mistakes.mcc)
    yield "first wrong step (ACC_step)", f"{_percent(mistakes.step)} {_span(mistakes.step_interval)}".strip()
    graded = f" ({mistakes.ungraded:,} ungraded)" if mistakes.ungraded else ""
    yield "right reason (ACC_reason)", "not graded" if mistakes.reason is None else _percent(mistakes.reason) + graded
    yield "combined (MR-Score)", _number(mistakes.score)


def _figures(found: Figures) -> list[str]:
    area = found.auc_interval
    return [
        f"{found.pairs:,}",
        _percent(found.accuracy),
        _span(found.accuracy_interval),
        f"{found.chains:,}",
        _number(found.auc),
        "" if area is None else f"{area.low:.2f}-{area.high:.2f}",
        f"{found.unscored:,}",
    ]


def _facts(title: str, rows: Iterator[tuple[str, str]]) -> Table:
    table = Table(box=None, title=title, show_header=False)
    for name, value in rows:
        table.add_row(name, Text(value))
    return table


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:.1f} %"


def _span(interval: Interval | None) -> str:
    return "" if interval is None else f"{100 * interval.low:.0f}-{100 * interval.high:.0f}"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f}"
