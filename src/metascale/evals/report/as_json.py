"""The contents of a report as JSON; docs/reference/report.md describes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from metascale.evals.report.contents import Report, TaskPart
from metascale.evals.report.facts import Facts
from metascale.evals.report.outcomes import Question

SCHEMA = 1
"""The version of the format. It rises when a key changes its meaning or goes; new keys may come without."""


def as_json(report: Report) -> dict[str, Any]:
    """The contents of a report as JSON values, without NaN and infinities: unknown numbers are null."""
    told = {name: value for name, value in _fields(report).items() if name != "models"}
    parts = [part for model in report.models for part in model.tasks]
    return {"schema": SCHEMA, **_plain(told), "tasks": [_task(part) for part in parts]}


def _task(part: TaskPart) -> dict[str, Any]:
    apart = {"setting", "outcomes", "facts", "exemplar"}
    return {
        **_plain(part.setting),
        **{name: _plain(value) for name, value in _fields(part).items() if name not in apart},
        "made": _made(part.facts),
        "questions": [_question(question) for question in part.outcomes.questions],
    }


def _made(facts: Facts) -> list[dict[str, Any]]:
    return [
        {"method": method, "budget": budget, **facts.common, **dict(zip(facts.names, values, strict=True))}
        for (method, budget), values in facts.rows.items()
    ]


def _question(question: Question) -> dict[str, Any]:
    replies = [reply for of_column in question.replies for reply in of_column]
    return {"id": question.id, "text": question.text, "gold": question.gold, "replies": _plain(replies)}


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _plain(value: Any) -> Any:
    """JSON values: records become objects without their setting, which their task names."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value):
        return {name: _plain(inner) for name, inner in _fields(value).items() if name != "setting"}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(inner) for name, inner in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
