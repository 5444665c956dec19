"""Reads Inspect's logs into the records of a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalLog, EvalSample, list_eval_logs, read_eval_log
from inspect_ai.scorer import CORRECT, Score

from metascale.answers import extract
from metascale.errors import MetaScaleError
from metascale.evals.harness.solvers import RECORD, SOLVERS
from metascale.evals.report.records import AnswerGiven, Battle, ForesightRecord, SampleRecord, Source
from metascale.evals.report.source import gold_of, question_of, source_of
from metascale.models.simulated import OVERCONFIDENCE
from metascale.settings import MetaScaleSettings


class LogError(MetaScaleError):
    """A log cannot be read, or holds no answers of metascale's methods."""


DEFAULT_POLICY = MetaScaleSettings().policy
"""The default policy, which labels leave out."""


def read_logs(paths: Iterable[Path]) -> list[AnswerGiven]:
    """The answers of all logs, files or folders of them.

    Raises:
        LogError: a path does not exist or is not a log, or no answer in the logs is from a method of metascale.
    """
    answers = [answer for log in logs_in(paths) for answer in answers_of(log)]
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


def answers_of(log: EvalLog) -> list[AnswerGiven]:
    """The answers in one log; none if they are from another solver."""
    method = method_of(log)
    if method is None:
        return []
    name, arguments = method
    simulated = is_simulated(log)
    source = source_of(log)
    return [_answer(log, sample, name, arguments, source, simulated=simulated) for sample in log.samples or []]


def is_simulated(log: EvalLog) -> bool:
    """Whether the offline model answered."""
    answers = (sample.store.get(RECORD, {}) for sample in log.samples or [])
    return not OVERCONFIDENCE.keys().isdisjoint(log.eval.model.split("/")) or any(
        answer.get("simulated") for answer in answers
    )


def _files(paths: Iterable[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += [Path(info.name.removeprefix("file://")) for info in list_eval_logs(str(path))]
        elif path.exists():
            files.append(path)
        else:
            raise LogError(f"there is no log {str(path)!r}")
    return files


def method_of(log: EvalLog) -> tuple[str, dict[str, Any]] | None:
    """The method of metascale that answered, and its arguments; None if another solver did."""
    for step in log.plan.steps:
        package, _, name = step.solver.rpartition("/")
        if package in {"", "metascale"} and name in SOLVERS:
            return name, {**(step.params or {})}
    return None


def _label(method: str, arguments: Mapping[str, Any]) -> str:
    """A method's name with its changed settings, so that an ablation is never mistaken for the method."""
    changes = {**(arguments.get("settings") or {})}
    if arguments.get("policy", DEFAULT_POLICY) != DEFAULT_POLICY:
        changes["policy"] = arguments["policy"]
    if not changes:
        return method
    return f"{method} ({', '.join(f'{name}={value}' for name, value in sorted(changes.items()))})"


def _full_budget(method: str, arguments: Mapping[str, Any]) -> str | None:
    """The label of the same method without foresight; None if it has no foresight."""
    changes = {**(arguments.get("settings") or {})}
    if not changes.pop("foresee", False):
        return None
    changes.pop("predictions", None)
    return _label(method, {**arguments, "settings": changes})


def _foreseen(record: Mapping[str, Any], score: Score | None) -> ForesightRecord | None:
    report = record.get("foresight")
    if report is None:
        return None
    known = ((score.metadata or {}) if score else {}).get("foresight")
    return ForesightRecord(report["foresight"]["pass_rate"], report["foresight"]["outlook"], known)


def _answer(
    log: EvalLog, sample: EvalSample, method: str, arguments: dict[str, Any], source: Source, *, simulated: bool
) -> AnswerGiven:
    record = sample.store.get(RECORD, {})
    score = next(iter((sample.scores or {}).values()), None)
    failed = bool(sample.error) or bool(record.get("problem")) or score is None
    battles = [
        Battle(battle["verdict"], battle["swapped"], tuple(battle["style"]))
        for battle in ((score.metadata or {}).get("battles", []) if score else [])
    ]
    gold = sample.target if isinstance(sample.target, str) and not battles else ""
    return AnswerGiven(
        task=log.eval.task.rpartition("/")[2],
        method=_label(method, arguments),
        budget=int(arguments.get("budget", 16)),
        model=log.eval.model,
        simulated=simulated,
        question_id=str(sample.id),
        epoch=sample.epoch,
        score=None if failed or score is None else _value(score.value),
        usage=record.get("usage"),
        reward=record.get("reward"),
        winner=record.get("winner"),
        pool=record.get("pool", []),
        samples=_samples(record.get("candidates", []), gold),
        battles=battles,
        foreseen=_foreseen(record, score),
        full_budget=_full_budget(method, arguments),
        question=question_of(sample),
        gold="" if battles else gold_of(sample),
        text=sample.output.completion,
        problem=sample.error.message if sample.error else record.get("problem"),
        source=source,
    )


def _value(value: Any) -> float:
    return float(value == CORRECT) if isinstance(value, str) else float(value)


def _samples(candidates: Sequence[dict[str, Any]], gold: str) -> list[SampleRecord]:
    known = extract(gold) if gold else None
    return [
        SampleRecord(
            id=c["id"],
            round=c["round"],
            meta_thought=c["meta_thought"],
            status=c["status"],
            reward=c["reward"],
            right=None if known is None or c["extracted"] is None else c["extracted"] == known,
            extracted=c["extracted"],
            input_tokens=c["input_tokens"],
            output_tokens=c["output_tokens"],
        )
        for c in candidates
    ]
