"""The three meta-rewards of MASA (arXiv 2510.03259), and their mean, as reward functions of TRL's trainers.

They work with `GRPOTrainer(reward_funcs=[meta_reward], …)` on the rows of `metascale export --what predictions`:
completions are predictions, plain or conversational, and the columns hold what was observed. A completion without a
readable prediction earns 0. A row without the columns of a reward gives None, which TRL leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metascale.foresight import meta_rewards
from metascale.training.stated import read_stated

Completion = str | Sequence[Mapping[str, Any]]
"""A text, or the messages of an assistant, as TRL passes them."""
Rewards = list[float | None]


def difficulty_reward(
    prompts: Sequence[Any],  # noqa: ARG001
    completions: Sequence[Completion],
    *,
    pass_rate: Sequence[float | None],
    **columns: Any,  # noqa: ARG001
) -> Rewards:
    """How close each predicted pass rate is, in [0, 1]: `0.01 ** |predicted - observed|`.

    Args:
        prompts: ignored.
        completions: predictions.
        pass_rate: the share of answers that were good, in [0, 1].
        columns: ignored.
    """
    return [
        None if observed is None else _difficulty(completion, observed)
        for completion, observed in zip(completions, pass_rate, strict=True)
    ]


def length_reward(
    prompts: Sequence[Any],  # noqa: ARG001
    completions: Sequence[Completion],
    *,
    good_lengths: Sequence[Sequence[int] | None],
    **columns: Any,  # noqa: ARG001
) -> Rewards:
    """1 where a predicted length lies strictly between the shortest and the longest good answer, else 0.

    Args:
        prompts: ignored.
        completions: predictions.
        good_lengths: of the good answers, in tokens.
        columns: ignored.
    """
    return [
        None if lengths is None else _length(completion, lengths)
        for completion, lengths in zip(completions, good_lengths, strict=True)
    ]


def notion_reward(
    prompts: Sequence[Any],  # noqa: ARG001
    completions: Sequence[Completion],
    *,
    question: Sequence[str],
    good_answers: Sequence[Sequence[str] | None],
    bad_answers: Sequence[Sequence[str] | None],
    **columns: Any,  # noqa: ARG001
) -> Rewards:
    """The share of predicted notions, in [0, 1], that more good answers than bad ones use.

    Args:
        prompts: ignored.
        completions: predictions.
        question: the task; notions that it mentions do not count.
        good_answers: texts of the good answers.
        bad_answers: texts of the others.
        columns: ignored.
    """
    rows = zip(completions, question, good_answers, bad_answers, strict=True)
    return [
        None if good is None or bad is None else _notions(completion, problem, good, bad)
        for completion, problem, good, bad in rows
    ]


def meta_reward(prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> Rewards:
    """The mean of the three rewards (`r_meta` in the paper); None where one of them is."""
    rewards = [reward(prompts, completions, **columns) for reward in (difficulty_reward, length_reward, notion_reward)]
    return [_mean(three) for three in zip(*rewards, strict=True)]


def _difficulty(completion: Completion, observed: float) -> float:
    stated = read_stated(_text(completion))
    return 0.0 if stated is None or stated.pass_rate is None else meta_rewards.difficulty(stated.pass_rate, observed)


def _length(completion: Completion, lengths: Sequence[int]) -> float:
    stated = read_stated(_text(completion))
    return 0.0 if stated is None or stated.length is None else meta_rewards.length(stated.length, lengths)


def _notions(completion: Completion, problem: str, good: Sequence[str], bad: Sequence[str]) -> float:
    stated = read_stated(_text(completion))
    return 0.0 if stated is None or not stated.notions else meta_rewards.notions(stated.notions, problem, good, bad)


def _text(completion: Completion) -> str:
    if isinstance(completion, str):
        return completion
    return "".join(_content(message.get("content")) for message in completion if message.get("role") == "assistant")


def _content(content: object) -> str:
    if isinstance(content, list):
        return "".join(str(block.get("text") or "") for block in content if isinstance(block, dict))
    return content if isinstance(content, str) else ""


def _mean(rewards: Sequence[float | None]) -> float | None:
    known = [reward for reward in rewards if reward is not None]
    return sum(known) / len(rewards) if len(known) == len(rewards) else None
