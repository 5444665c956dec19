"""Calling a reward round by round, and reading what a request showed the judge."""

from __future__ import annotations

import json
from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from metascale import MetaScaleSettings, Score, prompts
from metascale.rewards import Earlier, RelativeReward

SETTINGS = MetaScaleSettings(max_retries=0)


def shown(messages: list[BaseMessage]) -> dict[str, str]:
    """The fenced texts of a request, by their names."""
    return dict(prompts.fenced(messages[1].text))


async def rounds(
    reward: RelativeReward, answers: Sequence[Sequence[str]]
) -> tuple[list[Earlier], list[list[Score]], list[float | None]]:
    """All answers scored round by round: what is remembered, the scores and the final values."""
    earlier: list[Earlier] = []
    scores = []
    for number, texts in enumerate(answers):
        found = await reward.score("Why?", texts, SETTINGS, place=["judge", number], earlier=earlier)
        earlier = [*earlier, *(Earlier(text, score.memo) for text, score in zip(texts, found, strict=True))]
        scores.append(found)
    return earlier, scores, reward.values([json.loads(json.dumps(answer.memo)) for answer in earlier])
