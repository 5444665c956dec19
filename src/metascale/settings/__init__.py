"""The settings of a run, which are also the graphs' context schema: four sections, given and shown as one flat form."""

from __future__ import annotations

import os
from typing import Any, Self

from pydantic import model_validator

from metascale.errors import UnknownNameError
from metascale.settings.limits import LimitSettings
from metascale.settings.prices import Price, Tariff, price_of
from metascale.settings.scoring import PanelMember, RewardModelSettings, RewardName, ScoringSettings
from metascale.settings.search import PolicyName, SearchSettings
from metascale.settings.traffic import TrafficSettings

ENVIRONMENT_VARIABLE = "METASCALE_SETTINGS"
BUILDERS_SETTINGS = ("panel", "reward_model", "verifier", "methods_dir", "max_in_flight")
"""Settings that load code, read files, name servers or concern all runs. Only the builder of a graph can set them, not
the context of a run, which anybody may send."""
KEEPS_ANSWERS = frozenset(TrafficSettings.model_fields) - {"seed"}
"""Settings that change what a run costs or how long it takes, but not its answers: those of the traffic, except the
seed. Every other setting changes answers."""
ASKING_PEOPLE = ("review_pool", "ask_for_budget")
"""Settings that pause a run for a person."""


# Pydantic lists the fields of the last base class first.
class MetaScaleSettings(TrafficSettings, LimitSettings, ScoringSettings, SearchSettings):
    """How a run searches, scores, stops and asks its models.

    Given to `create_metascale` they are the graph's defaults; given as `context=` to one run, the fields that are set
    override those defaults. Where a default comes from the paper (Liu et al. 2026), the description says so.
    """

    @model_validator(mode="before")
    @classmethod
    def _known_settings(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for name in values:
                if name not in cls.model_fields:
                    raise UnknownNameError("setting", str(name), cls.model_fields)
        return values

    @classmethod
    def from_environment(cls) -> Self:
        """The settings in the variable `METASCALE_SETTINGS`, a JSON object: the defaults of LangGraph's server.

        Raises:
            pydantic.ValidationError: they are not valid.
        """
        return cls.model_validate_json(os.environ.get(ENVIRONMENT_VARIABLE) or "{}")

    @classmethod
    def paper(cls, **changes: Any) -> Self:
        """The paper's way to search (Liu et al. 2026, section 3).

        A pool of 8, UCB on the mean (`policy="softmax"` is its mini-batch rule), evolution by combining the arms of
        highest UCB, rounds of 4, the whole budget, a judge, and the answer of the highest single score. What the paper
        does not state (budget, beta, intervals) keeps its default.

        Args:
            changes: any other settings.

        Raises:
            pydantic.ValidationError: a setting is not valid.
        """
        preset: dict[str, Any] = {
            "pool_size": 8,
            "batch_size": 4,
            "reward": "judge",
            "policy": "ucb",
            "evolution": "always",
            "operators": "combine",
            "confirm": 0,
            "final_choice": "best",
            "head_start": 0,
            "stop_on_agreement": None,
        }
        return cls.model_validate(preset | changes)

    @property
    def changed(self) -> set[str]:
        """The names of the settings that differ from their defaults."""
        return {name for name in self.model_fields_set if getattr(self, name) != _default(type(self), name)}

    def without_form(self) -> Self:
        """These settings; if a form set all of them, only the changed ones: nobody filled in the others.

        Forms leave out null, or send it.
        """
        shown = {name for name in type(self).model_fields if _default(type(self), name) is not None}
        if not shown <= self.model_fields_set:
            return self
        return type(self).model_validate(self.model_dump(include=self.changed))

    def overlaid_by(self, other: Self) -> Self:
        """These settings with every field that `other` sets explicitly.

        Raises:
            pydantic.ValidationError: the combination is not valid.
        """
        if not other.model_fields_set:
            return self
        chosen = other.model_dump(include=other.model_fields_set)
        return type(self).model_validate(self.model_dump(exclude_unset=True) | chosen)


def _default(settings: type[MetaScaleSettings], name: str) -> Any:
    return settings.model_fields[name].get_default(call_default_factory=True)


__all__ = [
    "ASKING_PEOPLE",
    "BUILDERS_SETTINGS",
    "ENVIRONMENT_VARIABLE",
    "KEEPS_ANSWERS",
    "LimitSettings",
    "MetaScaleSettings",
    "PanelMember",
    "PolicyName",
    "Price",
    "RewardModelSettings",
    "RewardName",
    "ScoringSettings",
    "SearchSettings",
    "Tariff",
    "TrafficSettings",
    "price_of",
]
