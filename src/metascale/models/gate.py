"""How many requests a server gets at once: one gate for each server, shared by the whole process."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from langchain_core.language_models import BaseChatModel

from metascale.models.failures import address_of, status_of
from metascale.models.retries import retry_after

T = TypeVar("T")

TOO_MANY = 429
BUSY = 503


@dataclass(eq=False)
class _Waiter:
    at_most: int
    loop: asyncio.AbstractEventLoop
    turn: asyncio.Future[None]
    is_inside: bool = False


class Gate:
    """Lets as many requests in at once as their server can take, first come, first served.

    Additive increase, multiplicative decrease, as in TCP (Chiu and Jain 1989). When the server replies 429, the width
    drops to half of the requests inside, or to the number that it let through in that round trip if this is lower. Each
    round trip without a 429 adds one. When the server says when to retry, no request is sent to it before then.

    Any thread and any event loop may use it: a waiting request is woken in its own loop.

    Attributes:
        width: requests that the server takes at once.
        inside: requests that it has now.
        has_worked: whether it has answered a request.
    """

    def __init__(self) -> None:
        """Start open and without a limit."""
        self.width = math.inf
        self.inside = 0
        self.has_worked = False
        self._waiting: deque[_Waiter] = deque()
        self._opens_at = 0.0
        self._narrowed_at = 0.0
        self._narrowed_from = math.inf
        self._refused = 0
        self._alarm: threading.Timer | None = None
        self._lock = threading.RLock()

    async def enter(self, at_most: int, *, is_retry: bool = False) -> Passage:
        """Wait for a place, behind the requests that wait already.

        Args:
            at_most: requests that may be inside, this one included; at least 1.
            is_retry: whether the request was inside before; then it goes first.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            passage = self.try_enter(at_most)
            if passage is not None:
                return passage
            waiter = _Waiter(at_most, loop, loop.create_future())
            (self._waiting.appendleft if is_retry else self._waiting.append)(waiter)
            self._let_in()
        try:
            await waiter.turn
        except BaseException:
            with self._lock:
                if waiter.is_inside:
                    self.inside -= 1
                elif waiter in self._waiting:
                    self._waiting.remove(waiter)
                self._let_in()
            raise
        return Passage(self)

    def try_enter(self, at_most: int) -> Passage | None:
        """A place, if one is free and no other request waits."""
        with self._lock:
            if self._waiting or not self._has_room(at_most):
                return None
            self.inside += 1
            return Passage(self)

    def leave(self, entered_at: float, error: BaseException | None, *, is_cancelled: bool) -> None:
        """Give a place up, and adapt the width to how the request ended.

        Args:
            entered_at: when the place was taken, by the monotonic clock.
            error: why the request failed; None where it did not.
            is_cancelled: whether the request was cancelled, which says nothing about the server.
        """
        status = status_of(error) if error is not None else None
        pause = retry_after(error) if status in {TOO_MANY, BUSY} else None
        with self._lock:
            now = time.monotonic()
            if status == TOO_MANY:
                self._narrow(now, is_new=entered_at >= self._narrowed_at)
            elif error is None and not is_cancelled:
                self.width += 1 / self.width
                self.has_worked = True
            if pause is not None:
                self._opens_at = max(self._opens_at, now + pause)
            self.inside -= 1
            self._let_in()

    def _narrow(self, now: float, *, is_new: bool) -> None:
        if is_new:
            self._narrowed_at, self._narrowed_from, self._refused = now, min(self.width, self.inside), 0
        self._refused += 1
        through = self._narrowed_from - self._refused
        self.width = max(1.0, min(self.width, self._narrowed_from / 2, through))

    def _has_room(self, at_most: int) -> bool:
        return self.inside + 1 <= min(self.width, at_most) and time.monotonic() >= self._opens_at

    def _let_in(self) -> None:
        """Let the next requests in while there is room."""
        while self._waiting and self._has_room(self._waiting[0].at_most):
            waiter = self._waiting.popleft()
            with contextlib.suppress(RuntimeError):  # its loop is closed, so nothing waits any more
                waiter.loop.call_soon_threadsafe(_wake, waiter.turn)
                waiter.is_inside = True
                self.inside += 1
        closed_for = self._opens_at - time.monotonic()
        if self._waiting and closed_for > 0 and self._alarm is None:
            self._alarm = threading.Timer(closed_for, self._open)
            self._alarm.daemon = True
            self._alarm.start()

    def _open(self) -> None:
        with self._lock:
            self._alarm = None
            self._let_in()


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


class Passage:
    """A place inside a gate, for one request."""

    def __init__(self, gate: Gate) -> None:
        """Taken now."""
        self._gate = gate
        self._entered_at = time.monotonic()

    def task(self, sending: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that sends the request and gives the place up when it ends."""
        task = asyncio.create_task(sending)
        task.add_done_callback(self._leave)
        return task

    def give_up(self) -> None:
        """Leave without having sent anything."""
        self._gate.leave(self._entered_at, None, is_cancelled=True)

    def _leave(self, ended: asyncio.Task[Any]) -> None:
        error = None if ended.cancelled() else ended.exception()
        self._gate.leave(self._entered_at, error, is_cancelled=ended.cancelled())


_gates: WeakValueDictionary[tuple[str, str, str], Gate] = WeakValueDictionary()
_gates_lock = threading.Lock()


def gate_of(model: BaseChatModel, name: str) -> Gate | None:
    """The gate of a model's server, the same for every client of one class, address and model name.

    It lives as long as it is referenced. A model that runs in this process has none.
    """
    if getattr(model, "in_process", False):
        return None
    kind = type(model)
    with _gates_lock:
        return _gates.setdefault((f"{kind.__module__}.{kind.__qualname__}", address_of(model), name), Gate())
