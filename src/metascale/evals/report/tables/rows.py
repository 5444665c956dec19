"""Scores and costs of every method, and the table of methods against tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from metascale.evals.report.records import AnswerGiven
from metascale.evals.report.tables.cells import (
    SEED,
    Setting,
    cells_of,
    grouped,
    is_proportion,
    mean_or_none,
    method_order,
    question_means,
)
from metascale.evals.statistics import Interval, mean_interval, wilson
from metascale.records import Bill


@dataclass(frozen=True)
class Row:
    """One method at one budget. Costs are means over the runs with usage; None if there are none.

    Attributes:
        setting: the task and the model.
        method: such as `best_of_n`.
        budget: the sampling budget that was set.
        changes: the settings in the method's label.
        questions: how many different questions there are, answered or not.
        answered: runs with a scored answer. Every planned run, one for each question and epoch, is counted here, in
            `failed` or in `unanswered`.
        failed: runs that ended without an answer, because a request or the method failed.
        unanswered: runs that have not ended.
        score: mean over the answered questions of the mean over their answered epochs, in [0, 1]; None without any.
        interval: its 95 % interval: Wilson's where `proportion`, otherwise a bootstrap over questions.
        proportion: whether every score is 0 or 1 and every question was answered at most once.
        samples: answers generated.
        calls: model requests of every kind, judgements included.
        input_tokens: prompt tokens.
        output_tokens: completion tokens.
        seconds: wall-clock working time.
        dollars: None also if the price of a run is unknown.
        wasted: share of the samples' output tokens that went into samples other than the chosen one, in [0, 1]; None
            where samples have no tokens.
        consistency: share of the questions asked in several epochs whose extracted answer was the same each time, in
            [0, 1]; None with one epoch, or where no answer can be extracted.
    """

    setting: Setting
    method: str
    budget: int
    changes: Mapping[str, str]
    questions: int
    answered: int
    failed: int
    unanswered: int
    score: float | None
    interval: Interval | None
    proportion: bool
    samples: float | None
    calls: float | None
    input_tokens: float | None
    output_tokens: float | None
    seconds: float | None
    dollars: float | None
    wasted: float | None
    consistency: float | None


@dataclass(frozen=True)
class PaperTable:
    """Methods against tasks for one model, each method at its largest budget on the task.

    Attributes:
        simulated: whether the offline model answered.
        model: the model's name.
        tasks: the columns.
        rows: for each method one cell per task; None where it was not run.
    """

    simulated: bool
    model: str
    tasks: tuple[str, ...]
    rows: Mapping[str, tuple[Row | None, ...]]


def summary(answers: Sequence[AnswerGiven]) -> list[Row]:
    """One row for each task, model, method and budget; METASCALE's after the others'."""
    return [_row(setting, method, budget, cell) for (setting, method, budget), cell in cells_of(answers)]


def paper_table(answers: Sequence[AnswerGiven]) -> list[PaperTable]:
    """One table for each model, real models first: methods against tasks, each at its largest budget."""
    tables = []
    for (simulated, model), rows in grouped(summary(answers), lambda row: row.setting[:2]).items():
        tasks = tuple(sorted({row.setting.task for row in rows}))
        largest = {(row.method, row.setting.task): row for row in sorted(rows, key=lambda row: row.budget)}
        methods = sorted({row.method for row in rows}, key=method_order)
        lines = {method: tuple(largest.get((method, task)) for task in tasks) for method in methods}
        tables.append(PaperTable(simulated, model, tasks, lines))
    return tables


def _row(setting: Setting, method: str, budget: int, answers: Sequence[AnswerGiven]) -> Row:
    means = question_means(answers)
    scores = list(means.values())
    proportion = is_proportion(answers)
    outcomes = Counter(answer.outcome for answer in answers)
    bills = [answer.usage for answer in answers if answer.usage is not None]
    return Row(
        setting=setting,
        method=method,
        budget=budget,
        changes=answers[0].changes,
        questions=len({answer.question_id for answer in answers}),
        answered=outcomes["answered"],
        failed=outcomes["failed"],
        unanswered=outcomes["unanswered"],
        score=mean_or_none(scores),
        interval=_interval(scores, proportion=proportion) if scores else None,
        proportion=proportion,
        samples=mean_or_none([bill["samples"] for bill in bills]),
        calls=mean_or_none([bill["calls"] for bill in bills]),
        input_tokens=mean_or_none([bill["input_tokens"] for bill in bills]),
        output_tokens=mean_or_none([bill["output_tokens"] for bill in bills]),
        seconds=mean_or_none([bill["seconds"] for bill in bills]),
        dollars=_dollars(bills),
        wasted=_wasted(answers),
        consistency=_consistency(answers),
    )


def _interval(scores: Sequence[float], *, proportion: bool) -> Interval:
    return wilson(round(sum(scores)), len(scores)) if proportion else mean_interval(scores, seed=SEED)


def _dollars(bills: Sequence[Bill]) -> float | None:
    known = [bill["cost_usd"] for bill in bills if bill["cost_usd"] is not None]
    return mean_or_none(known) if len(known) == len(bills) else None


def _wasted(answers: Iterable[AnswerGiven]) -> float | None:
    spent = [(sample.output_tokens, sample.id == run.winner) for run in answers for sample in run.samples]
    total = sum(tokens for tokens, _ in spent)
    return sum(tokens for tokens, won in spent if not won) / total if total else None


def _consistency(answers: Iterable[AnswerGiven]) -> float | None:
    answered = [answer for answer in answers if answer.outcome == "answered"]
    by_question = grouped(answered, lambda answer: answer.question_id)
    repeated = [[_won(run) for run in runs] for runs in by_question.values() if len(runs) > 1]
    if not any(answer is not None for given in repeated for answer in given):
        return None
    return sum(given[0] is not None and len(set(given)) == 1 for given in repeated) / len(repeated)


def _won(answer: AnswerGiven) -> str | None:
    return next((sample.extracted for sample in answer.samples if sample.id == answer.winner), None)
