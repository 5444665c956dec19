"""Why a request failed: its HTTP status, the server's own reason, and what that means for further requests."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from metascale.errors import ModelCallError, chain_of, describe
from metascale.redaction import redacted, secrets_of

TRANSIENT_STATUSES = frozenset({408, 409, 425, 429})
"""HTTP statuses below 500 after which the same request may succeed."""
REJECTED_STATUSES = frozenset({400, 422, 501})
"""HTTP statuses by which a server refuses the form of a request."""
LONGEST_REASON = 300
"""Characters of a server's reason that are shown. Not tuned."""

_ADDRESSES = ("openai_api_base", "azure_endpoint", "anthropic_api_url", "base_url", "endpoint")
"""Fields in which chat models hold their server's address."""
_DEPTH = 8
"""Levels of a reply's body that are read. Not tuned."""
_TRANSPORT_ERRORS = frozenset(
    {"APIConnectionError", "TransportError", "ConnectionError", "TimeoutError", "HTTPClientError"}
)
"""Names of exception classes for connections that failed: those of OpenAI's client, httpx, Python and botocore."""
_MALFORMED_REQUESTS = frozenset({"UnsupportedProtocol", "InvalidURL", "LocalProtocolError", "InvalidHeader"})
"""Names of exception classes for requests that cannot be sent at all: those of httpx and requests."""
_STATUS_OF_CODE = {
    "throttlingexception": 429,
    "toomanyrequestsexception": 429,
    "servicequotaexceededexception": 429,
    "resource_exhausted": 429,
    "accessdeniedexception": 403,
    "permission_denied": 403,
    "expiredtokenexception": 403,
    "unrecognizedclientexception": 403,
    "invalidsignatureexception": 403,
    "unauthenticated": 401,
    "resourcenotfoundexception": 404,
    "not_found": 404,
    "validationexception": 400,
    "invalid_argument": 400,
    "modeltimeoutexception": 408,
    "deadline_exceeded": 504,
    "internalserverexception": 500,
    "modelerrorexception": 500,
    "modelstreamerrorexception": 500,
    "internal": 500,
    "serviceunavailableexception": 503,
    "modelnotreadyexception": 503,
    "unavailable": 503,
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "context_length_exceeded": 400,
    "server_error": 500,
    "api_error": 500,
    "overloaded_error": 503,
}
"""HTTP statuses of error codes that come without one: those of AWS, gRPC, OpenAI and Anthropic, in lower case."""
_SPENT = re.compile(
    r"insufficient[ _](?:quota|balance|credit|fund)|exceeded your current quota|credit balance|payment required"
    r"|billing[ _](?:hard[ _])?limit|billing[ _]not[ _]active|out of credits|quota (?:is |has been )?exhausted",
    re.IGNORECASE,
)
_RETRY_LATER = re.compile(r"(?:retry|try again) (?:in|after) |retrydelay|per (?:minute|second)", re.IGNORECASE)
_WRONG_KEY = re.compile(
    r"(?:api[ _-]?key|token)\W+(?:is )?(?:not valid|invalid)|(?:invalid|incorrect) api[ _-]?key", re.I
)
_NO_SUCH_MODEL = re.compile(
    r"model[ _]not[ _](?:found|exist)|(?:unknown|invalid|no such) model\b|not a valid model"
    r"|models?\b.{0,120}?(?:does not exist|not exist|not found|is not available)|model identifier is invalid",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[ _](?:length|window|size)|maximum context|too many tokens|prompt is too long|exceeds? .{0,40}context",
    re.I,
)
_ABOUT_THE_FORM = re.compile(
    r"\btools?\b|tool_|function|response_format|json|schema|structured|image|vision|modal", re.IGNORECASE
)
_ILLEGAL_KEY = "the API key holds a line break or another character that it may not"
_CAUSES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), hint)
    for pattern, hint in (
        (
            r"unsupported protocol|missing an? 'http|no scheme|InvalidURL|InvalidPort",
            "check the base URL: it starts with http:// or https://",
        ),
        (r"illegal header|invalid header|header value", _ILLEGAL_KEY),
        (r"name or service not known|nodename nor servname|getaddrinfo|name resolution", "check the host's name"),
        (
            r"refused|cannot connect|connect call failed|connection attempts failed",
            "nothing listens there; is the server running?",
        ),
        (r"certificate|ssl|wrong_version|tls", "check http:// against https://, and the server's certificate"),
        (
            r"expecting value|unexpected response type",
            "the address answers, but not as a model's server; check the base URL (most end in /v1)",
        ),
        (r"unreachable|no route", "the host cannot be reached from here"),
    )
)
_HINTS = {
    401: "check the API key",
    402: "check the account's balance",
    403: "check the API key and what it may be used for",
    404: "check the model's name and the base URL (most end in /v1)",
}


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error, or one of its causes, carries; None where there was no response."""
    return next((status for link in chain_of(error) if (status := _status_in(link)) is not None), None)


def _status_in(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    held: list[Any] = [getattr(holder, "status_code", None) for holder in (error, response)]
    if isinstance(response, Mapping):
        named = response.get("Error")
        held += [(response.get("ResponseMetadata") or {}).get("HTTPStatusCode")]
        held += [named.get("Code") if isinstance(named, Mapping) else None]
    held += [getattr(error, name, None) for name in ("code", "status", "http_status")]
    body = _body_of(error)
    for _ in range(2):  # {"type": "error", "error": {"type": "overloaded_error", …}}
        if isinstance(body, Mapping):
            held += [body.get("code"), body.get("type")]
            body = body.get("error")
    return next((status for value in held if (status := _as_status(value)) is not None), None)


def _as_status(value: Any) -> int | None:
    """A status out of what an error holds: a number, a numeral, an error code, or a method that returns one of these.

    gRPC's `code()` returns a member of an enumeration that is named after the error code.
    """
    if callable(value):
        try:
            value = value()
        except Exception:  # noqa: BLE001  whatever an error's method raises, it names no status
            return None
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value) if 400 <= value <= 599 else None
    text = str(getattr(value, "name", value) or "").strip().lower()
    if re.fullmatch(r"[45]\d\d", text):
        return int(text)
    return _STATUS_OF_CODE.get(text)


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed when it is retried: overload, server error, lost connection, timeout."""
    if is_fatal(error):
        return False
    status = status_of(error)
    if status is not None:
        return status in TRANSIENT_STATUSES or status >= 500
    return _is_lost_connection(error)


def is_outage(error: BaseException) -> bool:
    """Whether a server cannot be reached, or fails with a status from 500 on; not whether it is merely busy."""
    status = status_of(error)
    return _is_lost_connection(error) if status is None else status >= 500 and status != HTTPStatus.SERVICE_UNAVAILABLE


def is_rejected(error: BaseException, *, has_form: bool = False) -> bool:
    """Whether a server refuses the form of a request, so that another form may work; arguments as for `is_fatal`."""
    status = status_of(error)
    return not is_fatal(error, has_form=has_form) and (status in REJECTED_STATUSES or status == HTTPStatus.NOT_FOUND)


def is_fatal(error: BaseException, *, has_form: bool = False) -> bool:
    """Whether no other request to this model can succeed: a wrong key, an unknown model, no money, a broken URL.

    Args:
        error: why a request failed.
        has_form: whether the request asked for tools or for a structured reply. A 404 may then be about that.
    """
    if isinstance(error, ModelCallError) and error.fatal:
        return True
    status = status_of(error)
    if status is None:
        return _cannot_be_sent(error)
    said = _everything_said(error)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _SPENT.search(said) is not None and ("insufficient_quota" in said or _RETRY_LATER.search(said) is None)
    if status == HTTPStatus.NOT_FOUND:
        is_about_model = _NO_SUCH_MODEL.search(said) is not None
        return is_about_model or (not has_form and _ABOUT_THE_FORM.search(said) is None)
    if status in REJECTED_STATUSES:
        return any(pattern.search(said) for pattern in (_SPENT, _WRONG_KEY, _NO_SUCH_MODEL))
    return status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN}


def _is_lost_connection(error: BaseException) -> bool:
    return any(not _TRANSPORT_ERRORS.isdisjoint(_names(link)) for link in (error, error.__cause__) if link is not None)


def _cannot_be_sent(error: BaseException) -> bool:
    """Whether the URL or a header is malformed.

    Headers, such as that of the key, are in ASCII. httpx names other faults of a connection `LocalProtocolError` too.
    """
    return any(
        (isinstance(link, UnicodeEncodeError) and link.encoding == "ascii")
        or (
            not _MALFORMED_REQUESTS.isdisjoint(_names(link))
            and ("LocalProtocolError" not in _names(link) or "header" in str(link).lower())
        )
        for link in chain_of(error)
    )


def _names(error: BaseException) -> set[str]:
    return {base.__name__ for base in type(error).__mro__}


def reason_of(error: BaseException) -> str:
    """The server's own words, in one line; empty where it gave none."""
    for link in chain_of(error):
        said = " ".join(_words_of(_body_of(link)).split())
        if said:
            return said
    return ""


def _body_of(error: BaseException) -> Any:
    """What a failed request's reply holds: JSON or text; None where there is no reply."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        return response.get("Error")
    try:
        text = getattr(response, "text", None)
    except Exception:  # noqa: BLE001  the body was not read and the connection is gone
        text = None
    body = text if isinstance(text, str) and text.strip() else getattr(error, "body", None)
    if body is None and error.args and isinstance(error.args[0], Mapping):
        body = error.args[0]
    if isinstance(body, str):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return body
    return body


def _words_of(body: Any, depth: int = 0) -> str:
    """The message in an error's body: in any of the forms in which servers send one."""
    if depth > _DEPTH or body is None:
        return ""
    if isinstance(body, str):
        return _text_of_page(body) if re.match(r"\s*<(?:!doctype|html|head|body|h\d|p)\b", body, re.I) else body
    if isinstance(body, list | tuple):
        return "; ".join(words for item in body if (words := _words_of(item, depth + 1)))
    return _words_of_object(body, depth) if isinstance(body, Mapping) else ""


def _words_of_object(body: Mapping[Any, Any], depth: int) -> str:
    lower = {str(name).lower(): value for name, value in body.items()}
    if "msg" in lower and "loc" in lower:
        where = ".".join(str(part) for part in lower["loc"]) if isinstance(lower["loc"], list | tuple) else lower["loc"]
        return f"{where}: {lower['msg']}"
    if isinstance(lower.get("error"), str) and isinstance(lower.get("message"), str):
        return f"{lower['error']}: {lower['message']}"
    for name in ("error", "message", "detail", "details", "errors", "msg", "error_message", "title", "reason"):
        words = _words_of(lower.get(name), depth + 1)
        if words:
            raw = lower.get("metadata")
            further = _words_of(raw.get("raw"), depth + 1) if isinstance(raw, Mapping) else ""
            return f"{words}: {further}" if further else words
    return json.dumps(body, default=str) if body and depth == 0 else ""


def _text_of_page(page: str) -> str:
    found = re.findall(r"<(?:title|h1|h2|p)[^>]*>(.*?)</(?:title|h1|h2|p)>", page, re.I | re.S) or [page]
    words = [" ".join(html.unescape(re.sub(r"<[^>]*>", " ", part)).split()) for part in found]
    return ": ".join(dict.fromkeys(word for word in words if word))


def _everything_said(error: BaseException) -> str:
    """All that an error and its causes say, for patterns to be looked for."""
    parts = [part for link in chain_of(error) for part in (str(link), _body_of(link), getattr(link, "code", ""))]
    return " ".join(part if isinstance(part, str) else json.dumps(part, default=str) for part in parts if part)


def explain(error: BaseException, model: BaseChatModel) -> str:
    """Why a request to a model failed, in one line: the server's reason, its address, and what to check.

    Secrets are redacted. Errors that come neither from a server nor from the connection to it are described as
    `describe` does.
    """
    if isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    secrets = secrets_of(model)
    status, reason = status_of(error), reason_of(error)
    is_about_the_key = any(not secret.isascii() or not secret.isprintable() for secret in secrets)
    is_lost = _is_lost_connection(error) or _cannot_be_sent(error) or (is_about_the_key and status is None)
    is_lost |= isinstance(error, json.JSONDecodeError) or "Unexpected response type from" in str(error)
    is_timeout = isinstance(error, TimeoutError) and error.__cause__ is None
    if is_timeout or (status is None and not reason and not is_lost):
        return describe(error, secrets)
    name = type(error).__name__ if status is None else f"{type(error).__name__} {status}"
    said = _one_line(reason or _innermost(error), [*secrets, *(secret.strip() for secret in secrets)])
    address = _without_secrets(address_of(model) or _requested_url(error))
    hint = _hint(error, status, is_about_the_key=is_about_the_key)
    return f"{name}: {said}{f' ({redacted(address, secrets)})' if address else ''}{f'; {hint}' if hint else ''}"


def address_of(model: BaseChatModel | Embeddings) -> str:
    """The address of a model's server; empty where the model does not show one."""
    return next((str(url) for field in _ADDRESSES if (url := getattr(model, field, None))), "")


def _one_line(text: str, secrets: Iterable[str]) -> str:
    shown = " ".join(redacted(text, secrets).split())
    return shown if len(shown) <= LONGEST_REASON else f"{shown[: LONGEST_REASON - 1]}…"


def _innermost(error: BaseException) -> str:
    """What an error says where the server said nothing: its own words, and those of its deepest cause."""
    texts = [text for link in chain_of(error) if (text := str(link).strip())]
    if not texts:
        return "no reason was given"
    if re.fullmatch(r"Error code: \d+", texts[0]):
        return "the server gave no reason"
    return texts[0] if texts[-1] in texts[0] else f"{texts[0].rstrip('.')}: {texts[-1]}"


def _requested_url(error: BaseException) -> str:
    for link in chain_of(error):
        try:
            request = getattr(link, "request", None)
        except RuntimeError:  # httpx raises it where no request was set
            continue
        if request is not None and getattr(request, "url", None):
            return str(request.url)
    return ""


def _without_secrets(url: str) -> str:
    """A URL without user, password, query and fragment."""
    return re.sub(r"//[^/@\s]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0])


def _hint(error: BaseException, status: int | None, *, is_about_the_key: bool) -> str:
    said = _everything_said(error)
    if status is not None and _SPENT.search(said) and is_fatal(error):
        return "the quota is exhausted; check the account's plan and billing"
    if status is not None and _WRONG_KEY.search(said):
        return _HINTS[401]
    if status is not None and _TOO_LONG.search(said):
        return "shorten the conversation, or give the server a longer context"
    if status is not None:
        is_unknown = is_fatal(error) and (status not in _HINTS or status == HTTPStatus.NOT_FOUND)
        return _HINTS[404] if is_unknown else _HINTS.get(status, "") if status != HTTPStatus.NOT_FOUND else ""
    hints = [_ILLEGAL_KEY] if is_about_the_key else []
    hints += [hint for pattern, hint in _CAUSES if pattern.search(said)][:1]
    return "; ".join(dict.fromkeys(hints))
