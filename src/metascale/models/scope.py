"""What the requests of one run learn from each other, in this process; nothing of it is stored."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from metascale.models.latencies import Latencies
from metascale.models.prompt_lengths import PromptLengths
from metascale.models.purse import Purse, shared_purse
from metascale.runtime.interruption import Work


class RunScope:
    """What the requests of one run share; any thread may use it.

    Attributes:
        refusal: why no request of the run can succeed; empty while that is not known.
        work: its nodes that run synchronously.
        prompts: the prompts whose tokens are known.
        purse: what its requests may still cost.
    """

    def __init__(self) -> None:
        """Start without knowledge."""
        self.refusal = ""
        self.work = Work()
        self.prompts = PromptLengths()
        self.purse = Purse(inside=shared_purse())
        self._latencies: dict[tuple[str, str], Latencies] = {}
        self._notes: list[str] = []
        self._lock = threading.Lock()

    def latencies(self, model: str, kind: str) -> Latencies:
        """The latencies of one kind of request to a model, in this run."""
        with self._lock:
            return self._latencies.setdefault((model, kind), Latencies())

    def tell(self, note: str) -> None:
        """Add a note for the run's result."""
        with self._lock:
            self._notes.append(note)

    def take_notes(self) -> list[str]:
        """The notes since the last call."""
        with self._lock:
            notes, self._notes = self._notes, []
        return notes


_scope: ContextVar[RunScope | None] = ContextVar("metascale_run_scope", default=None)


def current_scope() -> RunScope:
    """The scope of the current run; outside a run, a new one for every request."""
    return _scope.get() or RunScope()


@contextmanager
def inside(scope: RunScope) -> Iterator[None]:
    """Let requests in this context belong to a run."""
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)
