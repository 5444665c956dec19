"""How well predictions fit what came: MASA's three meta-rewards (arXiv 2510.03259)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from metascale.foresight import meta_rewards
from metascale.foresight.prediction import WELL
from metascale.records import Alignment, Candidate, Foresight


def consistency(
    foresight: Foresight, task: str, candidates: Sequence[Candidate], winner: Candidate
) -> Alignment | None:
    """How well the predictions fit what the run itself found, without knowing what is right.

    Good answers are those with the winner's final answer, or, where fewer than half mark theirs, those scored well;
    None where nothing tells.
    """
    answers = [c for c in candidates if c["text"] and c["status"] != "failed"]
    if winner["extracted"] is not None and 2 * sum(c["extracted"] is not None for c in answers) >= len(answers):
        good = [c["extracted"] == winner["extracted"] for c in answers]
    else:
        answers = [c for c in answers if c["reward"] is not None]
        good = [(c["reward"] or 0.0) >= WELL for c in answers]
    if not answers:
        return None
    judged = [(c["text"], c["output_tokens"], is_good) for c, is_good in zip(answers, good, strict=True)]
    return alignment(foresight, task, judged, "consistency")


def alignment(
    foresight: Foresight,
    task: str,
    answers: Sequence[tuple[str, int, bool]],
    measure: Literal["consistency", "accuracy"],
) -> Alignment:
    """How well predictions fit, by the three meta-rewards.

    Args:
        foresight: the predictions.
        task: notions that it names do not count.
        answers: of each its text (or only the notions that it uses), its tokens, and whether it is good; at least one.
        measure: `"accuracy"` only where `good` rests on gold answers.
    """
    good = [(text, tokens) for text, tokens, is_good in answers if is_good]
    bad = [text for text, _, is_good in answers if not is_good]
    observed = len(good) / len(answers)
    parts = (
        meta_rewards.difficulty(foresight["pass_rate"], observed),
        meta_rewards.length(foresight["length"], [tokens for _, tokens in good]),
        meta_rewards.notions(foresight["notions"], task, [text for text, _ in good], bad),
    )
    difficulty, length, notions = (round(part, 6) for part in parts)
    return {
        "measure": measure,
        "pass_rate": round(observed, 6),
        "difficulty": difficulty,
        "length": length,
        "notions": notions,
        "mean": round(fmean(parts), 6),
    }
