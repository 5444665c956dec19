"""Until when the requests of a node may take: one limit for everything that the node calls, however deep."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar

_end: ContextVar[float] = ContextVar("metascale_deadline", default=math.inf)


def end_in(seconds: float) -> None:
    """From here on, in this context and in those made from it, no request may take longer; a tighter limit stays."""
    _end.set(min(_end.get(), time.monotonic() + seconds))


def seconds_left() -> float:
    """Seconds that a request may still take, at least 0; infinite where nothing limits it."""
    return max(0.0, _end.get() - time.monotonic())
