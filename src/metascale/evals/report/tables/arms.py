"""Which meta-thoughts runs drew from, and what they earned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from metascale.evals.report.records import AnswerGiven, SampleRecord
from metascale.evals.report.tables.cells import SEED, Setting, choosing, grouped, mean_or_none, rewards_of
from metascale.evals.statistics import Interval, mean_interval
from metascale.records import Origin

_About = tuple[Setting, str, int]
"""The setting, the method and the budget of some runs."""


@dataclass(frozen=True)
class ArmKind:
    """The arms of one kind, over the runs of one method that had a choice of arms.

    Attributes:
        setting: the task and the model.
        method: such as `metascale`.
        budget: the largest of that method.
        kind: the id of a fixed meta-thought, otherwise the origin; or `model NAME` for all arms of one of several
            models.
        runs: how many runs of the method had a choice.
        arms: mean number of such arms in a run.
        pulls: mean number of their samples in a run.
        reward: mean over runs of the mean reward of their samples, in [0, 1]; None where none was scored.
        interval: its 95 % interval, a bootstrap over runs.
    """

    setting: Setting
    method: str
    budget: int
    kind: str
    runs: int
    arms: float
    pulls: float
    reward: float | None
    interval: Interval | None


def pulls(answers: Sequence[AnswerGiven]) -> list[ArmKind]:
    """Pulls and rewards of each kind of arm, for each method that chooses among arms, at its largest budget."""
    return [row for about, runs in choosing(answers) for row in [*_by_kind(about, runs), *_by_model(about, runs)]]


def exemplary_run(answers: Sequence[AnswerGiven]) -> AnswerGiven | None:
    """The run with most generations, then most meta-thoughts, then most samples; None if no meta-thought evolved."""
    evolved = [answer for answer in answers if any(thought["parents"] for thought in answer.pool)]
    size = {id(run): (max(t["generation"] for t in run.pool), len(run.pool), len(run.samples)) for run in evolved}
    return max(evolved, key=lambda run: size[id(run)], default=None)


def arm_rewards(answer: AnswerGiven) -> dict[str, float | None]:
    """The mean reward of each meta-thought of a run, None if none of its samples was scored."""
    drawn = grouped(answer.samples, lambda sample: sample.meta_thought)
    return {thought["id"]: mean_or_none(rewards_of(drawn.get(thought["id"], ()))) for thought in answer.pool}


def kind_of(thought: Mapping[str, object]) -> str:
    """The id of a fixed meta-thought, otherwise the origin."""
    return str(thought["id"] if thought["origin"] == "fixed" else thought["origin"])


def _kind_order(kind: str) -> tuple[int, str]:
    order = [origin for origin in get_args(Origin) if origin != "fixed"]
    return (order.index(kind) if kind in order else -1), kind


def _by_kind(about: _About, runs: Sequence[AnswerGiven]) -> list[ArmKind]:
    rows = []
    for kind in sorted({kind_of(thought) for run in runs for thought in run.pool}, key=_kind_order):
        ids = [{thought["id"] for thought in run.pool if kind_of(thought) == kind} for run in runs]
        drawn = [[s for s in run.samples if s.meta_thought in arms] for run, arms in zip(runs, ids, strict=True)]
        rows.append(_row(about, kind, [len(arms) for arms in ids], drawn))
    return rows


def _by_model(about: _About, runs: Sequence[AnswerGiven]) -> list[ArmKind]:
    """A row for each model, where there are several."""
    models = sorted({sample.model for run in runs for sample in run.samples})
    rows = []
    for model in models if len(models) > 1 else ():
        drawn = [[s for s in run.samples if s.model == model] for run in runs]
        rows.append(_row(about, f"model {model}", [len({s.meta_thought for s in own}) for own in drawn], drawn))
    return rows


def _row(about: _About, kind: str, arms: Sequence[int], drawn: Sequence[Sequence[SampleRecord]]) -> ArmKind:
    setting, method, budget = about
    rewards = [float(np.mean(scored)) for samples in drawn if (scored := rewards_of(samples))]
    return ArmKind(
        setting=setting,
        method=method,
        budget=budget,
        kind=kind,
        runs=len(drawn),
        arms=float(np.mean(arms)),
        pulls=float(np.mean([len(samples) for samples in drawn])),
        reward=mean_or_none(rewards),
        interval=mean_interval(rewards, seed=SEED) if rewards else None,
    )
