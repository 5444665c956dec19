"""The money that requests may still cost: of one run, and of several runs together."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from metascale.errors import OutOfMoneyError


class Purse:
    """What requests have cost in this process, and the limit that no further one is sent beyond; any thread may use it.

    A request is sent while less than the limit is spent, so the limit is exceeded by no more than the requests in
    flight.

    Attributes:
        max_usd: US dollars; infinite without a limit.
        max_calls: requests; infinite without a limit.
        usd: US dollars spent.
        calls: requests sent.
    """

    def __init__(
        self,
        max_usd: float | None = None,
        max_calls: int | None = None,
        *,
        inside: Purse | None = None,
        counted: int = 0,
    ) -> None:
        """Start with nothing spent; what is paid out of a purse inside another one counts in both.

        So do replies that are given again, but for as many as that one has `counted` before.
        """
        self.max_usd = math.inf if max_usd is None else max_usd
        self.max_calls = math.inf if max_calls is None else max_calls
        self.usd, self.calls = 0.0, 0
        self._inside = inside
        self._counted = counted
        self._dearest = 0.0
        self._lock = threading.Lock()

    def open(self, max_usd: float | None, spent: float) -> None:
        """Set the limit of a run that has spent this much, in US dollars, in this process or before."""
        with self._lock:
            self.max_usd = math.inf if max_usd is None else max_usd
            self.usd = max(self.usd, spent)

    @property
    def is_limited(self) -> bool:
        """Whether a limit in US dollars holds."""
        return self.max_usd < math.inf or (self._inside is not None and self._inside.is_limited)

    def is_spent_but(self, reserve: float = 0.0) -> bool:
        """Whether a limit is reached, but for this share of it."""
        return self.usd >= (1 - reserve) * self.max_usd or self.calls >= (1 - reserve) * self.max_calls

    def count(self, usd: float, calls: int) -> None:
        """Count requests that were not sent from here."""
        with self._lock:
            self.usd += usd
            self.calls += calls

    def check_money(self) -> None:
        """Check that no limit in US dollars is reached.

        Raises:
            OutOfMoneyError: one is.
        """
        if self.usd >= self.max_usd:
            raise OutOfMoneyError("max_cost_usd")
        if self._inside is not None:
            self._inside.check_money()

    def ask(self) -> None:
        """Count a request that is about to be sent.

        Raises:
            OutOfMoneyError: a limit is reached.
        """
        with self._lock:
            if self.usd >= self.max_usd:
                raise OutOfMoneyError("max_cost_usd")
            if self.calls >= self.max_calls:
                raise OutOfMoneyError("max_calls")
            if self._inside is not None:
                self._inside.ask()
            self.calls += 1

    def pay(self, usd: float | None, estimate: float = 0.0) -> float:
        """Pay for a request.

        Args:
            usd: its cost; None if that is unknown, as where no whole reply came.
            estimate: what to count for it then, unless an earlier request was dearer.

        Returns:
            What was counted, in US dollars.
        """
        usd = self._pay(usd, estimate)
        if self._inside is not None:
            self._inside.pay(usd)
        return usd

    def give(self, usd: float | None, estimate: float = 0.0) -> float:
        """Count a reply that was paid for before; nothing refuses it. As for `pay`."""
        usd = self._pay(usd, estimate)
        with self._lock:
            self.calls += 1
            is_counted = self._counted > 0
            self._counted -= is_counted
        if self._inside is not None and not is_counted:
            self._inside.give(usd)
        return usd

    def _pay(self, usd: float | None, estimate: float) -> float:
        with self._lock:
            if usd is None:
                usd = max(estimate, self._dearest)
            else:
                self._dearest = max(self._dearest, usd)
            self.usd += usd
            return usd


_shared: ContextVar[Purse | None] = ContextVar("metascale_shared_purse", default=None)


def shared_purse() -> Purse | None:
    """The purse that the runs of this context share; None where each has only its own."""
    return _shared.get()


@contextmanager
def sharing(purse: Purse) -> Iterator[None]:
    """Let all runs of this context be paid out of one purse."""
    token = _shared.set(purse)
    try:
        yield
    finally:
        _shared.reset(token)
