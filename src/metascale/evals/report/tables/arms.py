"""Which meta-thoughts runs drew from, and what they earned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from metascale.evals.report.records import AnswerGiven
from metascale.evals.report.tables.cells import SEED, Setting, choosing, grouped, mean_or_none, rewards_of
from metascale.evals.statistics import Interval, mean_interval
from metascale.records import Origin


@dataclass(frozen=True)
class ArmKind:
    """The arms of one kind, over the runs of one method that had a choice of arms.

    Attributes:
        setting: the task and the model.
        method: such as `metascale`.
        budget: the largest of that method.
        kind: the id of a fixed meta-thought, otherwise the origin.
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
    return [
        _arm_kind(setting, method, budget, kind, runs)
        for (setting, method, budget), runs in choosing(answers)
        for kind in sorted({_kind(thought) for run in runs for thought in run.pool}, key=_kind_order)
    ]


def exemplary_run(answers: Sequence[AnswerGiven]) -> AnswerGiven | None:
    """The run with most generations, then most meta-thoughts, then most samples; None if no meta-thought evolved."""
    evolved = [answer for answer in answers if any(thought["parents"] for thought in answer.pool)]
    size = {id(run): (max(t["generation"] for t in run.pool), len(run.pool), len(run.samples)) for run in evolved}
    return max(evolved, key=lambda run: size[id(run)], default=None)


def arm_rewards(answer: AnswerGiven) -> dict[str, float | None]:
    """The mean reward of each meta-thought of a run, None if none of its samples was scored."""
    drawn = grouped(answer.samples, lambda sample: sample.meta_thought)
    return {thought["id"]: mean_or_none(rewards_of(drawn.get(thought["id"], ()))) for thought in answer.pool}


def _kind(thought: Mapping[str, object]) -> str:
    return str(thought["id"] if thought["origin"] == "fixed" else thought["origin"])


def _kind_order(kind: str) -> tuple[int, str]:
    order = [origin for origin in get_args(Origin) if origin != "fixed"]
    return (order.index(kind) if kind in order else -1), kind


def _arm_kind(setting: Setting, method: str, budget: int, kind: str, runs: Sequence[AnswerGiven]) -> ArmKind:
    ids = [{thought["id"] for thought in run.pool if _kind(thought) == kind} for run in runs]
    drawn = [[s for s in run.samples if s.meta_thought in arms] for run, arms in zip(runs, ids, strict=True)]
    rewards = [float(np.mean(scored)) for samples in drawn if (scored := rewards_of(samples))]
    return ArmKind(
        setting=setting,
        method=method,
        budget=budget,
        kind=kind,
        runs=len(runs),
        arms=float(np.mean([len(arms) for arms in ids])),
        pulls=float(np.mean([len(samples) for samples in drawn])),
        reward=mean_or_none(rewards),
        interval=mean_interval(rewards, seed=SEED) if rewards else None,
    )
