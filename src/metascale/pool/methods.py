"""The catalogue of reasoning methods: those that ship with the package and those of the user."""

from __future__ import annotations

import functools
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from metascale.errors import ModelSetupError, describe

_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.DOTALL)
_MOST_CHARACTERS = 20_000

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400, pattern=r"^[^\n]*$")]


class ReasoningMethod(BaseModel):
    """A way to reason, as its file describes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = Field(description="Its name.")
    description: Line = Field(description="What it does, objectively, in one line.")
    useful: Line = Field(description="When it is of use.")
    not_useful: Line = Field(description="When it is not.")
    source: Line = Field(description="Where it comes from.")
    mrp: bool = Field(default=False, description="Whether it is in the pool of Meta-Reasoning Prompting.")
    instructions: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)] = Field(
        description="How to apply it: the body of the file."
    )

    @property
    def listed(self) -> str:
        """Its line in a list to choose from."""
        return f"- {self.name}: {self.description} Useful when: {self.useful} Not useful when: {self.not_useful}"


def catalogue(folder: Path | None = None) -> dict[str, ReasoningMethod]:
    """The methods by name, those of Meta-Reasoning Prompting first.

    Args:
        folder: of Markdown files with the user's methods. They replace shipped methods of the same name.

    Raises:
        ModelSetupError: the folder cannot be read, or a file in it is not a reasoning method. The message says
            which and why.
    """
    found = dict(_shipped())
    if folder is not None:
        if not folder.is_dir():
            raise ModelSetupError(f"there is no folder of reasoning methods {str(folder)!r}")
        own = [(file.name, _read(file)) for file in _markdown(folder)]
        if not own:
            raise ModelSetupError(f"the folder {str(folder)!r} holds no reasoning method (NAME.md)")
        found |= {method.name: method for _, method in own}
    return dict(sorted(found.items(), key=lambda item: not item[1].mrp))


@functools.cache
def _shipped() -> dict[str, ReasoningMethod]:
    return {method.name: method for method in map(_read, _markdown(files("metascale.prompts").joinpath("methods")))}


def _markdown(folder: Traversable) -> list[Traversable]:
    return sorted((file for file in folder.iterdir() if file.name.endswith(".md")), key=lambda file: file.name)


def _read(file: Traversable) -> ReasoningMethod:
    try:
        text = file.read_text(encoding="utf-8")
        parts = _FRONT_MATTER.match(text.replace("\r\n", "\n")) if len(text) <= _MOST_CHARACTERS else None
        if parts is None:
            raise ValueError("it does not begin with front matter between two lines of ---")
        fields = yaml.safe_load(parts[1])
        if not isinstance(fields, dict):
            raise ValueError("its front matter is no list of 'field: value'")  # noqa: TRY004
        return ReasoningMethod.model_validate({**fields, "instructions": parts[2]})
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = describe(error) if isinstance(error, ValidationError) else str(error).replace("\n", " ")
        raise ModelSetupError(f"{file.name} is no reasoning method: {why}") from error
