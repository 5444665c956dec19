"""What is believed of meta-thoughts before a run, as priors for the bandit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metascale import prompts
from metascale.bandits import Prior
from metascale.pool.parts import NEW, ArmKey
from metascale.records import Belief, MetaThought

WEIGHT = 2.0
"""Rewards that the head start counts for. Ours, as the default of `head_start`: both were tuned on recorded exams
(gpt-35-turbo, 10 samples of 4 strategies a question). There the best of N under chain of thought alone is hard to beat
with few samples, because arms whose answers hardly vary must be tried first. With this head start the search does not
fall behind it, and a few rewards outweigh it."""


@dataclass(frozen=True)
class Kept:
    """A meta-thought that a memory keeps as text.

    Attributes:
        mindset: who thinks.
        strategy: how.
        advantage: its mean reward above that of its run's average arm, above 0.
        pulls: scored samples that the advantage rests on.
        model: that answered; empty in memories of earlier versions, which did not say.
    """

    mindset: str
    strategy: str
    advantage: float
    pulls: int
    model: str = ""


@dataclass(frozen=True)
class Beliefs:
    """Priors of arms for a new run, from one source.

    Attributes:
        known: priors by the arm's name (`ArmKey`). `NEW` stands for any model or meta-thought that is not named.
        unknown: the prior of every other arm; None where the source says nothing at all.
    """

    known: Mapping[str, Prior] = field(default_factory=dict)
    unknown: Prior | None = None

    def about(self, mindset: str, strategy: str, model: str = "") -> Prior | None:
        """The prior of an arm: of the pair, of its model or meta-thought with anything else, or of any arm.

        What is said of a meta-thought without naming a model holds for all models.

        Args:
            mindset: of the meta-thought.
            strategy: of the meta-thought.
            model: the model's name; empty where every arm has the same model.

        Returns:
            None where the source says nothing at all.
        """
        thought = key_of(mindset, strategy)
        pairs = [ArmKey(thought, model), ArmKey(NEW, model), ArmKey(thought, NEW), ArmKey(thought)]
        return next((self.known[str(pair)] for pair in pairs if str(pair) in self.known), self.unknown)


def key_of(mindset: str, strategy: str) -> str:
    """A meta-thought's name across runs: 16 hexadecimal digits of the hash of its text, white space folded."""
    text = "\n".join(" ".join(part.split()) for part in (mindset, strategy))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def head_start(advantage: float) -> Beliefs:
    """The beliefs that give plain chain of thought a head start.

    Args:
        advantage: its mean reward above the average arm's, in [0, 1]; 0 is no head start.
    """
    if advantage == 0:
        return Beliefs()
    mindset, strategy = prompts.BUILT_IN_META_THOUGHTS["chain_of_thought"]
    return Beliefs({key_of(mindset, strategy): Prior(advantage, WEIGHT)}, Prior(0.0, WEIGHT))


def believed(pool: Sequence[MetaThought], models: Sequence[str], *sources: Beliefs) -> list[MetaThought]:
    """The pool with the priors of its meta-thoughts; those of several sources are averaged by their weights.

    Where the sources tell models apart, a meta-thought gets a prior with each of them.

    Args:
        pool: the arms.
        models: the labels of the run's models, at least one.
        sources: what is believed, at least one.
    """
    found: list[MetaThought] = []
    for thought in pool:
        priors = {model: prior for model in models if (prior := _together(thought, model, sources))}
        said = list(priors.values())
        if not said:
            found.append(thought)
        elif said.count(said[0]) == len(models):
            found.append({**thought, "prior": said[0]})
        else:
            found.append({**thought, "priors": priors})
    return found


def _together(thought: MetaThought, model: str, sources: Sequence[Beliefs]) -> Belief | None:
    """What several sources say of a meta-thought with a model; None where they say nothing."""
    said = [source.about(thought["mindset"], thought["strategy"], model) for source in sources]
    priors = [prior for prior in said if prior is not None]
    weight = sum(prior.weight for prior in priors)
    if not weight:
        return None
    return {"advantage": sum(prior.weight * prior.advantage for prior in priors) / weight, "weight": weight}


def believed_at_start(
    pool: Sequence[MetaThought], remembered: Beliefs, rated: Beliefs, *, advantage: float, models: Sequence[str]
) -> list[MetaThought]:
    """The pool with the priors that a run starts with.

    Memory replaces the head start of plain chain of thought; ratings add to either.

    Args:
        pool: the arms.
        remembered: what earlier runs say.
        rated: what the model thinks of reasoning methods for the task.
        advantage: the head start, as in `head_start`.
        models: the labels of the run's models, at least one.
    """
    return believed(pool, models, remembered if remembered.known else head_start(advantage), rated)
