"""The reward of methods that score nothing."""

from __future__ import annotations

from collections.abc import Sequence

from metascale.rewards.base import Score
from metascale.settings import MetaScaleSettings


class Unscored:
    """Scores nothing and costs nothing."""

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
    ) -> list[Score]:
        """No value for any answer."""
        return [Score(None) for _ in answers]
