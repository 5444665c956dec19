"""What became of a benchmark: how many questions were answered, failed or are left, by the logs in its folder."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inspect_ai.log import EvalSampleSummary, list_eval_logs, read_eval_log, read_eval_log_sample_summaries

BENCHMARK = "benchmark"
"""The key of a log's metadata that says which evaluation of which benchmark it belongs to."""
_RAISED = re.compile(r"""^\w+\((['"])(.*)\1\)$""", re.DOTALL)
"""How Inspect shows an error: the class, and its message in quotes."""
CANCELLED = "CancelledError"
"""What Inspect logs of questions that were in flight when the benchmark was interrupted."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation as its logs know it.

    Attributes:
        known_by: the value of `BENCHMARK` in its logs' metadata.
        questions: the ids of its questions, each with every epoch.
    """

    known_by: str
    questions: frozenset[tuple[str | int, int]]


@dataclass(frozen=True)
class Counts:
    """The questions of one evaluation, epochs included, by what became of them.

    Attributes:
        answered: answered and scored.
        failed: not answered because requests failed.
        left: neither.
        logs: the files that hold them.
    """

    answered: int
    failed: int
    left: int
    logs: Sequence[Path]

    @property
    def questions(self) -> int:
        """All of them."""
        return self.answered + self.failed + self.left


@dataclass(frozen=True)
class Outcome:
    """How a benchmark ended.

    Attributes:
        counts: of each evaluation.
        reasons: why questions failed, in one line each, and how many.
        interrupted: whether somebody ended it.
        refusal: why it ended early; empty if it did not.
    """

    counts: Sequence[Counts]
    reasons: Counter[str]
    interrupted: bool
    refusal: str

    @property
    def is_complete(self) -> bool:
        """Whether every question is answered."""
        return all(one.answered == one.questions for one in self.counts)

    @property
    def said(self) -> str:
        """The outcome in one line: what is not answered, why, and how to go on."""
        questions = sum(one.questions for one in self.counts)
        failed, left = (sum(getattr(one, name) for one in self.counts) for name in ("failed", "left"))
        if self.is_complete:
            return f"all {_counted(questions, 'question')} are answered"
        if self.refusal:
            return (
                f"{self.refusal}. {failed + left:,} of {_counted(questions, 'question')} are not answered; repeat the "
                "command to go on"
            )
        if self.interrupted:
            unfinished = sum(1 for one in self.counts if one.answered < one.questions)
            return (
                f"interrupted: {failed + left:,} of {_counted(questions, 'question')} are left, in {unfinished} of "
                f"{_counted(len(self.counts), 'evaluation')}; repeat the command to go on"
            )
        (why, count), *others = self.reasons.most_common() or [("the logs do not say why", failed)]
        further = f" (and {_counted(len(others), 'other reason')})" if others else ""
        which = f"{count} times: " if others else ""
        return (
            f"{failed + left:,} of {_counted(questions, 'question')} failed: {which}{why}{further}; repeat the command "
            "to ask them again"
        )


def outcome_of(
    evaluations: Sequence[Evaluation], log_dir: Path, *, interrupted: bool = False, refusal: str = ""
) -> Outcome:
    """The outcome of a benchmark, by all of its logs in a folder: also those of earlier, interrupted commands."""
    logs: defaultdict[str, list[Path]] = defaultdict(list)
    for info in list_eval_logs(str(log_dir)):
        path = Path(info.name.removeprefix("file://"))
        metadata = read_eval_log(info, header_only=True).eval.metadata or {}
        logs[str(metadata.get(BENCHMARK))].append(path)
    counts: list[Counts] = []
    reasons: Counter[str] = Counter()
    for one in evaluations:
        all_samples = (found for path in logs[one.known_by] for found in read_eval_log_sample_summaries(str(path)))
        samples = [found for found in all_samples if (found.id, found.epoch) in one.questions]
        answered = {(found.id, found.epoch) for found in samples if found.completed and not found.error}
        errors = {(found.id, found.epoch): why for found in samples if (why := _error_of(found))}
        failed = {which: why for which, why in errors.items() if which not in answered}
        reasons.update(failed.values())
        left = len(one.questions) - len(answered) - len(failed)
        counts.append(Counts(len(answered), len(failed), left, logs[one.known_by]))
    return Outcome(counts, reasons, interrupted, refusal)


def _error_of(sample: EvalSampleSummary) -> str | None:
    """Why a question failed; None if it did not, or was only cut off."""
    if not sample.error or sample.error.startswith(CANCELLED):
        return None
    raised = _RAISED.match(sample.error)
    return raised.group(2) if raised else sample.error


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
