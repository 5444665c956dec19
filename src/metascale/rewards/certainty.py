"""How sure the model was of its own answer as a reward: it costs no request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metascale.choice.votes import sureness
from metascale.rewards.base import Drawn, Earlier, Score
from metascale.settings import MetaScaleSettings
from metascale.stats.normal import normal_tail
from metascale.stats.shrinkage import Scale, pulled

Numbers = NDArray[np.float64]

DEVIATION = Scale(0.05, 2)
"""Deviation of the sureness of a question's answers around their median, in nats a token. It was 0.04 in the middle of
48 questions of GSM8K, with 44 answers of Qwen2.5-Coder-1.5B to each, and from 0.02 to 0.08 in most of them. Its small
weight lets a few answers outweigh it."""
NORMAL_DEVIATION = 1.4826
"""The standard deviation of a normal distribution in units of its median absolute deviation."""
PULLS_OF_MANNER = 4.0
"""Pulls of an arm after which half of its manner is allowed for. Ours: on the same answers, from 2 to 8 choose equally
well. With none at all, the search returns to the surest arms, which are not the best ones."""
MOST_FORGIVEN = 1.0
"""How far below the others an arm's level may lie by manner, in deviations. On the same answers the levels of seven
arms lay within 1.2 of each other. The eighth, right in 12 % of its answers, lay 8 below their median."""
DECIMALS = 9
"""Decimals of a value, well above rounding errors, so that equal certainties give equal values."""
UNKNOWN = "no token probabilities are known"


class CertaintyReward:
    """Values an answer by how sure the model was of it, beside the other answers to the question.

    `choice.votes.sureness` measures how sure, mostly from the tokens that hold numbers. On the answers that `DEVIATION`
    names, its area under the curve within a question is 0.801 (standard error 0.023, over questions). That of all
    tokens is 0.699, of the lowest window 0.682 and of the tail 0.690. When one half of the questions chose the summary,
    all of 400 halves chose the numbers, with the tail or without, and what they chose had 0.799 on the other half.

    Arms differ in manner: a meta-thought may make a model write less predictably without making it err. So an arm's
    level is drawn towards the median of all levels, more so the more pulls it has (`PULLS_OF_MANNER`). A level far
    below the others is no manner but a bad arm, so no more than `MOST_FORGIVEN` deviations are allowed for. The values
    of such an arm are near 0 from its first pull, and a policy drops it.

    A value is the share of a normal distribution below the answer. Its centre is the median, and its deviation the
    median absolute deviation of all answers so far. So values compare the answers to one question and say nothing
    about whether any of them is right.

    Alone, certainty chooses worse than a vote, so by default its values are weights of votes; see
    `rewards.scorer.settings_of_votes`.

    The memo of an answer is `{"arm": ID, "sureness": NATS}`.
    """

    reads_certainty = True
    weighs_votes = True

    def calls(self, new: int, earlier: int = 0) -> int:  # noqa: ARG002
        """No model is asked."""
        return 0

    async def score(
        self,
        question: str,  # noqa: ARG002
        answers: Sequence[str],
        settings: MetaScaleSettings,  # noqa: ARG002
        *,
        place: Sequence[int | str],  # noqa: ARG002
        earlier: Sequence[Earlier] = (),  # noqa: ARG002
    ) -> list[Score]:
        """No value for any answer: the texts alone do not tell."""
        return [Score(None, error=UNKNOWN) for _ in answers]

    async def score_samples(
        self,
        question: str,  # noqa: ARG002
        samples: Sequence[Drawn],
        settings: MetaScaleSettings,  # noqa: ARG002
        *,
        place: Sequence[int | str],  # noqa: ARG002
        earlier: Sequence[Earlier] = (),
    ) -> list[Score]:
        """Compare the samples; see `SampleReward.score_samples`."""
        memos = [
            None if sample.certainty is None else {"arm": sample.meta_thought, "sureness": sureness(sample.certainty)}
            for sample in samples
        ]
        values = self.values([*(answer.memo for answer in earlier), *memos])[len(earlier) :]
        return [
            Score(value, memo=memo, error=UNKNOWN if memo is None else None)
            for value, memo in zip(values, memos, strict=True)
        ]

    def values(self, memos: Sequence[Any]) -> list[float | None]:
        """Each answer's value among all; see `RelativeReward.values`."""
        known = [memo for memo in memos if memo is not None]
        if not known:
            return [None] * len(memos)
        found = iter(_values(np.array([memo["sureness"] for memo in known]), [memo["arm"] for memo in known]))
        return [None if memo is None else next(found) for memo in memos]


def _values(sure: Numbers, arms: Sequence[str]) -> list[float]:
    """The values of answers.

    Args:
        sure: how sure the model was of each, in nats, shape (n,), n at least 1.
        arms: the meta-thought of each.
    """
    names, of = np.unique(np.array(arms), return_inverse=True)
    pulls = np.bincount(of, minlength=len(names)).astype(np.float64)
    levels = np.bincount(of, sure, len(names)) / pulls
    manner = pulled(levels - np.median(levels), pulls, 0.0, PULLS_OF_MANNER)
    _, deviation = _spread(sure)
    fair = sure - np.maximum(manner, -MOST_FORGIVEN * deviation)[of]
    centre, deviation = _spread(fair)
    return [round(normal_tail(-z), DECIMALS) for z in ((fair - centre) / deviation).tolist()]


def _spread(values: Numbers) -> tuple[float, float]:
    """The median of values, and their standard deviation by the median absolute deviation, with `DEVIATION` as prior.

    Both withstand an arm that lies far off.
    """
    centre = float(np.median(values))
    deviation = NORMAL_DEVIATION * float(np.median(np.abs(values - centre)))
    return centre, float(DEVIATION.estimate(len(values) * deviation**2, float(len(values))) ** 0.5)
