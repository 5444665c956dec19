"""The sections of the settings and the flat form that they make."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from metascale import MetaScaleSettings
from metascale.settings import LimitSettings, ScoringSettings, SearchSettings, TrafficSettings

SECTIONS = (SearchSettings, ScoringSettings, LimitSettings, TrafficSettings)


def test_the_form_lists_search_scoring_limits_and_traffic_in_turn() -> None:
    assert list(MetaScaleSettings.model_fields) == [name for section in SECTIONS for name in section.model_fields]


def test_a_section_holds_what_the_flat_form_was_given() -> None:
    settings = MetaScaleSettings(budget=3, policy="ucb", reward="agreement", max_retries=5)
    assert all(isinstance(settings, section) for section in SECTIONS)
    assert (settings.budget, settings.policy, settings.reward, settings.max_retries) == (3, "ucb", "agreement", 5)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_frozen_and_takes_no_other_name(section: type) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        section(no_such_setting=1)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(section(), next(iter(section.model_fields)), 1)  # type: ignore[attr-defined]
