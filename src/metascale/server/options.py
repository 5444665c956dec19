"""Options of the server, which no request can change."""

from __future__ import annotations

import os
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from metascale.models.resolve import model_or_simulation

OPTIONS_VARIABLE = "METASCALE_SERVER_OPTIONS"
TOKEN_VARIABLE = "METASCALE_SERVER_TOKEN"  # noqa: S105  the variable's name


class ServerOptions(BaseModel):
    """Limits of a server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[str, ...] = Field(default=(), description="Models to serve; empty: METASCALE_MODEL.")
    max_concurrent: int = Field(default=256, ge=1, description="Searches in parallel; further requests get 429.")
    max_body: int = Field(default=4 * 2**20, ge=1, description="Longest request body, in bytes.")
    max_budget: int | None = Field(default=None, ge=1, description="Highest budget that a request may set.")
    timeout: float = Field(default=600.0, gt=0, description="Timeout of a search in seconds.")
    local_names_only: bool = Field(
        default=False,
        description="Answer only requests to names of this machine, against DNS rebinding by web pages.",
    )

    @classmethod
    def from_environment(cls) -> Self:
        """The options in `METASCALE_SERVER_OPTIONS` (JSON), with the model in `METASCALE_MODEL` if they name none.

        Raises:
            pydantic.ValidationError: the options are not valid.
        """
        given = cls.model_validate_json(os.environ.get(OPTIONS_VARIABLE, "{}"))
        return given if given.models else given.model_copy(update={"models": (model_or_simulation(None)[0],)})
