"""Shared verdicts: samples with the same final answer share the verdicts on a few of them. Pure functions.

The rule is checked on recorded verdicts: Llama-3.3-70B on its own answers to 64 questions of GPQA, and
Qwen2.5-Coder-1.5B on its own to 16 of GSM8K. Within a question, two verdicts on one GPQA answer covary by 0.059 of a
variance of 0.103, and two on different samples with the same final answer by 0.009. So a further verdict tells more
about another sample than about the same one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean

from metascale.records import Candidate
from metascale.settings import MetaScaleSettings

MOST_VERDICTS = 3
"""Verdicts on one final answer that are asked for without a second look."""


def verdicts_wanted(support: int) -> int:
    """Verdicts that are asked for on a final answer: one more each time that its support doubles.

    Args:
        support: samples with this final answer, at least 1.

    Returns:
        In [1, `MOST_VERDICTS`].
    """
    return min(MOST_VERDICTS, support.bit_length())


def may_share(settings: MetaScaleSettings) -> bool:
    """Whether the final choice compares final answers; elsewhere each sample needs a verdict of its own."""
    return settings.final_choice != "best" and settings.confirm != 0


def to_judge(new: Sequence[Candidate], before: Sequence[Candidate]) -> list[Candidate]:
    """The new samples that need a verdict of their own, in their order.

    These are the samples whose final answer has fewer verdicts than `verdicts_wanted`, and all samples that cannot be
    compared: those that are not whole or mark no final answer, and all of them where less than half mark one.

    Args:
        new: samples with their final answers, unscored.
        before: the earlier samples.
    """
    whole = [c for c in (*before, *new) if c["status"] == "ok"]
    if 2 * sum(c["extracted"] is not None for c in whole) < len(whole):
        return list(new)
    support = Counter(key for c in before if (key := _key(c)) is not None)
    judged = Counter(key for c in before if (key := _key(c)) is not None and _is_judged(c))
    chosen = []
    for candidate in new:
        key = _key(candidate)
        if key is not None:
            support[key] += 1
            if judged[key] >= verdicts_wanted(support[key]):
                continue
            judged[key] += 1
        chosen.append(candidate)
    return chosen


def shared_rewards(candidates: Sequence[Candidate]) -> dict[int, float]:
    """The rewards of the samples that have no verdict of their own, by id: the mean of the verdicts that they share.

    Args:
        candidates: the samples so far. Those whose own verdict failed share too.
    """
    verdicts: defaultdict[str | None, list[float]] = defaultdict(list)
    for candidate in candidates:
        if _is_judged(candidate):
            verdicts[_key(candidate)].append(candidate["reward"] or 0.0)
    waiting = ((c["id"], _key(c)) for c in candidates if not _is_judged(c))
    return {number: fmean(verdicts[key]) for number, key in waiting if key is not None and verdicts[key]}


def _key(candidate: Candidate) -> str | None:
    """The final answer of a whole sample; None where it cannot be compared."""
    return candidate["extracted"] if candidate["status"] == "ok" else None


def _is_judged(candidate: Candidate) -> bool:
    return candidate["reward"] is not None and not candidate.get("shared")
