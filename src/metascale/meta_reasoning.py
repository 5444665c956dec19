"""Meta-Reasoning Prompting (Gao et al. 2024, arXiv 2406.11698): what follows from a model's ratings of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from metascale.bandits import Prior
from metascale.methods import ReasoningMethod
from metascale.recollection import Beliefs, key_of
from metascale.state import Rating

ADVANTAGE_A_POINT = 0.02
"""By how much a method's mean reward is believed to be higher for each point of its rating. Ours: seven points span
0.12, about what meta-thoughts of one pool differ by on recorded and simulated tasks."""
RATING_WEIGHT = 1.0
"""How many rewards a rating counts for. Ours: few, because with weak models choosing by ratings alone was worse than
the best single method (the paper's GPT-3.5)."""


class Rated(BaseModel):
    """A method's rating as the model writes it."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    method: str = Field(description="The method's name, as in the list.")
    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_000)] = Field(
        description="Why it suits the task or does not, in one sentence."
    )
    rating: int = Field(ge=1, le=7, description="1 would do harm, 4 as good as any, 7 made for this task.")


class Ratings(BaseModel):
    """The ratings of all methods as the model writes them."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    ratings: list[Rated] = Field(min_length=1, description="Every method of the list, once.")


def usable(said: Ratings, methods: Mapping[str, ReasoningMethod]) -> list[Rating]:
    """The ratings of methods that there are, the first of each, best first; ties in the order of the catalogue."""
    first: dict[str, Rated] = {}
    for rated in said.ratings:
        name = rated.method.strip().casefold()
        if name in methods:
            first.setdefault(name, rated)
    order = {name: place for place, name in enumerate(methods)}
    ranked = sorted(first, key=lambda name: (-first[name].rating, order[name]))
    return [{"method": name, "rating": first[name].rating, "reason": first[name].reason} for name in ranked]


def beliefs(ratings: Sequence[Rating], methods: Mapping[str, ReasoningMethod]) -> Beliefs:
    """Ratings as priors for the bandit: advantages by the distance to the mean rating.

    Meta-thoughts that nobody rated are believed to be average, with the same weight, so that ratings say which arms are
    tried first and never that one is not.
    """
    if not ratings:
        return Beliefs()
    mean = sum(rating["rating"] for rating in ratings) / len(ratings)
    known = {
        key_of("", methods[rating["method"]].instructions): Prior(
            ADVANTAGE_A_POINT * (rating["rating"] - mean), RATING_WEIGHT
        )
        for rating in ratings
    }
    return Beliefs(known, Prior(0.0, RATING_WEIGHT))
