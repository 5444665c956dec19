"""Watches the requests of a benchmark: it ends where no request can succeed, and tells of an outage at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus

from inspect_ai.dataset import Sample
from inspect_ai.log import EvalSpec
from inspect_ai.scorer import SampleScore
from inspect_ai.util import EarlyStop
from pydantic import JsonValue

from metascale.errors import MetaScaleError
from metascale.models.failures import is_fatal, is_transient, status_of

OUTAGE = 10.0
"""Seconds without a reply, while requests fail, after which the model's server counts as dead. Not tuned."""
FEWEST = 10
"""The fewest requests that fail in an outage. Not tuned."""
LINES = 10
"""Lines of progress for each evaluation. Not tuned."""


class RunFailedError(MetaScaleError):
    """A run has no answer because requests failed: the question is not answered, rather than answered wrongly."""


class Watch:
    """What the requests of a benchmark show of its models.

    Attributes:
        refusal: why no further question can be answered; empty while that is not known.
        progress: tells how far the benchmark is.
        call_timeout: seconds that one request may take; None for no limit.
    """

    def __init__(
        self, tell: Callable[[str], None], progress: Callable[[str], None], call_timeout: float | None = None
    ) -> None:
        """Begin without knowledge; `tell` and `progress` print a line for a person."""
        self.refusal = ""
        self.progress = progress
        self.call_timeout = call_timeout
        self._tell = tell
        self._failing_since: float | None = None
        self._failed = 0

    def refuse(self, why: str) -> None:
        """Let no further question be asked."""
        self.refusal = self.refusal or why

    def check(self) -> None:
        """Check that questions can be answered.

        Raises:
            RunFailedError: they cannot.
        """
        if self.refusal:
            raise RunFailedError(self.refusal)

    def answered(self) -> None:
        """A request was answered, so there is no outage."""
        self._failing_since, self._failed = None, 0

    def failed(self, error: Exception, why: str) -> None:
        """A request failed.

        Args:
            error: what was raised.
            why: the same in one line, without secrets.
        """
        if is_fatal(error):
            self.refuse(why)
        if not is_transient(error) or status_of(error) == HTTPStatus.TOO_MANY_REQUESTS:
            return
        self._failed += 1
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            self._tell(f"a request failed and is retried: {why}")
        elif self._failed >= FEWEST and time.monotonic() - self._failing_since >= OUTAGE:
            self.refuse(f"no request was answered for {OUTAGE:.0f} seconds: {why}")


_watch: ContextVar[Watch | None] = ContextVar("metascale_watch", default=None)


def current_watch() -> Watch | None:
    """The watch of the benchmark that runs here; None where Inspect runs without `metascale bench`."""
    return _watch.get()


@contextmanager
def watching(
    tell: Callable[[str], None], progress: Callable[[str], None], call_timeout: float | None = None
) -> Iterator[Watch]:
    """A new watch as the current one; arguments as for `Watch`."""
    watch = Watch(tell, progress, call_timeout)
    token = _watch.set(watch)
    try:
        yield watch
    finally:
        _watch.reset(token)


class EndAtRefusal:
    """Ends an evaluation when no further question can be answered, as an early stopping of Inspect, and counts answers.

    One more question fails without a request, so that the log holds the reason and is not taken for a complete one.
    """

    def __init__(self, name: str) -> None:
        """Begin the evaluation of that name."""
        self._name = name
        self._told = False
        self._done = self._questions = 0

    async def start_task(self, task: EvalSpec, samples: list[Sample], epochs: int) -> str:  # noqa: ARG002
        """The name of this rule in the log."""
        self._done, self._questions = 0, len(samples) * epochs
        return "no further request can succeed"

    async def schedule_sample(self, id: str | int, epoch: int) -> EarlyStop | None:  # noqa: A002  Inspect's names
        """Leave out a question, except for the first one after the refusal."""
        watch = current_watch()
        if watch is None or not watch.refusal:
            return None
        if not self._told:
            self._told = True
            return None
        return EarlyStop(id=id, epoch=epoch, reason=watch.refusal)

    async def complete_sample(self, id: str | int, epoch: int, scores: dict[str, SampleScore]) -> None:  # noqa: A002, ARG002
        """Tell how many questions are answered, about `LINES` times."""
        watch = current_watch()
        self._done += 1
        if watch is not None and (self._done % max(1, self._questions // LINES) == 0 or self._done == self._questions):
            watch.progress(f"{self._name}: {self._done:,} of {self._questions:,} questions answered")

    async def complete_task(self) -> dict[str, JsonValue]:
        """Add nothing to the log."""
        return {}
