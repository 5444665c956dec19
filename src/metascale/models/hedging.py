"""Hedging: a request that takes far longer than others of its kind is sent once more, and the first reply counts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from metascale.models.latencies import Latencies

T = TypeVar("T")

HOPELESS = 4.0
"""Multiple of the straggler limit after which both requests are given up: if two are this slow, either the server hangs
or the reply really takes long."""
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
    gives_up: bool,
) -> T:
    """The first reply to a request that is sent again if it is a straggler. The other one is cancelled.

    An error counts only if both requests fail.

    Args:
        seconds: how long it may take.
        first: the request under way.
        send_again: sends the request once more; returns None while there is no room for that.
        latencies: of requests of this kind; this one is added.
        gives_up: whether to give up long before `seconds`, once both have taken `HOPELESS` limits.

    Raises:
        TimeoutError: there was no reply in time.
    """
    clock = asyncio.get_running_loop().time
    started, sent_again_at, late = clock(), math.inf, 0.0
    running = {first}
    try:
        while True:
            now = clock()
            elapsed, limit = now - started, latencies.limit or math.inf
            if elapsed >= seconds:
                latencies.observe(elapsed)
                raise _too_long(seconds)
            if gives_up and now - sent_again_at >= HOPELESS * limit:
                latencies.observe(elapsed)
                raise TimeoutError("no reply to the request, nor to the one that was sent again")
            is_due = math.isinf(sent_again_at) and elapsed >= limit and late <= LATE * elapsed
            if is_due and (latencies.allows_another or elapsed >= HOPELESS * limit):
                repetition = send_again()
                if repetition is not None:
                    latencies.count_another()
                    running.add(repetition)
                    sent_again_at = now
            if math.isinf(sent_again_at):
                pause = limit - elapsed if elapsed < limit < math.inf else LOOK_AGAIN
            else:
                pause = sent_again_at + HOPELESS * limit - now if gives_up else math.inf
            pause = min(pause, seconds - elapsed)
            done, running = await asyncio.wait(
                running, timeout=None if math.isinf(pause) else pause, return_when=asyncio.FIRST_COMPLETED
            )
            good = next((task for task in done if task.exception() is None), None)
            if good is not None:
                latencies.observe(clock() - started)
                return good.result()
            if not running:
                return done.pop().result()
            late = clock() - now - pause
    finally:
        for task in running:
            task.cancel()


def _too_long(seconds: float) -> TimeoutError:
    return TimeoutError(f"no reply within {seconds:g} s")
