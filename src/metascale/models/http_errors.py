"""What a failed request says of its server, whichever client raised the error."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST_WAIT = 60.0
"""Seconds: the longest pause before another attempt, whatever the server asks for. Ours."""


def status_of(error: BaseException) -> int | None:
    """The HTTP status; None where there was no response."""
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
    return None


def retry_after(error: BaseException | None) -> float | None:
    """Seconds until the server wants to be asked again, in [0, `LONGEST_WAIT`]; None where it does not say.

    `Retry-After` holds seconds or a date (RFC 9110, section 10.2.3); OpenAI's servers also say `retry-after-ms`.
    """
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    for name, parse in (("retry-after-ms", _milliseconds), ("retry-after", float), ("retry-after", _until)):
        try:
            return min(LONGEST_WAIT, max(0.0, parse(headers[name])))
        except (KeyError, ValueError, TypeError, OverflowError):
            continue
    return None


def _milliseconds(text: Any) -> float:
    return float(text) / 1_000


def _until(date: Any) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()
