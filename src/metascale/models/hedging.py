"""Hedging: a request that takes far longer than others of its run is sent once more, and the first reply counts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from metascale.models.latencies import Latencies

T = TypeVar("T")

LATE = 0.1
"""How late this task may wake up, as a share of the time since the request was sent. In a busier process the reply may
have arrived already and wait to be read, so nothing is sent again."""
LOOK_AGAIN = 0.25
"""Seconds between two checks whether a request may be sent twice. Not tuned."""


async def within(seconds: float, work: Awaitable[T]) -> T:
    """The result of some work.

    Args:
        seconds: how long it may take.
        work: what to wait for.

    Raises:
        TimeoutError: it took longer, and was cancelled.
    """
    limit = asyncio.timeout(None if math.isinf(seconds) else seconds)
    try:
        async with limit:
            return await work
    except TimeoutError as error:
        if limit.expired():
            raise _too_long(seconds) from None
        raise error from None


async def first_reply(
    seconds: float,
    first: asyncio.Task[T],
    send_again: Callable[[], asyncio.Task[T] | None],
    latencies: Latencies,
    *,
    tokens_of: Callable[[T], int] = lambda _: 0,
) -> T:
    """The first reply to a request that is sent again if it is a straggler. The other one is cancelled then.

    Before there is a reply, neither is cancelled, except at the end of `seconds`. An error counts only if both
    requests fail.

    Args:
        seconds: how long it may take.
        first: the request under way.
        send_again: sends the request once more; returns None while there is no room for that.
        latencies: of requests of this kind; this one is added.
        tokens_of: the length of a reply in tokens; 0 where it is unknown.

    Raises:
        TimeoutError: there was no reply in time.
    """
    clock = asyncio.get_running_loop().time
    started, late = clock(), 0.0
    running = {first}
    is_sent_again = False
    try:
        while True:
            now = clock()
            elapsed, limit = now - started, latencies.limit or math.inf
            if elapsed >= seconds:
                latencies.observe(elapsed)
                raise _too_long(seconds)
            is_due = not is_sent_again and elapsed >= limit and late <= LATE * elapsed
            if is_due and latencies.take_allowance():
                repetition = send_again()
                if repetition is None:
                    latencies.give_back()
                else:
                    running.add(repetition)
                    is_sent_again = True
            pause = seconds - elapsed
            if not is_sent_again:
                pause = min(pause, limit - elapsed if elapsed < limit < math.inf else LOOK_AGAIN)
            done, running = await asyncio.wait(
                running, timeout=None if math.isinf(pause) else pause, return_when=asyncio.FIRST_COMPLETED
            )
            good = next((task for task in done if task.exception() is None), None)
            if good is not None:
                latencies.observe(clock() - started, tokens_of(good.result()))
                return good.result()
            if not running:
                return done.pop().result()
            late = clock() - now - pause
    finally:
        for task in running:
            task.cancel()


def _too_long(seconds: float) -> TimeoutError:
    return TimeoutError(f"no reply within {seconds:g} s")
