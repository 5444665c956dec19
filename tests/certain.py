"""A reward that reads how sure the model was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from metascale import Score
from metascale.rewards import Drawn


class Sure:
    """The likelier an answer's tokens, the better; an answer whose certainty is not known is worth a half."""

    reads_certainty = True

    def calls(self, new: int, earlier: int = 0) -> int:  # noqa: ARG002
        return 0

    async def score(self, question: str, answers: Sequence[str], settings: Any, *, place: Any) -> list[Score]:  # noqa: ARG002
        return [Score(0.5) for _ in answers]

    async def score_samples(
        self,
        question: str,  # noqa: ARG002
        samples: Sequence[Drawn],
        settings: Any,  # noqa: ARG002
        *,
        place: Any,  # noqa: ARG002
        earlier: Any = (),  # noqa: ARG002
    ) -> list[Score]:
        return [Score(math.exp(s.certainty["mean"]) if s.certainty else 0.5) for s in samples]
