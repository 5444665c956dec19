"""What whoever starts the server decides, and no request can change."""

from __future__ import annotations

import os
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from metascale.models.resolve import model_or_simulation

OPTIONS_VARIABLE = "METASCALE_SERVER_OPTIONS"
TOKEN_VARIABLE = "METASCALE_SERVER_TOKEN"  # noqa: S105  the variable's name


class ServerOptions(BaseModel):
    """The bounds of a server. All values are ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[str, ...] = Field(default=(), description="Models that may be asked for; none: METASCALE_MODEL.")
    max_concurrent: int = Field(default=256, ge=1, description="Searches at a time; one more is turned away.")
    max_body: int = Field(default=4 * 2**20, ge=1, description="Longest request body, in bytes.")
    max_budget: int | None = Field(default=None, ge=1, description="Highest budget that a request may set.")
    timeout: float = Field(default=600.0, gt=0, description="Seconds after which a search is given up.")
    local_names_only: bool = Field(
        default=False,
        description="Answer only to names of this machine, so that no web page reaches the server through a name that "
        "it made point here.",
    )

    @classmethod
    def from_environment(cls) -> Self:
        """The options in `METASCALE_SERVER_OPTIONS` (JSON), and the model in `METASCALE_MODEL` where they name none.

        Raises:
            pydantic.ValidationError: the options are not valid.
        """
        given = cls.model_validate_json(os.environ.get(OPTIONS_VARIABLE, "{}"))
        return given if given.models else given.model_copy(update={"models": (model_or_simulation(None)[0],)})
