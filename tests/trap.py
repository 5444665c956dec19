"""A class that a planted database names, and that nothing may build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass
class Trap:
    """Notes that it was built."""

    said: str
    built: ClassVar[list[str]] = []

    def __post_init__(self) -> None:
        self.built.append(self.said)
