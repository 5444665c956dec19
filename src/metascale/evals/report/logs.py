"""Reads Inspect's logs into the records of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalLog, EvalSample, list_eval_logs, read_eval_log
from inspect_ai.scorer import Score, value_to_float

from metascale.errors import MetaScaleError
from metascale.evals.harness.finals import RECORD_SCORER, SCORER, FinalAnswers, GoldError, final_answers
from metascale.evals.harness.solvers import RECORD, SOLVERS
from metascale.evals.report.conditions import conditions_of, is_simulation, model_of, task_of
from metascale.evals.report.labels import budget_of, changes_of, full_budget_of, method_label, seed_of
from metascale.evals.report.once import Entry, once
from metascale.evals.report.records import AnswerGiven, Battle, ForesightRecord, SampleRecord, Source
from metascale.evals.report.source import gold_of, question_of, source_of

RECORDED_MODEL = "metascale/recorded"
_CANCELLED = ("CancelledError(", "Cancelled(")
"""How the errors of samples begin that Inspect logs when an evaluation is interrupted."""


class LogError(MetaScaleError):
    """A log cannot be read, or holds no answers of metascale's methods."""


def read_logs(paths: Iterable[Path]) -> list[AnswerGiven]:
    """The runs of all logs, files or folders of them, each once.

    Planned runs that no log holds an end of are among them.

    Raises:
        LogError: a path does not exist or is not a log, or no log is of a method of metascale.
    """
    answers = once(entry for log in logs_in(paths) for entry in entries_of(log))
    if not answers:
        raise LogError("no log holds answers of a method of metascale")
    return answers


def logs_in(paths: Iterable[Path]) -> Iterator[EvalLog]:
    """All logs, files or folders of them, without the events of samples.

    Raises:
        LogError: a path does not exist or is not a log.
    """
    for path in _files(paths):
        try:
            log = read_eval_log(str(path), exclude_fields={"events", "messages", "attachments"})
        except Exception as error:
            raise LogError(f"{path} is not a readable Inspect log: {error}") from error
        yield log


def entries_of(log: EvalLog) -> list[Entry]:
    """What one log says of the runs that were planned in it; nothing if they are from another solver.

    Raises:
        LogError: a score is not a number.
    """
    method = method_of(log)
    if method is None:
        return []
    name, arguments = method
    changes = changes_of(name, arguments)
    setup: dict[str, Any] = {
        "task": task_of(log),
        "method": method_label(name, changes),
        "changes": changes,
        "budget": budget_of(name, arguments),
        "seed": seed_of(arguments),
        "model": model_of(log, arguments),
        "conditions": conditions_of(log, arguments),
        "simulated": is_simulation(log, arguments),
        "full_budget": full_budget_of(name, arguments),
    }
    source = source_of(log, arguments)
    eval_id, finished, begun = log.eval.eval_id, log.status == "success", log.eval.created
    found = [
        Entry(_answer(log, sample, setup, source), eval_id, finished, sample.completed_at or begun, sample.uuid)
        for sample in log.samples or []
    ]
    ended = {(entry.answer.question_id, entry.answer.epoch) for entry in found}
    missing = [_unanswered(*run, setup, source) for run in _planned(log) if run not in ended]
    return found + [Entry(answer, eval_id, finished, begun) for answer in missing]


def is_simulated(log: EvalLog) -> bool:
    """Whether the offline model took part in a log."""
    method = method_of(log)
    return is_simulation(log, method[1] if method else {})


def _files(paths: Iterable[Path]) -> list[Path]:
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found = [Path(info.name.removeprefix("file://")) for info in list_eval_logs(str(path))]
        elif path.exists():
            found = [path]
        else:
            raise LogError(f"there is no log {str(path)!r}")
        files |= dict.fromkeys(one.resolve() for one in found)
    return list(files)


def method_of(log: EvalLog) -> tuple[str, dict[str, Any]] | None:
    """The method of metascale that answered, and its arguments; None if another solver did."""
    for step in log.plan.steps:
        package, _, name = step.solver.rpartition("/")
        if package in {"", "metascale"} and name in SOLVERS:
            return name, {**(step.params or {})}
    return None


def _planned(log: EvalLog) -> list[tuple[str, int]]:
    """The question and the epoch of every run that the log's evaluation was to make."""
    epochs = range(1, (log.eval.config.epochs or 1) + 1)
    return [(str(question), epoch) for question in log.eval.dataset.sample_ids or [] for epoch in epochs]


def _unanswered(question: str, epoch: int, setup: Mapping[str, Any], source: Source) -> AnswerGiven:
    nothing: dict[str, Any] = {"score": None, "usage": None, "reward": None, "winner": None}
    return AnswerGiven(**setup, **nothing, question_id=question, epoch=epoch, source=source, ended=False)


def _answer(log: EvalLog, sample: EvalSample, setup: Mapping[str, Any], source: Source) -> AnswerGiven:
    record = sample.store.get(RECORD, {})
    score = next(iter((sample.scores or {}).values()), None)
    problem = _problem(sample, record)
    value = None if score is None or problem else _value(log, score)
    battles = [
        Battle(battle["verdict"], battle["swapped"], tuple(battle["style"]))
        for battle in ((score.metadata or {}).get("battles", []) if score else [])
    ]
    return AnswerGiven(
        **setup,
        question_id=str(sample.id),
        epoch=sample.epoch,
        score=value,
        usage=record.get("usage"),
        reward=record.get("reward"),
        winner=record.get("winner"),
        pool=record.get("pool", []),
        samples=_samples(record.get("candidates", []), log, sample),
        battles=battles,
        foreseen=_foreseen(record, score),
        question=question_of(sample),
        gold="" if battles else gold_of(sample),
        text=sample.output.completion,
        problem=problem or record.get("problem"),
        source=source,
        ended=bool(problem) or score is not None,
    )


def _problem(sample: EvalSample, record: Mapping[str, Any]) -> str | None:
    """Why a run that has ended gave no answer; None if it gave one or was interrupted."""
    if sample.error is not None:
        return None if sample.error.message.startswith(_CANCELLED) else sample.error.message
    if record.get("winner") is None and record.get("problem"):
        return str(record["problem"])
    if not record and sample.limit is not None:
        return f"the {sample.limit.type} limit of the evaluation came before an answer"
    return None


def _value(log: EvalLog, score: Score) -> float | None:
    """A score as a number; None where the scorer gave none."""
    if not isinstance(score.value, str | int | float):
        raise LogError(f"the scorer of the log of {log.eval.task} gave no number, but {type(score.value).__name__}")
    value = value_to_float()(score.value)
    return None if math.isnan(value) else value


def _foreseen(record: Mapping[str, Any], score: Score | None) -> ForesightRecord | None:
    report = record.get("foresight")
    if report is None:
        return None
    known = ((score.metadata or {}) if score else {}).get("foresight")
    return ForesightRecord(report["foresight"]["pass_rate"], report["foresight"]["outlook"], known)


def _samples(candidates: Sequence[dict[str, Any]], log: EvalLog, sample: EvalSample) -> list[SampleRecord]:
    form = _form(log, sample)
    golds = _golds(form, sample)
    return [
        SampleRecord(
            id=c["id"],
            round=c["round"],
            meta_thought=c["meta_thought"],
            status=c["status"],
            reward=c["reward"],
            right=form.is_right(c["text"], golds) if form and golds and c["text"] else None,
            extracted=form.of(c["text"]) if form else c["extracted"],
            input_tokens=c["input_tokens"],
            output_tokens=c["output_tokens"],
            shared=c.get("shared", False),
            model=c.get("model", ""),
        )
        for c in candidates
    ]


def _form(log: EvalLog, sample: EvalSample) -> FinalAnswers | None:
    """How the log's scorer reads final answers; None if it is a scorer of another kind, or asked a record."""
    scorer = next(iter(log.eval.scorers or []), None)
    name = scorer.name.rpartition("/")[2] if scorer is not None else None
    is_new = name == RECORD_SCORER and log.eval.model != RECORDED_MODEL
    if scorer is None or (name != SCORER and not is_new):
        return None
    return final_answers((scorer.options or {}).get("kind", "auto"), sample.choices, sample.metadata)


def _golds(form: FinalAnswers | None, sample: EvalSample) -> frozenset[str]:
    """The right answers; none where they are not known or cannot be read."""
    try:
        return form.golds(sample.target, sample.id) if form else frozenset()
    except GoldError:
        return frozenset()
