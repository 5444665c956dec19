"""Meta-awareness without training (after MASA, arXiv 2510.03259): what predictions about one's own answers mean.

MASA trains a model to foresee its pass rate, the length of its answers and the notions that they need; an untrained one
is often wrong about itself, and mostly too sure. So nothing here rests on a prediction alone: it says what to try
first, and the first answers must bear it out. All constants are ours: the paper gives neither its bound on the spread
nor its factor for the length, and chose both for a trained model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median, pstdev
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from metascale import meta_rewards
from metascale.meta_rewards import in_singular
from metascale.state import Alignment, Candidate, Foresight, Outlook, Prediction
from metascale.stopping import agreement

SURE = 0.1
"""Standard deviation of the predicted pass rates up to which they agree."""
EASY, HOPELESS = 0.7, 0.1
"""Mean predicted pass rate from which a task is easy, and up to which it is hopeless. How low the former is costs no
quality, for an easy task must be confirmed; further down four answers seldom agree."""
FIRST_LOOK = 4
"""Samples of the small first round: the fewest that can agree well enough to be `CONFIRMED`."""
CONFIRMED = 0.95
"""How sure the most frequent final answer must be for an easy task to end; see `metascale.stopping.agreement`."""
WELL = 0.6
"""Mean reward that the agreeing answers must have earned as well, so that a shared mistake must deceive the judge too;
and the reward from which a single answer shows that a task was not hopeless."""
EXCELLENT = 0.9
"""Reward that every one of the first answers must have earned where no final answers are marked: then all that further
samples may add is 0.1."""
CAPPED_TO = 2
"""A hopeless task gets one in so many samples of the budget, and never fewer than the first look. A quarter cost three
points of accuracy in simulated runs that wrongly foresaw failure everywhere, for four samples can all look bad."""
GENEROUS = 4
"""A sample may be so many times as long as foreseen: the limit is for answers that run away, not for long ones."""
SHORTEST_LIMIT = 1_024
"""Tokens that every sample may have, whatever was foreseen: a limit that bites costs a whole sample, and hidden
reasoning counts against it."""
LONGEST = 1_000_000
NOTIONS_HINTED = 8

Notion = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[^\n\r]*$")]


class Predicted(BaseModel):
    """A prediction as the model writes it."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    analysis: Annotated[str, StringConstraints(max_length=4_000)] = Field(
        description="What the task turns on, and where an attempt is likely to slip."
    )
    pass_rate: float = Field(ge=0, le=1, allow_inf_nan=False, description="Share of right answers, from 0 to 1.")
    length: int = Field(ge=1, le=LONGEST, description="Tokens of one good answer.")
    notions: list[Notion] = Field(max_length=32, description="Needed notions that the task does not name.")


def prediction_of(said: Predicted, task: str) -> Prediction:
    """A prediction without the notions that the task names, and each notion once."""
    named = f" {in_singular(task)} "
    fresh = {in_singular(notion): notion for notion in reversed(said.notions)}
    kept = [notion for key, notion in fresh.items() if key and f" {key} " not in named]
    return {
        "analysis": said.analysis,
        "pass_rate": said.pass_rate,
        "length": said.length,
        "notions": kept[::-1],
    }


def foresight_of(predictions: Sequence[Prediction]) -> Foresight:
    """What several predictions say together.

    Args:
        predictions: at least one.
    """
    rates = [prediction["pass_rate"] for prediction in predictions]
    mean, spread = fmean(rates), pstdev(rates)
    return {
        "predictions": list(predictions),
        "pass_rate": round(mean, 6),
        "spread": round(spread, 6),
        "length": round(median(prediction["length"] for prediction in predictions)),
        "notions": _recurring(predictions),
        "outlook": outlook(mean, spread) if len(predictions) > 1 else "open",
    }


def outlook(mean: float, spread: float) -> Outlook:
    """What predicted pass rates of this mean and standard deviation make of a task."""
    if spread > SURE or HOPELESS < mean < EASY:
        return "open"
    return "easy" if mean >= EASY else "hopeless"


def _recurring(predictions: Sequence[Prediction]) -> list[str]:
    """The notions that more than one prediction names (or the only one), the most frequent first."""
    words = {in_singular(notion): notion for one in reversed(predictions) for notion in reversed(one["notions"])}
    counts = Counter(key for one in predictions for key in dict.fromkeys(map(in_singular, one["notions"])))
    enough = min(2, len(predictions))
    return [words[key] for key, count in counts.most_common() if count >= enough]


def allowance(
    foresight: Foresight | None, candidates: Sequence[Candidate], *, budget: int, samples: int, several_arms: bool
) -> int:
    """The samples that a run gets, by what was foreseen and by what its answers so far make of that; at most `budget`.

    An easy task ends where it stands once its answers confirm it: the most frequent final answer is the one to stay,
    more than one meta-thought gave it, and the reward finds it right as well. Answers without final answers cannot
    agree; they confirm it where all are excellent. A hopeless task is capped until its answers refute that: a majority
    agrees on a final answer, or one is scored well. Both err on the side of more samples.

    Args:
        foresight: None where nothing was foreseen.
        candidates: the samples so far; those that refine another are no evidence of their own.
        budget: the full one.
        samples: drawn so far.
        several_arms: whether the pool has more than one meta-thought.
    """
    if foresight is None or foresight["outlook"] == "open":
        return budget
    answers = [c for c in candidates if c["status"] == "ok" and c["refines"] is None]
    if foresight["outlook"] == "easy":
        return min(budget, samples) if _is_confirmed(answers, several_arms=several_arms) else budget
    return budget if _is_refuted(answers) else min(budget, max(FIRST_LOOK, -(-budget // CAPPED_TO)))


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


def first_look(foresight: Foresight | None, samples: int) -> int:
    """Samples that an easy task's first look still needs, each of another meta-thought; 0 for all other tasks."""
    if foresight is None or foresight["outlook"] != "easy":
        return 0
    return max(0, FIRST_LOOK - samples)


def length_limit(foresight: Foresight | None, candidates: Sequence[Candidate]) -> int | None:
    """The longest sample, in tokens; None without foresight, or once a sample of the run proved it wrong."""
    if foresight is None or any(c.get("unlimited") for c in candidates):
        return None
    return max(SHORTEST_LIMIT, GENEROUS * foresight["length"])


def hint(foresight: Foresight | None) -> str:
    """The notions that one arm is told, joined by commas; empty without any."""
    return ", ".join(foresight["notions"][:NOTIONS_HINTED]) if foresight is not None else ""


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
