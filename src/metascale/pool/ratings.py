"""Meta-Reasoning Prompting's ratings (arXiv 2406.11698): how well each reasoning method suits the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from metascale.bandits import Prior
from metascale.pool.beliefs import Beliefs, key_of
from metascale.pool.methods import ReasoningMethod
from metascale.records import Rating

ADVANTAGE_A_POINT = 0.02
"""Advantage in mean reward for each point of a method's rating. Seven points span 0.12, about the range of the
meta-thoughts of one pool on recorded and simulated tasks."""
RATING_WEIGHT = 1.0
"""Rewards that a rating counts for: few, because with weak models choosing by ratings alone was worse than the
best single method (the paper's GPT-3.5)."""


class Rated(BaseModel):
    """A method's rating as the model writes it."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    method: str = Field(
        description="The method's name, as in the list.", examples=["first_method_of_the_list", "second_method"]
    )
    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_000)] = Field(
        description="Why it suits the task or does not, in one sentence.",
        examples=["The task has parts that can be solved one by one.", "There is nothing to compare."],
    )
    rating: int = Field(
        ge=1,
        le=7,
        description="1 would do harm, 4 as good as any, 7 made for this task.",
        examples=[6, 2],
        json_schema_extra={"enum": list(range(1, 8))},
    )


class Ratings(BaseModel):
    """The ratings of all methods as the model writes them."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    ratings: list[Rated] = Field(min_length=1, description="Every method of the list, once.")


def usable_ratings(said: Ratings, methods: Mapping[str, ReasoningMethod]) -> list[Rating]:
    """The first rating of each method in the catalogue, best first; ties in the order of the catalogue."""
    first: dict[str, Rated] = {}
    for rated in said.ratings:
        name = rated.method.strip().casefold()
        if name in methods:
            first.setdefault(name, rated)
    order = {name: place for place, name in enumerate(methods)}
    ranked = sorted(first, key=lambda name: (-first[name].rating, order[name]))
    return [{"method": name, "rating": first[name].rating, "reason": first[name].reason} for name in ranked]


def beliefs_from_ratings(ratings: Sequence[Rating], methods: Mapping[str, ReasoningMethod]) -> Beliefs:
    """Ratings as priors for the bandit: a method's advantage is its rating's distance to the mean rating, scaled.

    Meta-thoughts without a rating are believed to be average, with the same weight. So ratings only say which arms are
    tried first, and no arm is left out.
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
