"""How well a run's predictions matched its answers, by MASA's three meta-rewards (arXiv 2510.03259)."""

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
    """How well the predictions matched the run's own judgement of its answers. Gold answers are not needed.

    Good answers are those with the winner's final answer. If fewer than half of the answers mark theirs, they are
    those with a reward of at least `WELL`.

    Args:
        foresight: the predictions.
        task: notions that it names are ignored.
        candidates: the samples of the run.
        winner: the chosen sample.

    Returns:
        None where no answer can be judged.
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
    """How well predictions matched answers, by the three meta-rewards.

    Args:
        foresight: the predictions.
        task: notions that it names are ignored.
        answers: at least one, each with its text (or only the notions that it uses), its length in tokens, and whether
            it is good.
        measure: `"accuracy"` only where gold answers decide which answers are good.
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
