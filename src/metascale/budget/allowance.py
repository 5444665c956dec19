"""How many samples a run gets and how long they may be, given the model's predictions. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from metascale.budget.stopping import agreement
from metascale.foresight.prediction import WELL
from metascale.records import Candidate, Foresight

FIRST_LOOK = 4
"""Samples of the small first round: the fewest that can agree well enough to be `CONFIRMED`."""
CONFIRMED = 0.95
"""`budget.stopping.agreement` of the final answers that confirms an easy task."""
EXCELLENT = 0.9
"""Reward that every one of the first answers needs where no final answers are marked. Further samples can then add at
most 0.1."""
CAPPED_TO = 2
"""A hopeless task gets the budget divided by this, and at least the first look. Ours: tuned on simulated runs that
wrongly predicted failure everywhere. There a quarter of the budget cost three points of accuracy, because four samples
can all look bad."""
GENEROUS = 4
"""A sample may be this many times as long as predicted. The limit stops runaway answers, not long ones."""
SHORTEST_LIMIT = 1_024
"""Tokens that every sample may have, even if fewer were predicted. A limit that cuts an answer costs a whole sample,
and hidden reasoning counts against it."""

CALLS_A_PREDICTION = 4
"""Model requests that `max_calls` must allow for each prediction, so that at most a quarter of them predict.
Not tuned."""


def predictions_allowed(wanted: int, max_calls: int | None) -> int:
    """Predictions that a run may ask for: at most `wanted`, and at most one for every `CALLS_A_PREDICTION` requests."""
    return wanted if max_calls is None else min(wanted, max_calls // CALLS_A_PREDICTION)


def allowance(
    foresight: Foresight | None, candidates: Sequence[Candidate], *, budget: int, samples: int, several_arms: bool
) -> int:
    """The samples that a run gets, given the prediction and its answers so far; at most `budget`.

    An easy task ends once its answers confirm the prediction: the most frequent final answer is likely to stay the most
    frequent, more than one meta-thought gave it, and its mean reward is at least `WELL`. Answers without final answers
    cannot agree; they confirm the prediction if all are excellent. A hopeless task is capped until its answers refute
    the prediction: a majority agrees on a final answer, or an answer is scored well. Both rules err on the side of more
    samples.

    Args:
        foresight: None where nothing was predicted.
        candidates: the samples so far. Refinements are left out, because they are not independent.
        budget: the full budget.
        samples: drawn so far.
        several_arms: whether the pool has more than one meta-thought.
    """
    if foresight is None or foresight["outlook"] == "open":
        return budget
    answers = [c for c in candidates if c["status"] == "ok" and c["refines"] is None]
    if foresight["outlook"] == "easy":
        return min(budget, samples) if _is_confirmed(answers, several_arms=several_arms) else budget
    return budget if _is_refuted(answers) else min(budget, max(FIRST_LOOK, -(-budget // CAPPED_TO)))


def first_look(foresight: Foresight | None, samples: int) -> int:
    """Samples that the first look at an easy task still needs, each of another meta-thought; 0 for other tasks."""
    if foresight is None or foresight["outlook"] != "easy":
        return 0
    return max(0, FIRST_LOOK - samples)


def length_limit(foresight: Foresight | None, candidates: Sequence[Candidate]) -> int | None:
    """The most tokens of a sample; None without a prediction, or once a sample of the run exceeded the limit."""
    if foresight is None or any(c.get("unlimited") for c in candidates):
        return None
    return max(SHORTEST_LIMIT, GENEROUS * foresight["length"])


def _is_confirmed(answers: Sequence[Candidate], *, several_arms: bool) -> bool:
    if len(answers) < FIRST_LOOK:
        return False
    marked = [c["extracted"] for c in answers if c["extracted"] is not None]
    if 2 * len(marked) < len(answers):
        agreeing, is_good = answers, all((c["reward"] or 0.0) >= EXCELLENT for c in answers)
    elif agreement(marked) < CONFIRMED:
        return False
    else:
        most_frequent = Counter(marked).most_common(1)[0][0]
        agreeing = [c for c in answers if c["extracted"] == most_frequent]
        rewards = [c["reward"] for c in agreeing if c["reward"] is not None]
        is_good = not rewards or fmean(rewards) >= WELL
    return is_good and len({c["meta_thought"] for c in agreeing}) >= 1 + several_arms


def _is_refuted(answers: Sequence[Candidate]) -> bool:
    marked = [c["extracted"] for c in answers if c["extracted"] is not None]
    most = max(Counter(marked).values(), default=0)
    return (len(marked) > 1 and 2 * most > len(marked)) or any((c["reward"] or 0.0) >= WELL for c in answers)
