"""Verifiers with a known outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def says(outcome: Any) -> Callable[[str, str], Any]:
    """A verifier that gives the same outcome for every answer."""
    return lambda question, answer: outcome  # noqa: ARG005


def raises(error: BaseException) -> Callable[[str, str], Any]:
    """A verifier that raises an error for every answer."""

    def verify(question: str, answer: str) -> Any:  # noqa: ARG001
        raise error

    return verify
