"""How well rewards match probabilities of being right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metascale.evals.report.records import AnswerGiven
from metascale.evals.report.tables.cells import Setting, base_of, by_setting
from metascale.stats.reliability import CalibrationBin, auc, expected_calibration

VOTED = ("self_consistency", "cisc", "rsa", "mixture_of_agents")
"""The methods whose rewards are shares of votes."""


@dataclass(frozen=True)
class Calibration:
    """How well rewards match probabilities of being right.

    Attributes:
        setting: the task and the model.
        samples: judged samples with a known correctness, at least 1.
        error: expected calibration error, in [0, 1].
        bins: of the reward.
        auc: chance that a right sample has a higher reward than a wrong one, ties one half; None without both kinds.
    """

    setting: Setting
    samples: int
    error: float
    bins: tuple[CalibrationBin, ...]
    auc: float | None


def calibration(answers: Sequence[AnswerGiven]) -> list[Calibration]:
    """For each task and model: the judge's rewards against correctness, over all samples that have both.

    Samples that share the verdicts on others are left out: they say nothing more about the judge. So are the methods in
    `VOTED`, because their rewards are shares of votes.
    """
    found = []
    for setting, group in by_setting(answers):
        known = [
            (sample.reward, sample.right)
            for answer in group
            if base_of(answer.method) not in VOTED
            for sample in answer.samples
            if sample.reward is not None and sample.right is not None and not sample.shared
        ]
        if known:
            rewards, right = [reward for reward, _ in known], [is_right for _, is_right in known]
            error, bins = expected_calibration(rewards, right)
            found.append(Calibration(setting, len(known), error, tuple(bins), auc(rewards, right)))
    return found
