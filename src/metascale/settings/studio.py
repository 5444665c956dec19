"""The settings as Studio's form shows them: with the model and the method."""

from __future__ import annotations

from pydantic import Field

from metascale.settings import MetaScaleSettings
from metascale.settings.fields import on

VARIABLE = "METASCALE_STUDIO"
"""The variable that turns the form on. Anyone in Studio can then name any model, so only `make studio` sets it."""


class StudioSettings(MetaScaleSettings):
    """Settings of a run with its model and its method."""

    model: str | None = Field(
        default=None,
        description="The model, such as openai:gpt-4o-mini or simulated; null is METASCALE_MODEL.",
        json_schema_extra=on("initialize_pool", "generate"),
    )
    method: str | None = Field(
        default=None,
        description="The method, such as best_of_n; null is the graph that is drawn. The nodes of another method run "
        "without a drawing.",
        json_schema_extra=on("initialize_pool"),
    )
