"""A judge's rubric with its version, and the Markdown file that holds it.

A rubric never changes within a task: a run's settings are frozen, and a thread that was started with one rubric is not
continued with another. `metascale.evals.judges.improve_rubric` improves it between tasks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from metascale import prompts
from metascale.errors import MetaScaleError

SCORES = range(1, 11)
"""The scores that a judge gives."""
ID_DIGITS = 12
"""Hexadecimal digits of a version's hash: 48 bits make a collision between rubrics practically impossible."""

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n((?:\w+:.*\n)*)---[ \t]*(?:\n|\Z)")
_DEFINITION = re.compile(
    r"^[^\w\n]*(?:scores?[ \t]+)?(\d{1,2})(?:[ \t]*(?:[-\u2013\u2014]|to|or|and)[ \t]*(\d{1,2}))?[^\w\n]*:",
    re.IGNORECASE | re.MULTILINE,
)


class RubricError(MetaScaleError, ValueError):
    """A rubric cannot be read, or cannot be improved."""


@dataclass(frozen=True)
class Rubric:
    """What earns which score from 1 to 10, and where it comes from.

    Attributes:
        text: the rubric as the judge reads it, without front matter.
        version: 1 for a rubric that a person wrote; each improvement adds 1.
        parent: the `version_id` of the rubric that this one improves; None for the first.
    """

    text: str
    version: int = 1
    parent: str | None = None

    @property
    def version_id(self) -> str:
        """A short hash of the text; it does not depend on the front matter."""
        return sha256(self.text.encode()).hexdigest()[:ID_DIGITS]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a rubric, with or without front matter: lines `name: value` between two lines `---` at the very top.

        Only `version` and `parent` of the front matter are read; other lines are for people. The result's `text` holds
        no front matter, so a judge never sees it: `MetaScaleSettings(rubric=Rubric.parse(text).text)`.

        Args:
            text: the content of a file, or a plain rubric.

        Raises:
            RubricError: the version is not a whole number of at least 1, or the parent not a string.
        """
        found = _FRONT_MATTER.match(text)
        if found is None:
            return cls(text.strip())
        given = dict(re.findall(r"^(\w+):[ \t]*(.*?)[ \t]*$", found[1], re.MULTILINE))
        version, parent = _value(given.get("version", "1")), _value(given.get("parent", "null"))
        if type(version) is not int or version < 1:
            raise RubricError(f"the rubric's version must be a whole number from 1, not {given['version']}")
        if not isinstance(parent, str | None):
            raise RubricError(f"the rubric's parent must be in quotes or null, not {given['parent']}")
        return cls(text[found.end() :].strip(), version, parent)

    @classmethod
    def shipped(cls) -> Self:
        """The rubric that judges use by default."""
        return cls(prompts.load("rubric"))

    def improved(self, text: str) -> Self:
        """The next version, with another text and this one as its parent."""
        return type(self)(text.strip(), self.version + 1, self.version_id)

    def to_markdown(self, facts: Mapping[str, str | float | bool | None]) -> str:
        """The content of the rubric's file, which `parse` reads.

        Args:
            facts: further lines of the front matter; names have letters, digits and underscores only.
        """
        front = {"version": self.version, "parent": self.parent, **facts}
        lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in front.items()]
        return "\n".join(["---", *lines, "---", "", self.text, ""])


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def undefined_scores(text: str) -> list[int]:
    """The scores from 1 to 10 that a rubric does not define by a line such as `7: …` or `7-8: …`."""
    spans = [(int(first), int(last or first)) for first, last in _DEFINITION.findall(text)]
    return [score for score in SCORES if not any(first <= score <= last for first, last in spans)]
