"""When a request counts as a straggler: a limit learned from other requests of the same kind in the same run."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from statistics import median, quantiles

WINDOW = 128
"""Latencies that are remembered: enough for steady quartiles, and few enough to follow a server that changed, which
takes half as many requests."""
ENOUGH = 3
"""Latencies that are needed for a limit: a round of four has as many when its fourth request hangs."""
QUARTILES = 1.349
"""Distance of the quartiles of a normal distribution, in standard deviations."""
HIGH = 2.88
"""The 99.8 % quantile of a normal distribution, in standard deviations. A repeated request has an unknown cost, so none
of the forty requests of an ordinary run should be repeated."""
FACTOR = 2.0
"""The lowest limit, in medians, and in times that the longest known reply takes to write. Not tuned."""
MARGIN = 0.5
"""The lowest limit above the median, in seconds: a smaller gain is not worth a request."""
SHARE = 0.1
"""Largest share of requests that are sent twice, so that a server that became slow for all requests does not get twice
the load. "The Tail at Scale" (Dean and Barroso, CACM 2013) hedges about 5 %."""
BURST = 16.0
"""Requests that may be sent twice at the same time, after a time with few of them: 5 % of 256 are 13."""


class Latencies:
    """The latest latencies of one kind of request in one run; any thread may use it.

    They are assumed to be log-normal. The limit is their 99.8 % quantile, estimated from the median and the quartiles,
    which stay put while less than a quarter of the requests are stragglers. The uncertainty of the estimate counts as
    further spread, of variance 1/n. A long reply takes its time: the limit is never below twice the time in which the
    longest reply so far is written at the median speed.
    """

    def __init__(self) -> None:
        """Start without latencies."""
        self._seconds: deque[float] = deque(maxlen=WINDOW)
        self._written: deque[tuple[float, int]] = deque(maxlen=WINDOW)
        self._allowance = 1.0
        self._lock = threading.Lock()
        self._limit: float | None = None

    @property
    def limit(self) -> float | None:
        """Seconds after which a request is a straggler; None while there are fewer than `ENOUGH` latencies."""
        with self._lock:
            if self._limit is None and len(self._seconds) >= ENOUGH:
                self._limit = max(limit_of(self._seconds), FACTOR * time_to_write(self._written))
            return self._limit

    def observe(self, seconds: float, tokens: int = 0) -> None:
        """Add a request.

        Args:
            seconds: that it took, or had taken when its time was over.
            tokens: the length of its reply; 0 where it is unknown.
        """
        with self._lock:
            self._seconds.append(seconds)
            if tokens > 0:
                self._written.append((seconds, tokens))
            self._allowance = min(BURST, self._allowance + SHARE)
            self._limit = None

    def take_allowance(self) -> bool:
        """Count one more request that is sent twice; returns whether it may be."""
        with self._lock:
            if self._allowance < 1:
                return False
            self._allowance -= 1
            return True

    def give_back(self) -> None:
        """Take back the last `take_allowance`: nothing was sent."""
        with self._lock:
            self._allowance += 1


def limit_of(seconds: Sequence[float]) -> float:
    """The straggler limit for these latencies.

    Args:
        seconds: at least two latencies, in seconds.

    Returns:
        Seconds: at least `FACTOR` medians, and `MARGIN` above the median.
    """
    latencies = [max(1e-6, latency) for latency in seconds]
    lower, middle, upper = quantiles(latencies, n=4, method="inclusive")
    spread = math.hypot(math.log(upper / lower) / QUARTILES, 1 / math.sqrt(len(latencies)))
    return max(FACTOR * middle, middle + MARGIN, middle * math.exp(min(HIGH * spread, 100.0)))


def time_to_write(written: Sequence[tuple[float, int]]) -> float:
    """Seconds in which the longest reply is written at the median speed; 0 where no length is known.

    Args:
        written: seconds and tokens of replies, at least one token each.
    """
    if not written:
        return 0.0
    return max(tokens for _, tokens in written) * median(seconds / tokens for seconds, tokens in written)
