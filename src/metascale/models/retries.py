"""Which failed requests are sent again, when, and how often."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_random_exponential

from metascale.runtime.deadline import seconds_left

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


_PASSING = frozenset({408, 409, 425, 429})


_REJECTED = frozenset({400, 422, 501})


_TRANSPORT = frozenset({"APIConnectionError", "TransportError", "ConnectionError", "TimeoutError"})


class NoCompletionError(Exception):
    """A server's reply held no completion at all, as of servers that are overloaded: a failure in passing."""


def is_passing(error: BaseException) -> bool:
    """Whether a failed request may succeed when it is simply sent again: overload, server fault, lost connection."""
    status = status_of(error)
    if status is not None:
        return status in _PASSING or status >= 500
    return isinstance(error, NoCompletionError) or any(base.__name__ in _TRANSPORT for base in type(error).__mro__)


def _pause(state: RetryCallState) -> float:
    """Seconds before the next attempt: what `Retry-After` asks for, else an exponential pause with jitter."""
    asked_for = retry_after(state.outcome.exception() if state.outcome else None)
    if asked_for is not None:
        return asked_for
    return float(wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT)(state))


def attempts(at_most: int) -> AsyncRetrying:
    """The attempts at one request: repeated while it fails in passing and there is time, with pauses in between."""

    def is_enough(state: RetryCallState) -> bool:
        return state.attempt_number >= at_most or state.upcoming_sleep >= seconds_left()

    return AsyncRetrying(stop=is_enough, retry=retry_if_exception(is_passing), wait=_pause, reraise=True)
