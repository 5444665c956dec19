"""What a memory believes, for people: which arms are good at which kinds of task. Pure functions."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from metascale.memory.levels import Levels
from metascale.memory.recollection import Episode, evidence_of, most_tried, remembered_levels
from metascale.pool.parts import ArmKey
from metascale.stats.shrinkage import Joint

WORD = re.compile(r"[^\W\d_]{3,}")
NAMED_BY = 4
"""Words that name a kind of task."""
COMMON = 0.5
"""The least share of a kind's tasks that hold each of these words."""


@dataclass(frozen=True)
class Believed:
    """What is believed of one arm.

    Attributes:
        arm: its name.
        runs: that tried it.
        mean: the expected reward of a sample.
        low: lower end of the 95 % credible interval of this mean, at least 0.
        high: its upper end, at most 1.
    """

    arm: str
    runs: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Kind:
    """A kind of task that the memory has found.

    Attributes:
        words: its commonest words that are rarer elsewhere, in the order of their first task.
        runs: its runs.
        arms: what is believed of each arm that this kind has tried, best first.
    """

    words: list[str]
    runs: int
    arms: list[Believed]


@dataclass(frozen=True)
class Explained:
    """What a memory believes.

    Attributes:
        everywhere: of each arm on a task of a new kind, best first.
        kinds: the kinds of task, the most frequent first.
    """

    everywhere: list[Believed]
    kinds: list[Kind]


def explain(tasks: Sequence[str], episodes: Sequence[Episode]) -> Explained:
    """Explain a memory.

    The posterior is that of new runs. Kinds are those that the memory gave its runs, so nothing is random.

    Args:
        tasks: the texts of the runs, in order.
        episodes: the runs, from old to new; at least one with rewards.
    """
    arms = most_tried(episodes, np.zeros(len(episodes)))
    evidence = evidence_of(episodes, arms)
    kinds = np.array([episode.kind for episode in episodes])
    found = Counter(kinds.tolist())
    words = [set(WORD.findall(task.casefold())) for task in tasks]
    described = []
    for kind, runs in sorted(found.items(), key=lambda pair: (-pair[1], pair[0])):
        own = kinds == kind
        known = remembered_levels(evidence, own.astype(np.float64))
        tried = Counter(key for episode in episodes if episode.kind == kind for key in episode.records)
        described.append(
            Kind(_words(tasks, words, np.flatnonzero(own).tolist()), runs, _ranked(known.here, arms, tried))
        )
    nowhere: Levels = remembered_levels(evidence, np.zeros(len(episodes)))
    tried = Counter(key for episode in episodes for key in episode.records)
    return Explained(_ranked(nowhere.everywhere, arms, tried), described)


def _ranked(known: Joint, arms: Sequence[ArmKey], tried: Counter[str]) -> list[Believed]:
    reach = 1.96 * np.sqrt(np.diag(known.covariance))
    found = [
        Believed(str(arm), tried[str(arm)], mean, max(0.0, mean - half), min(1.0, mean + half))
        for arm, mean, half in zip(arms, np.clip(known.means, 0, 1).tolist(), reach.tolist(), strict=True)
        if tried[str(arm)]
    ]
    return sorted(found, key=lambda one: (-one.mean, one.arm))


def _words(tasks: Sequence[str], words: Sequence[set[str]], members: Sequence[int]) -> list[str]:
    """The words that tell a kind's tasks from the others: in most of them, and rare elsewhere."""
    own, every = _counted(words[index] for index in members), _counted(words)
    elsewhere = max(1, len(words) - len(members))
    common = [word for word, count in own.items() if count >= COMMON * len(members)]

    def distinct(word: str) -> float:
        return own[word] / len(members) * math.log((elsewhere + 1) / (every[word] - own[word] + 1) + 1)

    chosen = sorted(common, key=lambda word: (-distinct(word), -len(word), word))[:NAMED_BY]
    text = " ".join(tasks[index].casefold() for index in members)
    return sorted(chosen, key=lambda word: (text.find(word), word))


def _counted(of_tasks: Iterable[set[str]]) -> Counter[str]:
    return Counter(word for words in of_tasks for word in words)
