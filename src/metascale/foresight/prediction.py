"""What a model's predictions about its own answers mean for a run: meta-awareness without training (after MASA).

MASA (arXiv 2510.03259) trains a model to predict its pass rate, the length of its answers and the notions that they
need. An untrained model is often wrong about itself and usually overconfident. So no rule rests on a prediction alone:
a prediction says what to try first, and the first answers must confirm it. The paper gives neither its bound on the
spread nor its factor for the length. The constants here and in `metascale.budget.allowance` are ours, tuned on the
offline model with calibrated and over-confident predictions (`benchmarks/foresight.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median, pstdev
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from metascale.foresight.meta_rewards import in_singular
from metascale.records import Foresight, Outlook, Prediction

SURE = 0.1
"""Standard deviation of the predicted pass rates up to which they count as agreeing."""
EASY, HOPELESS = 0.7, 0.1
"""Mean predicted pass rate from which a task is easy, and up to which it is hopeless. A low `EASY` costs no quality,
because answers must confirm an easy task; below 0.7 four answers seldom agree."""
WELL = 0.6
"""Mean reward that agreeing answers need to confirm an easy task, so that a shared mistake must deceive the judge too.
A single answer with this reward also shows that a task is not hopeless."""
LONGEST = 1_000_000
NOTIONS_HINTED = 8

Notion = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[^\n\r]*$")]


class Predicted(BaseModel):
    """A prediction as the model writes it."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    analysis: Annotated[str, StringConstraints(max_length=4_000)] = Field(
        description="What the task turns on, and where an attempt is likely to slip.",
        examples=["It turns on the order of the two discounts; an attempt may add them."],
    )
    pass_rate: float = Field(
        ge=0, le=1, allow_inf_nan=False, description="Share of right answers, from 0 to 1.", examples=[0.55]
    )
    length: int = Field(ge=1, le=LONGEST, description="Tokens of one good answer.", examples=[260])
    notions: list[Notion] = Field(
        max_length=32,
        description="Needed notions that the task does not name.",
        examples=[["compound percentage", "order of operations"]],
    )


def prediction_of(said: Predicted, task: str) -> Prediction:
    """A prediction without the notions that the task names, and without duplicates."""
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
    """Several predictions combined: means, medians, recurring notions and the outlook.

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
    """The outlook of a task, by the mean and the standard deviation of its predicted pass rates."""
    if spread > SURE or HOPELESS < mean < EASY:
        return "open"
    return "easy" if mean >= EASY else "hopeless"


def hint(foresight: Foresight | None) -> str:
    """The notions for the hint arm, joined by commas; empty without any."""
    return ", ".join(foresight["notions"][:NOTIONS_HINTED]) if foresight is not None else ""


def _recurring(predictions: Sequence[Prediction]) -> list[str]:
    """The notions that at least two predictions name, most frequent first; with one prediction, its notions."""
    words = {in_singular(notion): notion for one in reversed(predictions) for notion in reversed(one["notions"])}
    counts = Counter(key for one in predictions for key in dict.fromkeys(map(in_singular, one["notions"])))
    enough = min(2, len(predictions))
    return [words[key] for key, count in counts.most_common() if count >= enough]
