"""What the requests of one run learn from each other, in this process; nothing of it is stored."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from metascale.models.latencies import Latencies
from metascale.models.prompt_lengths import PromptLengths
from metascale.models.purse import Purse, shared_purse
from metascale.runtime.interruption import Work

TRIALS = 3
"""Requests in a row without a reply, after which a run with several models leaves the model out. Not tuned."""


class RunScope:
    """What the requests of one run share; any thread may use it.

    Attributes:
        refusal: why no request of the run can succeed; empty while that is not known.
        models: the labels of the run's models; empty outside a run.
        left_out: the models that no further request is sent to, with the reason.
        work: its nodes that run synchronously.
        prompts: the prompts whose tokens are known.
        purse: what its requests may still cost.
    """

    def __init__(self) -> None:
        """Start without knowledge."""
        self.refusal = ""
        self.models: Sequence[str] = ()
        self.left_out: dict[str, str] = {}
        self.work = Work()
        self.prompts = PromptLengths()
        self.purse = Purse(inside=shared_purse())
        self._latencies: dict[tuple[str, str], Latencies] = {}
        self._notes: list[str] = []
        self._news: dict[str, str] = {}
        self._failures: Counter[str] = Counter()
        self._lock = threading.Lock()

    def latencies(self, model: str, kind: str) -> Latencies:
        """The latencies of one kind of request to a model, in this run."""
        with self._lock:
            return self._latencies.setdefault((model, kind), Latencies())

    def begin(self, models: Sequence[str], left_out: Mapping[str, str]) -> None:
        """Say which models the run has, and which of them it had left out before this process."""
        with self._lock:
            self.models = models
            self.left_out = {**left_out, **self.left_out}

    def refusal_of(self, model: str) -> str:
        """Why no request to a model can succeed; empty while that is not known."""
        return self.refusal or self.left_out.get(model, "")

    def refuse(self, model: str, reason: str) -> None:
        """Say that no request to a model can succeed: it is left out, or ends the run where no other is left."""
        with self._lock:
            if model in self.left_out:
                return
            if not self._has_others(model):
                self.refusal = self.refusal or reason
                return
            self.left_out[model] = self._news[model] = reason
            self._notes.append(f"the model {model!r} is left out for the rest of the run: {reason}")

    def trials_left(self, model: str) -> int | None:
        """Requests in a row that may still fail before a model is left out; None where no other could go on."""
        return max(1, TRIALS - self._failures[model]) if self._has_others(model) else None

    def note_reply(self, model: str) -> None:
        """A model has replied."""
        with self._lock:
            self._failures[model] = 0

    def note_failure(self, model: str, reason: str) -> None:
        """A request to a model got no reply. After `TRIALS` in a row the model is left out, where others can go on."""
        with self._lock:
            self._failures[model] += 1
            is_out = self._failures[model] >= TRIALS and self._has_others(model)
        if is_out:
            self.refuse(model, reason)

    def take_left_out(self) -> dict[str, str]:
        """The models that were left out since the last call, with the reason."""
        with self._lock:
            news, self._news = self._news, {}
        return news

    def _has_others(self, model: str) -> bool:
        """Whether a model is one of several that the run still asks."""
        left = [one for one in self.models if one not in self.left_out]
        return model in left and len(left) > 1

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
