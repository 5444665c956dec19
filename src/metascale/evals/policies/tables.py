"""Replays as tables for a person. Tables of a simulated judge say so."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metascale.evals.policies.arms import ArmAccuracy
from metascale.evals.policies.choosing import MAJORITY, Chosen
from metascale.evals.policies.memory_replay import CHARACTERS_PER_TOKEN, MEMORY, MemoryReplay
from metascale.evals.policies.replay import ALWAYS_COT, EntrantResult, Replay
from metascale.evals.policies.searching import SELF_CONSISTENCY, VOTES, Method
from metascale.evals.policies.sharing import Shared
from metascale.evals.recordings import Recordings
from metascale.evals.statistics import Interval, is_tie
from metascale.settings import MetaScaleSettings

REPLAYED = "SIMULATION of the judge: real answers, SIMULATED judge."


def show_replay(found: Replay, console: Console) -> None:
    """Print the results of policies against best-of-N under chain of thought, one table per judge."""
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


def show_arms(found: Sequence[ArmAccuracy], console: Console) -> None:
    """Print how right the arms are."""
    table = Table("arm", "questions", "samples", "% right (95 %)", "difference to chain of thought (95 %)", box=None)
    table.title = "One sample: does the way of thinking matter?"
    for one in found:
        right = f"{100 * one.right:.1f} ({_span(one.interval, '.1f')})"
        row = (f"{one.questions:,}", f"{one.samples:,}", right, _against(one.difference, one.of_difference))
        table.add_row(Text(one.arm), *row)
    console.print(table)


def show_searches(found: Sequence[Method], console: Console) -> None:
    """Print methods against self-consistency under chain of thought, one table for each reward."""
    default = MetaScaleSettings()
    calls = sorted({one.calls for one in found})
    for reward in dict.fromkeys(one.reward for one in found):
        of_reward = [one for one in found if one.reward == reward]
        questions = sorted({one.questions for one in of_reward})
        first = "way of voting" if reward == VOTES else "policy"
        table = Table(first, *(f"{number} requests" for number in calls), box=None)
        learnt = "without a reward" if reward == VOTES else f"reward {reward}"
        asked = " to ".join(map(str, dict.fromkeys((questions[0], questions[-1]))))
        table.title = (
            f"At equal requests, {learnt}, {asked} questions: % right, and difference to {SELF_CONSISTENCY} (95 %)"
        )
        for name in dict.fromkeys(one.name for one in of_reward):
            by_calls = {one.calls: one for one in of_reward if one.name == name}
            cells = (_method(by_calls[number]) if number in by_calls else "" for number in calls)
            is_default = (name, reward) == (default.policy, default.reward)
            table.add_row(Text(f"{name} (METASCALE's default)" if is_default else name), *cells)
        console.print(table)
    _say("Searches pull the recorded arms alone: nothing is composed, evolved or judged a second time.", console)


def show_choices(recordings: Recordings, found: Sequence[Chosen], console: Console) -> None:
    """Print the results of ways of choosing among recorded samples."""
    _say(f"{recordings.file}: {len(recordings.questions):,} questions; arms: {', '.join(recordings.arms)}", console)
    samples = sorted({one.samples for one in found})
    table = Table("way of choosing", "questions", *(f"N = {number}" for number in samples), box=None)
    table.title = "% right, and difference to the majority of the same samples (95 %)"
    for way in dict.fromkeys(one.way for one in found):
        by_size = {one.samples: one for one in found if one.way == way}
        questions = sorted({one.questions for one in by_size.values()}, reverse=True)
        cells = (_chosen(by_size[size]) if size in by_size else "" for size in samples)
        table.add_row(Text(way), " to ".join(map(str, questions[:1] + questions[-1:][: len(questions) - 1])), *cells)
    console.print(table)
    dear = [one for one in found if one.calls > one.samples]
    if dear:
        costs = Table("way of choosing", "N", "requests", "tokens written", "% right", box=None)
        for title in ("majority at equal requests", "at equal tokens"):
            costs.add_column(title)
        costs.title = "Ways that ask for something, beside a majority at equal cost"
        for one in dear:
            numbers = (one.right, one.at_equal_calls, one.at_equal_tokens)
            written = "unknown" if one.tokens is None else f"{one.tokens:,.0f}"
            row = (str(one.samples), str(one.calls), written, *map(_percent, numbers))
            costs.add_row(Text(one.way), *row)
        console.print(costs)
    _say("= marks a tie: the interval over questions contains 0. Combinations are cross-fitted by question.", console)
    for note in recordings.notes:
        _say(f"Note: {note}", console)


def show_sharing(found: Shared, file: str, console: Console) -> None:
    """Print the curves of the rules that share a budget."""
    table = Table("rule", "samples a question", "% right", f"against {found.reference} for everybody", box=None)
    table.title = f"{file}: {found.questions:,} questions with {found.reference} answers or more"
    for one in found.points:
        low, high = one.difference_interval
        against = f"{100 * one.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        table.add_row(one.rule, f"{one.samples:.1f}", _percent(one.right), against)
    console.print(table)
    _say(
        f"Recorded answers; {found.repeats} random orders, 95 % bootstrap intervals over questions. shared: each "
        "sample goes where it is expected to gain most. one by one: a question stops once its most frequent answer is "
        "likely to stay it.",
        console,
    )
    if found.left_out:
        _say(f"Note: {found.left_out:,} questions have fewer answers and are left out", console)


def show_memory_replay(found: MemoryReplay, samples: int, accuracy: float, orders: int, console: Console) -> None:
    """Print the results of a memory on recorded answers."""
    if accuracy < 1:
        _say(REPLAYED, console)
    judge = "feedback reveals correctness" if accuracy == 1 else f"SIMULATED judge, right {accuracy:.0%} of pairs"
    is_priced = any(line.cost is not None for line in found.lines)
    headings = ("", "% right (SE)", "quarters of the stream", "last half (SE)", "ahead of best (95 %)")
    table = Table(*headings, *(["US$"] if is_priced else []), box=None)
    table.title = f"{found.file}: {found.questions:,} questions, {samples} samples each, {orders} orders; {judge}"
    for line in found.lines:
        quarters = " ".join(f"{100 * one:.1f}" for one in line.quarters)
        late = f"{100 * line.last_half:.1f} ({100 * line.last_half_error:.1f})"
        low, high = line.of_best_interval
        ahead = f"{100 * line.of_best:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        cost = [f"{line.cost:.3f}"] if line.cost is not None else []
        right = f"{100 * line.right:.1f} ({100 * line.error:.1f})"
        table.add_row(Text(line.name), right, quarters, late, ahead, *cost)
    console.print(table)
    name, best = found.best_single
    _say(
        f"One sample a question: an arm at random {100 * found.uniform:.1f}; the best single arm in hindsight "
        f"({name}) {100 * best:.1f}; the best of each kind, cross-fitted, {100 * found.best_per_kind:.1f}"
        + (
            f", and within the limit {100 * found.best_within_limit:.1f}" if found.best_within_limit is not None else ""
        ),
        console,
    )
    memory = next(line for line in found.lines if line.name == MEMORY)
    _say(f"Regret of the memory: {memory.regret:.1f} right answers a stream against the best single arm", console)
    if is_priced:
        _say(
            f"Costs count {CHARACTERS_PER_TOKEN} characters as a token, and hidden reasoning only as prices include it",
            console,
        )
    _say(f"A reversed memory cost {found.lost:.1f} right answers of {found.questions:,} against no memory", console)
    if not found.has_texts:
        _say("The record has no texts, so all questions look alike to the memory", console)
    _say(f"Arms: {', '.join(found.arms)}. SE over orders; intervals over questions", console)


def _replayed(one: EntrantResult) -> str:
    right = f"{100 * one.right:.1f}"
    if one.name == ALWAYS_COT:
        return right
    span = f"{100 * one.low:+.1f} to {100 * one.high:+.1f}"
    return f"{right}, {100 * one.difference:+.1f} ({span}){' =' if one.tie else ''}"


def _chosen(one: Chosen) -> str:
    right = _percent(one.right)
    if one.way == MAJORITY:
        return right
    return f"{right}, {_against(one.difference, one.interval)}"


def _method(one: Method) -> str:
    right = f"{100 * one.right:.1f}"
    return right if one.name == SELF_CONSISTENCY else f"{right}, {_against(one.difference, one.interval)}"


def _against(difference: float | None, interval: Interval | None) -> str:
    """A difference in points, with its interval."""
    if difference is None or interval is None:
        return ""
    return f"{100 * difference:+.1f} ({_span(interval, '+.1f')}){' =' if is_tie(interval) else ''}"


def _span(interval: Interval, form: str) -> str:
    return f"{100 * interval.low:{form}} to {100 * interval.high:{form}}"


def _percent(share: float | None) -> str:
    return "not recorded" if share is None else f"{100 * share:.1f}"


def _say(text: str, console: Console) -> None:
    console.print(Text(text), soft_wrap=True)
