"""The limits of a whole batch."""

from __future__ import annotations

from dataclasses import dataclass

from metascale.budget.shared import OPENING
from metascale.errors import SettingError, UnknownNameError
from metascale.graphs import METHODS
from metascale.settings import MetaScaleSettings

FIRST = 4
"""Samples that open a question, unless the settings say otherwise: enough for a pool with meta-thoughts of its own."""
GRANT = 2
"""Samples of one grant. Ours: on recorded answers one at a time is no better, and takes twice as many rounds."""


@dataclass(frozen=True)
class SharedLimits:
    """What all questions together may spend; None is no limit.

    Attributes:
        samples: answers to generate.
        max_cost_usd: US dollars.
        max_calls: model requests.
        max_seconds: of wall time.
    """

    samples: int | None = None
    max_cost_usd: float | None = None
    max_calls: int | None = None
    max_seconds: float | None = None

    @property
    def is_shared(self) -> bool:
        """Whether anything is limited, so that samples go where they help most."""
        return any(limit is not None for limit in vars(self).values())

    def check(self, questions: int, method: str) -> None:
        """Check that the limits make sense.

        Raises:
            UnknownNameError: there is no such method.
            SettingError: a limit is not above 0, there are fewer samples than questions, or the method cannot share.
        """
        if method not in METHODS:
            raise UnknownNameError("method", method, METHODS)
        wrong = next((name for name, limit in vars(self).items() if limit is not None and not limit > 0), None)
        if wrong is not None:
            raise SettingError(f"the batch's {'budget_total' if wrong == 'samples' else wrong} must be above 0")
        if self.samples is not None and self.samples < questions:
            raise SettingError(f"a budget of {self.samples:,} samples is too low for {questions:,} questions")
        if self.is_shared and method != "metascale" and not METHODS[method].one_pass:
            raise SettingError(f"the method {method!r} cannot share a budget; the method 'metascale' can")


def opening_budget(settings: MetaScaleSettings, limits: SharedLimits, questions: int) -> int:
    """The samples that every question gets first: at most half of what each would get of an equal share.

    A budget that the settings set is kept, unless the samples would not suffice for all questions.
    """
    is_set = "budget" in settings.model_fields_set
    if limits.samples is None:
        return settings.budget if is_set else FIRST
    share = limits.samples // questions
    return min(settings.budget, share) if is_set else max(1, min(FIRST, max(OPENING, share // 2), share))
