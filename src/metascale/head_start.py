"""What is believed of a pool before anything else is known: chain of thought has a record, the others have none."""

from __future__ import annotations

from metascale import prompts
from metascale.bandits import Prior
from metascale.recollection import Beliefs, key_of

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
