"""The deadline of a node: it holds for all requests that the node makes, at any depth of calls."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar

_end: ContextVar[float] = ContextVar("metascale_deadline", default=math.inf)


def end_in(seconds: float) -> None:
    """Set the deadline of this context and of contexts copied from it. An earlier deadline stays in force."""
    _end.set(min(_end.get(), time.monotonic() + seconds))


def seconds_left() -> float:
    """Seconds until the deadline, at least 0; infinite where there is none."""
    return max(0.0, _end.get() - time.monotonic())
