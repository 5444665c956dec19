"""How the answers of every row were made: versions, dates, seeds, settings and arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metascale.evals.report.formats import NOTHING, minute
from metascale.evals.report.records import AnswerGiven, Source
from metascale.evals.report.tables.cells import base_of, cells_of
from metascale.graphs import METHODS

_ELSEWHERE = {"budget", "seed", "judge_model"}
"""Arguments that have a place of their own."""


@dataclass(frozen=True)
class Facts:
    """How the answers of one task and model were made.

    Attributes:
        common: what is the same for all rows, by its name.
        names: what is not.
        rows: for each method and budget, the values of `names` in order. Several values of one row, which merged logs
            may have, are joined.
    """

    common: Mapping[str, str]
    names: tuple[str, ...]
    rows: Mapping[tuple[str, int], tuple[str, ...]]


def facts(answers: Sequence[AnswerGiven]) -> Facts:
    """The facts about answers of one task and model."""
    known = {(method, budget): _of_row(cell) for (_, method, budget), cell in cells_of(answers)}
    names = list(dict.fromkeys(name for of_row in known.values() for name in of_row))
    values = {name: [of_row.get(name, NOTHING) for of_row in known.values()] for name in names}
    common = {name: of_name[0] for name, of_name in values.items() if len(set(of_name)) == 1}
    differing = tuple(name for name in names if name not in common)
    rows = {row: tuple(of_row.get(name, NOTHING) for name in differing) for row, of_row in known.items()}
    return Facts(common, differing, rows)


def _of_row(answers: Sequence[AnswerGiven]) -> dict[str, str]:
    told: dict[str, dict[str, None]] = {}
    for answer in answers:
        for name, value in _of_answer(answer).items():
            told.setdefault(name, {})[value] = None
    return {name: "; ".join(sorted(values)) for name, values in told.items()}


def _of_answer(answer: AnswerGiven) -> dict[str, str]:
    source = answer.source
    if source is None:
        return {}
    arguments = {name: value for name, value in source.arguments.items() if name not in _ELSEWHERE}
    return {
        **dict(sorted(source.packages.items(), key=lambda item: item[0] != "metascale")),
        "seed": "none" if answer.seed is None else str(answer.seed),
        "judge": _judge(base_of(answer.method), source),
        **{name: str(value) for name, value in arguments.items()},
        "epochs": str(source.epochs),
        **{f"model: {name}": str(value) for name, value in source.model_args.items()},
        **{f"generation: {name}": str(value) for name, value in source.generation.items()},
        **({"server": source.base_url} if source.base_url else {}),
        **{f"task: {name}": str(value) for name, value in source.task_args.items()},
        "started": minute(source.started),
        "completed": minute(source.completed),
    }


def _judge(method: str, source: Source) -> str:
    if method in METHODS and not METHODS[method].judged:
        return "none"
    return str(source.arguments.get("judge_model", "the model itself"))
