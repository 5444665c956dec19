"""What the sections of the settings share: their base class and the parts of their fields."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from metascale.errors import UnknownNameError


class Frozen(BaseModel):
    """Settings that cannot be changed once they are made, and that refuse unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def on(*nodes: str) -> dict[str, Any]:
    """The mark that makes Studio show a setting at these nodes; the first one is its heading in the documentation."""
    return {"langgraph_nodes": list(nodes)}


def known(kind: str, names: Any) -> BeforeValidator:
    """A validator that suggests the nearest name where a value is none of the `Literal` type `names`."""

    def check(name: Any) -> Any:
        if isinstance(name, str) and name not in get_args(names):
            raise UnknownNameError(kind, name, get_args(names))
        return name

    return BeforeValidator(check)


def _without_credentials(url: str) -> str:
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ValueError("a URL in the settings holds no password: settings are shown, kept and logged")
    return url


Url = Annotated[str, AfterValidator(_without_credentials)]
