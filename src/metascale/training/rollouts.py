"""Recorded runs of a prompt, and which of their answers are good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from typing_extensions import TypedDict

from metascale.records import Prediction, Status


class Message(TypedDict):
    """One message of a conversation, as TRL reads it."""

    role: str
    content: str


@dataclass(frozen=True)
class Answer:
    """One answer to a prompt.

    Attributes:
        run: the run that drew it; rewards of different runs are not compared.
        text: the answer.
        status: as in `metascale.records.Candidate`, never `failed`.
        reward: in [0, 1]; None where it was not scored.
        correct: by the gold answer; None where there is none.
        length: in tokens; None where the server did not report it.
        shared: whether the reward is that of other answers of the run with the same final answer.
    """

    run: int
    text: str
    status: Status
    reward: float | None
    correct: bool | None
    length: int | None
    shared: bool = False


@dataclass(frozen=True)
class Rollout:
    """A question with its answers: one run, or several merged by `gathered`.

    Attributes:
        model: the model's name; empty if unknown.
        simulated: whether the offline model answered; everything made from the run must then say *simulation*.
        prompt: the conversation; the question is its last message.
        gold: the gold answer, or None.
        answers: all answers, in order.
        predictions: what the model predicted.
    """

    model: str
    simulated: bool
    prompt: Sequence[Message]
    gold: str | None
    answers: Sequence[Answer]
    predictions: Sequence[Prediction]

    @property
    def question(self) -> str:
        """The last message."""
        return self.prompt[-1]["content"]


@dataclass(frozen=True)
class Measured:
    """Which answers to a prompt are good.

    Attributes:
        by: `gold`, or `reward` if a threshold on rewards decided, which does not mean correct.
        good: the good answers.
        bad: the others.
    """

    by: Literal["gold", "reward"]
    good: Sequence[Answer]
    bad: Sequence[Answer]

    @property
    def pass_rate(self) -> float:
        """The share of good answers, in [0, 1]."""
        return len(self.good) / (len(self.good) + len(self.bad))

    @property
    def good_lengths(self) -> list[int] | None:
        """Lengths of the good answers in tokens; None if there are good answers but no known length."""
        known = [answer.length for answer in self.good if answer.length is not None]
        return known if known or not self.good else None

    @property
    def mean_length(self) -> float | None:
        """Mean length of the good answers in tokens; None if unknown."""
        return fmean(self.good_lengths) if self.good_lengths else None


def gathered(runs: Iterable[Rollout]) -> list[Rollout]:
    """Merge the runs of one model on one prompt, in order of appearance."""
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[Rollout]] = {}
    for run in runs:
        prompt = tuple((message["role"], message["content"]) for message in run.prompt)
        groups.setdefault((run.model, prompt), []).append(run)
    return [
        Rollout(
            model=same[0].model,
            simulated=any(run.simulated for run in same),
            prompt=same[0].prompt,
            gold=next((run.gold for run in same if run.gold is not None), None),
            answers=[answer for run in same for answer in run.answers],
            predictions=[prediction for run in same for prediction in run.predictions],
        )
        for same in groups.values()
    ]


def measured(answers: Sequence[Answer], good_reward: float | None) -> Measured | None:
    """Split answers into good and bad: by gold if known for all, else by a threshold on rewards.

    Args:
        answers: to one prompt.
        good_reward: the lowest reward of a good answer where gold is unknown; None: no answer counts as good.

    Returns:
        None if neither is known. If rewards decide, unscored answers are left out.
    """
    if answers and all(answer.correct is not None for answer in answers):
        good, bad = ([a for a in answers if a.correct is right] for right in (True, False))
        return Measured("gold", good, bad)
    scored = [(answer, answer.reward) for answer in answers if answer.reward is not None]
    if good_reward is None or not scored:
        return None
    good, bad = ([a for a, reward in scored if (reward >= good_reward) is right] for right in (True, False))
    return Measured("reward", good, bad)
