"""Errors in the format of OpenAI's clients."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from metascale.errors import (
    ModelSetupError,
    NoAnswerError,
    QuestionError,
    SettingError,
    UnknownNameError,
    describe,
)
from metascale.redaction import redacted

_REQUESTS_FAULT = (QuestionError, SettingError, ModelSetupError, UnknownNameError)
_NOT_AGAIN = {"x-should-retry": "false"}
"""Tells OpenAI's clients not to retry by themselves: a whole search failed, and a retry pays for another."""

logger = logging.getLogger(__name__)


class ApiError(Exception):
    """A request that is refused or failed."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take the HTTP status and OpenAI's four fields; `kind` is OpenAI's `type`."""
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body: dict[str, Any] = {"error": {"message": message, "type": kind, "param": param, "code": code}}

    def response(self) -> JSONResponse:
        """The error as a response."""
        return JSONResponse(self.body, self.status, self.headers)


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """An invalid request, or one for something that is not served."""
    return ApiError(400, message, param=param, code=code)


def as_api_error(error: BaseException) -> ApiError:
    """The error as shown to the client; what the model's server said is only in this server's log.

    Messages of upstream errors can quote keys and addresses.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, HTTPException):
        return ApiError(error.status_code, str(error.detail), headers=error.headers)
    if isinstance(error, ValidationError):
        return _invalid(error.errors(include_url=False)[0])
    if isinstance(error, _REQUESTS_FAULT):
        return bad_request(describe(error))
    if isinstance(error, NoAnswerError):
        logger.warning("a search found no answer: %s", describe(error))
        why = "every request to the model failed" if error.is_upstreams else describe(error)
        return ApiError(502, why, kind="upstream_error", code="no_answer", headers=_NOT_AGAIN)
    logger.error("a request failed\n%s", redacted("".join(traceback.format_exception(error))))
    return ApiError(500, "internal error; see the server's log", kind="server_error", headers=_NOT_AGAIN)


def timed_out(seconds: float) -> ApiError:
    """A search that reached its timeout."""
    return ApiError(
        504, f"the search took longer than {seconds:g} s", kind="server_error", code="timeout", headers=_NOT_AGAIN
    )


def _invalid(problem: ErrorDetails) -> ApiError:
    place = [str(part) for part in problem["loc"]]
    param = ".".join(place) or None
    if problem["type"] == "json_invalid":
        return bad_request(f"the body is not JSON: {problem['msg']}", code="invalid_json")
    if problem["type"] == "extra_forbidden":
        given = repr(problem["input"])[:60]
        return bad_request(f"{param!r} is not served here (got {given})", param, "unknown_parameter")
    message = problem["msg"].removeprefix("Value error, ")
    return bad_request(f"{param}: {message}" if param else message, param)
