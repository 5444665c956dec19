"""From when on a request counts as a straggler: a limit learned from how long others of its kind took."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable
from statistics import quantiles

WINDOW = 128
"""Latencies that are remembered. Ours: quartiles of so many are steady, and a server that changed is known again after
half as many requests."""
ENOUGH = 3
"""Latencies before there is a limit. Ours: what a round of four has when its fourth request hangs."""
QUARTILES = 1.349
"""Distance of the quartiles of a normal distribution, in standard deviations."""
HIGH = 2.88
"""The 99.8 % quantile of a normal distribution, in standard deviations. Ours: a repeated request leaves a bill of
unknown cost, and of the forty requests of an ordinary run none should be repeated."""
FACTOR = 2.0
"""The least limit, in medians. Ours."""
MARGIN = 0.5
"""The least limit above the median, in seconds. Ours: to gain less is not worth a request."""
SHARE = 0.1
"""Requests that are sent twice, as a share of all: a server that became slow for everybody is not asked twice as much.
Ours; the tail at scale (Dean and Barroso, CACM 2013) hedges about 5 %."""
BURST = 16.0
"""Requests that may be sent twice at once, where few were before. Ours: 5 % of 256 are 13."""


class Latencies:
    """The latest latencies of one kind of request; any thread may use it.

    They are taken to be log-normal: the limit is their 99.8 % quantile, by median and quartiles, which a quarter of
    stragglers does not move. That these are themselves uncertain counts as further spread, of variance 1/n.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self._seconds: deque[float] = deque(maxlen=WINDOW)
        self._allowance = 1.0
        self._lock = threading.Lock()
        self._limit: float | None = None

    @property
    def limit(self) -> float | None:
        """Seconds after which a request is a straggler; None while too little is known."""
        with self._lock:
            if self._limit is None and len(self._seconds) >= ENOUGH:
                self._limit = limit_of(self._seconds)
            return self._limit

    def observe(self, seconds: float) -> None:
        """Take in how long a request took, or had taken when it was given up."""
        with self._lock:
            self._seconds.append(seconds)
            self._allowance = min(BURST, self._allowance + SHARE)
            self._limit = None

    @property
    def allows_another(self) -> bool:
        """Whether one more request may be sent twice."""
        with self._lock:
            return self._allowance >= 1

    def count_another(self) -> None:
        """Count a request that was sent twice."""
        with self._lock:
            self._allowance = max(0.0, self._allowance - 1)


def limit_of(seconds: Iterable[float]) -> float:
    """The limit that latencies give.

    Args:
        seconds: at least two latencies.

    Returns:
        Seconds: at least `FACTOR` medians, and `MARGIN` above the median.
    """
    latencies = [max(1e-6, latency) for latency in seconds]
    lower, median, upper = quantiles(latencies, n=4, method="inclusive")
    spread = math.hypot(math.log(upper / lower) / QUARTILES, 1 / math.sqrt(len(latencies)))
    return max(FACTOR * median, median + MARGIN, median * math.exp(min(HIGH * spread, 100.0)))
