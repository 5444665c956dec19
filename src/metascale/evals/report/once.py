"""Every run counts once, whatever logs hold it: interrupted, retried, copied, moved or given twice."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metascale.evals.report.records import AnswerGiven

_BY_OUTCOME = {"unanswered": 0, "failed": 1, "answered": 2}


@dataclass(frozen=True)
class Entry:
    """What one log says of one run.

    Attributes:
        answer: the run.
        log: the log's id; copies of a log have the same.
        finished: whether the log's evaluation came to its end.
        at: when the run ended, or the log began where that is not known, as ISO 8601.
        sample: the id of Inspect's sample, which copies of it share; None where there is none.
    """

    answer: AnswerGiven
    log: str
    finished: bool
    at: str
    sample: str | None = None


def once(entries: Iterable[Entry]) -> list[AnswerGiven]:
    """One record of each run.

    Two entries are of one run if they agree in all that decides an answer: the task, the model, the conditions, the
    method with its settings, the budget, the seed, the question and the epoch. An answer goes before a failure, and a
    failure before nothing; then a finished log before another, and the later entry before the earlier.

    Answers that are left out and differ from the one that counts are counted apart. They were paid for, and they show
    that a benchmark was run twice.

    Questions of one task with the same id and different texts are different questions. Where a method was run with
    several seeds, the seed is a condition of all methods, so that answers of different seeds are not mixed.

    Returns:
        The runs in an order that depends on nothing but the runs.
    """
    by_run: dict[Hashable, list[Entry]] = defaultdict(list)
    for entry in _questions_apart(list(entries)):
        by_run[_identity(entry.answer)].append(entry)
    return sorted(_seeds_apart([_best(same) for same in by_run.values()]), key=_order)


def _order(answer: AnswerGiven) -> tuple[Any, ...]:
    numbered = [(int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", answer.question_id)]
    return (repr(_cell(answer)), -1 if answer.seed is None else answer.seed, numbered, answer.epoch)


def _best(same: Sequence[Entry]) -> AnswerGiven:
    best = max(same, key=_worth)
    given = {entry.sample or entry.at for entry in same if entry.answer.outcome == "answered"}
    return replace(best.answer, left_out=max(0, len(given) - 1))


def _identity(answer: AnswerGiven) -> Hashable:
    return (_cell(answer), answer.seed, answer.question_id, answer.epoch)


def _cell(answer: AnswerGiven) -> Hashable:
    return (_group(answer), answer.method, answer.budget)


def _group(answer: AnswerGiven) -> Hashable:
    return (answer.task, answer.model, tuple(answer.conditions.items()), answer.simulated)


def _worth(entry: Entry) -> tuple[int, bool, str]:
    return _BY_OUTCOME[entry.answer.outcome], entry.finished, entry.at


def _questions_apart(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with a mark behind the ids that several questions share.

    A run without an answer has no text. It belongs to the question that a log holds with which its own log agrees in
    the text of other questions.
    """
    texts: dict[tuple[str, str], set[str]] = defaultdict(set)
    held: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for entry in entries:
        answer = entry.answer
        if answer.question:
            texts[answer.task, answer.question_id].add(answer.question)
            held[answer.task, entry.log][answer.question_id] = answer.question
    shared = {key for key, of_id in texts.items() if len(of_id) > 1}
    return [
        _marked(entry, held) if (entry.answer.task, entry.answer.question_id) in shared else entry for entry in entries
    ]


def _marked(entry: Entry, held: dict[tuple[str, str], dict[str, str]]) -> Entry:
    answer = entry.answer
    own = held.get((answer.task, entry.log), {})
    agreeing = (
        other[answer.question_id]
        for (task, _), other in held.items()
        if task == answer.task and answer.question_id in other and own.items() & other.items()
    )
    text = answer.question or next(agreeing, "")
    if not text:
        return entry
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    return replace(entry, answer=replace(answer, question_id=f"{answer.question_id} #{mark}"))


def _seeds_apart(answers: Sequence[AnswerGiven]) -> list[AnswerGiven]:
    """The answers, with the seed among their conditions where a method was run with several."""
    seeds: dict[Hashable, set[int | None]] = defaultdict(set)
    for answer in answers:
        seeds[_cell(answer)].add(answer.seed)
    several = {_group(answer) for answer in answers if len(seeds[_cell(answer)]) > 1}
    return [_with_seed(answer) if _group(answer) in several else answer for answer in answers]


def _with_seed(answer: AnswerGiven) -> AnswerGiven:
    seed = "none" if answer.seed is None else str(answer.seed)
    return replace(answer, conditions={**answer.conditions, "seed": seed})
