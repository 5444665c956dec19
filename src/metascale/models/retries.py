"""When and how often failed requests are retried, and what `Retry-After` asks for."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_random_exponential

from metascale.models.failures import is_transient
from metascale.runtime.deadline import seconds_left

LONGEST_WAIT = 60.0
"""Seconds: the longest pause before a retry, even if the server asks for more. Not tuned."""


class NoCompletionError(Exception):
    """A server's reply held no completion at all, as happens on overloaded servers: a transient failure."""


def attempts(at_most: int) -> AsyncRetrying:
    """The attempts at one request: it is retried after transient failures, with pauses, while there is time."""

    def is_enough(state: RetryCallState) -> bool:
        return state.attempt_number >= at_most or state.upcoming_sleep >= seconds_left()

    return AsyncRetrying(stop=is_enough, retry=retry_if_exception(_is_worth_a_retry), wait=_pause, reraise=True)


def _is_worth_a_retry(error: BaseException) -> bool:
    return isinstance(error, NoCompletionError) or is_transient(error)


def retry_after(error: BaseException | None) -> float | None:
    """Seconds that the server asks to wait before a retry, in [0, `LONGEST_WAIT`]; None where it does not say.

    `Retry-After` holds seconds or a date (RFC 9110, section 10.2.3); OpenAI's servers also send `retry-after-ms`.
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


def _pause(state: RetryCallState) -> float:
    """Seconds before the next attempt: what `Retry-After` asks for, else an exponential pause with jitter."""
    asked_for = retry_after(state.outcome.exception() if state.outcome else None)
    if asked_for is not None:
        return asked_for
    return float(wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT)(state))
