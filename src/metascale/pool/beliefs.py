"""What is believed of a pool before anything else is known: chain of thought has a record, the others have none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from metascale import prompts
from metascale.bandits import Prior
from metascale.pool.methods import ReasoningMethod
from metascale.records import MetaThought, Rating

WEIGHT = 2.0
"""How many rewards the head start counts for. Ours, as its default size is: on recorded exams (gpt-35-turbo, 10 samples
of 4 strategies a question) the best of N under chain of thought alone is hard to beat with few samples, because arms
whose answers hardly vary must be tried first; with this head start the search does not fall behind it, and a few
rewards outweigh it."""


def head_start(advantage: float) -> Beliefs:
    """The beliefs that give plain chain of thought a head start.

    Args:
        advantage: by how much its mean reward is believed to lie above the average arm's, in [0, 1]; 0 is none.
    """
    if advantage == 0:
        return Beliefs()
    mindset, strategy = prompts.BUILT_IN_META_THOUGHTS["chain_of_thought"]
    return Beliefs({key_of(mindset, strategy): Prior(advantage, WEIGHT)}, Prior(0.0, WEIGHT))


@dataclass(frozen=True)
class Kept:
    """A meta-thought whose text is remembered.

    Attributes:
        mindset: who thinks.
        strategy: how.
        advantage: by how much its mean reward was above that of the run, above 0.
        pulls: samples that say so.
    """

    mindset: str
    strategy: str
    advantage: float
    pulls: int


def key_of(mindset: str, strategy: str) -> str:
    """A meta-thought's name across runs: 16 hexadecimal digits of the hash of its text, white space folded."""
    text = "\n".join(" ".join(part.split()) for part in (mindset, strategy))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Beliefs:
    """What earlier runs let one believe before a new one.

    Attributes:
        known: a prior for each meta-thought that was tried before, by key.
        unknown: the prior of any other; None where nothing at all is remembered.
    """

    known: Mapping[str, Prior] = field(default_factory=dict)
    unknown: Prior | None = None

    def about(self, mindset: str, strategy: str) -> Prior | None:
        """The prior of a meta-thought; None where nothing at all is remembered."""
        return self.known.get(key_of(mindset, strategy), self.unknown)


def believed(pool: Sequence[MetaThought], *sources: Beliefs) -> list[MetaThought]:
    """The pool with what is believed of its meta-thoughts; what several sources believe counts by its weight."""
    found: list[MetaThought] = []
    for thought in pool:
        said = [source.about(thought["mindset"], thought["strategy"]) for source in sources]
        priors = [prior for prior in said if prior is not None]
        weight = sum(prior.weight for prior in priors)
        if weight:
            advantage = sum(prior.weight * prior.advantage for prior in priors) / weight
            found.append({**thought, "prior": {"advantage": advantage, "weight": weight}})
        else:
            found.append(thought)
    return found


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


def believed_at_start(
    pool: Sequence[MetaThought],
    remembered: Beliefs,
    ratings: Sequence[Rating],
    methods: Mapping[str, ReasoningMethod],
    *,
    advantage: float,
) -> list[MetaThought]:
    """The pool with the priors that a run starts with.

    Memory replaces the head start of plain chain of thought; ratings add to either.

    Args:
        pool: the arms.
        remembered: what earlier runs say.
        ratings: what the model thinks of reasoning methods for the task; may be empty.
        methods: all rated methods, by name.
        advantage: the head start, as in `head_start`.
    """
    earlier = remembered if remembered.known else head_start(advantage)
    return believed(pool, earlier, beliefs(ratings, methods))
