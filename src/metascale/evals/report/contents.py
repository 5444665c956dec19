"""Everything that a report shows, as data: the page and the JSON file are made from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from metascale.evals.report import tables
from metascale.evals.report.facts import Facts, facts
from metascale.evals.report.outcomes import Outcomes, outcomes
from metascale.evals.report.records import AnswerGiven
from metascale.evals.report.tables import (
    Arena,
    ArmKind,
    Calibration,
    Curve,
    Favour,
    Foretold,
    MethodComparison,
    PaperTable,
    Row,
    Savings,
    Setting,
)


@dataclass(frozen=True)
class TaskPart:
    """One task and model; empty lists and None for missing parts."""

    setting: Setting
    rows: list[Row]
    comparisons: list[MethodComparison]
    arena: Arena | None
    outcomes: Outcomes
    facts: Facts
    arms: list[ArmKind]
    regret: list[Curve]
    progress: list[Curve]
    calibration: Calibration | None
    favours: list[Favour]
    savings: list[Savings]
    foretold: list[Foretold]
    exemplar: AnswerGiven | None
    """The run whose family of meta-thoughts is drawn."""


@dataclass(frozen=True)
class ModelPart:
    """One model."""

    overview: PaperTable
    tasks: list[TaskPart]


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        versions: of metascale and the other packages that made the logs; several where logs differ.
        started: when the first log began, as ISO 8601; empty if that is not known.
        completed: when the last log ended; empty if that is not known.
        questions: how many different questions were asked.
        answered: how many runs gave an answer.
        failed: how many runs failed.
        unanswered: how many planned runs have not ended.
        left_out: how many answers later ones replace.
        models: real models first.
    """

    versions: dict[str, list[str]]
    started: str
    completed: str
    questions: int
    answered: int
    failed: int
    unanswered: int
    left_out: int
    models: list[ModelPart]

    @property
    def simulated(self) -> bool:
        """Whether any answer is the offline model's."""
        return any(model.overview.simulated for model in self.models)


def contents(answers: Sequence[AnswerGiven], *, most_missing: float = tables.MOST_MISSING) -> Report:
    """The contents of a report on these answers, at least one; see `metascale.evals.report.page.write_report`."""
    sources = [answer.source for answer in answers if answer.source]
    packages = sorted({(name, version) for source in sources for name, version in source.packages.items()})
    outcomes_of = Counter(answer.outcome for answer in answers)
    return Report(
        versions={
            name: [version for _, version in of_package]
            for name, of_package in tables.grouped(packages, lambda pair: pair[0]).items()
        },
        started=min((source.started for source in sources if source.started), default=""),
        completed=max((source.completed for source in sources if source.completed), default=""),
        questions=len({(answer.task, answer.question_id) for answer in answers}),
        answered=outcomes_of["answered"],
        failed=outcomes_of["failed"],
        unanswered=outcomes_of["unanswered"],
        left_out=sum(answer.left_out for answer in answers),
        models=_models(answers, most_missing),
    )


def _models(answers: Sequence[AnswerGiven], most_missing: float) -> list[ModelPart]:
    by_model = tables.grouped(_tasks(answers, most_missing), lambda part: part.setting[:2])
    overviews = {(table.simulated, table.model): table for table in tables.paper_table(answers)}
    return [ModelPart(overviews[model], parts) for model, parts in by_model.items()]


def _tasks(answers: Sequence[AnswerGiven], most_missing: float) -> list[TaskPart]:
    by_setting = tables.grouped(answers, tables.setting_of)
    comparisons, arms = tables.comparisons(answers, most_missing=most_missing), tables.pulls(answers)
    regret, progress = tables.regret(answers), tables.progress(answers)
    foretold, savings = tables.foretold(answers), tables.savings(answers)
    calibrations = {one.setting: one for one in tables.calibration(answers)}
    favours = tables.favours(answers)
    arenas = {one.setting: one for one in tables.arena(answers)}
    return [
        TaskPart(
            setting=setting,
            rows=rows,
            comparisons=[one for one in comparisons if one.setting == setting],
            arena=arenas.get(setting),
            outcomes=outcomes(setting, [(row.method, row.budget) for row in rows], by_setting[setting]),
            facts=facts(by_setting[setting]),
            arms=[one for one in arms if one.setting == setting],
            regret=[one for one in regret if one.setting == setting],
            progress=[one for one in progress if one.setting == setting],
            calibration=calibrations.get(setting),
            favours=[one for one in favours if one.setting == setting],
            savings=[one for one in savings if one.setting == setting],
            foretold=[one for one in foretold if one.setting == setting],
            exemplar=tables.exemplary_run(by_setting[setting]),
        )
        for setting, rows in tables.grouped(tables.summary(answers), lambda row: row.setting).items()
    ]
