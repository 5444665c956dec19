"""The errors that metascale raises. Each message says in one line what is wrong and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from metascale.redaction import redacted
from metascale.usage import Usage, no_usage

LONGEST_CHAIN = 8
"""Errors that are looked at, where one caused the other. Not tuned."""


class MetaScaleError(Exception):
    """Base class of the errors that metascale raises."""


class QuestionError(MetaScaleError, ValueError):
    """The conversation does not end with a question, or is too long."""


class UnknownNameError(MetaScaleError, ValueError):
    """There is no model, policy, setting or other thing of this name."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        """Say that there is no `kind` called `name`, and suggest the closest of the `known` names."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class SettingError(MetaScaleError, ValueError):
    """A setting cannot be used or changed here."""


class ThreadError(MetaScaleError, ValueError):
    """A thread cannot be continued as asked."""


class ModelSetupError(MetaScaleError):
    """A model cannot be built: no key, a missing package, no model named."""


class ModelCallError(MetaScaleError):
    """A model request failed, and so did its retries.

    Attributes:
        usage: what the failed attempts cost.
        rejected: the server refused the form of the request (HTTP 400, 404, 422 or 501); another form may work.
        fatal: no other request to the model can succeed: its key, its name, its address or its quota is at fault.
    """

    def __init__(
        self, message: str, *, usage: Usage | None = None, rejected: bool = False, fatal: bool = False
    ) -> None:
        """Keep the message, the bill of the failed attempts, and what the failure means."""
        super().__init__(message)
        self.usage = usage or no_usage()
        self.rejected = rejected
        self.fatal = fatal


class OutOfTimeError(MetaScaleError, TimeoutError):
    """A request was cut off, or not sent, because the run had reached `max_seconds`."""

    def __init__(self) -> None:
        """Name the limit."""
        super().__init__("max_seconds was reached before a reply came")


class OutOfMoneyError(MetaScaleError):
    """A request was not sent, because a limit of money or of requests was reached."""

    def __init__(self, limit: str) -> None:
        """Name the limit."""
        super().__init__(f"{limit} was reached before the request was sent")


class NoAnswerError(MetaScaleError):
    """A run ended without a sample that can be an answer.

    Attributes:
        is_upstreams: whether requests failed, so that the message quotes the model's server.
    """

    def __init__(self, message: str, *, is_upstreams: bool = False) -> None:
        """Keep the message and whether it quotes the model's server."""
        super().__init__(message)
        self.is_upstreams = is_upstreams


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """An error and the errors that caused it, from the outside in; at most `LONGEST_CHAIN`."""
    link: BaseException | None = error
    for _ in range(LONGEST_CHAIN):
        if link is None:
            return
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def describe(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """An error in one line: its type and the first line of its message, at most 300 characters.

    metascale's own errors appear without their type and in full; validation errors name each field.

    Args:
        error: any error. Servers and clients quote keys in their messages, so these are redacted.
        secrets: texts to hide, beyond those that `redacted` finds by itself.
    """
    if isinstance(error, ValidationError):
        return "; ".join(_describe_field(problem, secrets) for problem in error.errors(include_url=False))
    lines = redacted(str(error), secrets).strip().splitlines()
    if isinstance(error, MetaScaleError):
        return " ".join(line.strip() for line in lines)
    name = type(error).__name__
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return redacted(f"{error.strerror}: {str(error.filename)!r}", secrets)
    return f"{name}: {lines[0][:300]}" if lines else name


def _describe_field(problem: ErrorDetails, secrets: Iterable[str]) -> str:
    message = redacted(problem["msg"].removeprefix("Value error, "), secrets)
    field = ".".join(str(part) for part in problem["loc"])
    given = redacted(repr(problem["input"]), secrets)[:60]
    return f"{field}: {message} (got {given})" if field and field not in message else message
