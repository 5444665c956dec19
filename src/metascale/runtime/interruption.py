"""Ctrl-C during a synchronous run: it surfaces at once, and the requests under way are left behind.

LangGraph runs parallel nodes in threads and waits for them, so that by itself it would pass Ctrl-C on only when the
slowest request has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


class Work:
    """The coroutines that run for one synchronous run, each in a loop of its own; any thread may use it."""

    def __init__(self) -> None:
        """Start with nothing to do."""
        self._running: set[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = set()
        self._is_over = False
        self._lock = threading.RLock()  # a signal's handler may find its own thread inside

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Count the current task as work. It is cancelled at once if the run was interrupted before."""
        task = asyncio.current_task()
        if task is None:
            yield
            return
        entry = (asyncio.get_running_loop(), task)
        with self._lock:
            self._running.add(entry)
            if self._is_over:
                task.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(entry)

    def cancel(self) -> None:
        """Cancel all of it, and whatever is added later."""
        with self._lock:
            self._is_over = True
            for loop, task in list(self._running):
                with contextlib.suppress(RuntimeError):  # the loop is closed: it ended by itself
                    loop.call_soon_threadsafe(task.cancel)


@contextlib.contextmanager
def interruptible(work: Work) -> Iterator[None]:
    """Let Ctrl-C end some work at once, and raise KeyboardInterrupt as usual.

    Only in the main thread, and only where Python's own handler is in force: a program's handler is left alone.
    """
    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not is_ours:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        work.cancel()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
