"""One reply to one request, which is sent once more where it takes far longer than others of its kind."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from metascale.models.latencies import Latencies

T = TypeVar("T")

HOPELESS = 4.0
"""Limits after which both are given up. Ours: what is this slow twice hangs, or truly takes long."""
LATE = 0.1
"""How late, as a share of the time since it was sent, it may be seen that a request is a straggler. Ours: where this
process itself is that busy, the reply may have come and wait to be read."""
LOOK_AGAIN = 0.25
"""Seconds after which it is seen again whether a request may be sent twice by now. Ours."""


async def within(seconds: float, work: Awaitable[T]) -> T:
    """The result of some work.

    Args:
        seconds: how long it may take.
        work: what is waited for.

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
    """The first reply to a request that is sent again where it is a straggler. What has not replied is cancelled.

    An error counts only where the other has none to offer but an error.

    Args:
        seconds: how long it may take.
        first: sends it.
        send_again: what sends it once more; None while there is no room for that.
        latencies: of such requests; they learn from this one.
        gives_up: whether to give up long before `seconds`, once both take hopelessly long.

    Raises:
        TimeoutError: it was given up.
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
                raise TimeoutError("neither the request nor its repetition was replied to in good time")
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
