"""Authorization: a guard before all routes of the server, including LangGraph's own."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from metascale.server.errors import ApiError

_OPEN = {"/", "/ok"}
"""Health checks."""
_INSIDE = "/noauth"
"""Root path of LangGraph's calls to itself; requests from outside cannot have it."""


class Guard:
    """Admits health checks and requests with the token; without a token, every request.

    Browsers' preflight requests carry no token and pass; the CORS layer behind the guard answers them.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, local_names_only: bool) -> None:
        """Guard `app`. Without a token requests pass; if only local names are served, they must use one."""
        self.app = app
        self._token = token.encode() if token else None
        self._local_names_only = local_names_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, or refuse it."""
        refusal = self._refusal(scope)
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        is_inside = scope.get("root_path", "").split("/")[:2] == _INSIDE.split("/")
        if scope["type"] == "lifespan" or is_inside or scope["path"] in _OPEN:
            return None
        headers = Headers(scope=scope)
        if self._local_names_only and not is_local(_host_in(headers.get("host", ""))):
            return _refused(scope, 403, "a server without a token answers only to this machine's own names")
        if self._token is None or _is_preflight(scope, headers):
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token):
            return None
        return _refused(scope, 401, "missing or wrong token: send 'Authorization: Bearer TOKEN'")


def is_local(host: str) -> bool:
    """Whether a host name or address always means this machine, without asking DNS."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host_in(header: str) -> str:
    """The host in a `Host` header, without its port; empty where it is malformed."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    is_asked = "origin" in headers and "access-control-request-method" in headers
    return scope["type"] == "http" and scope["method"] == "OPTIONS" and is_asked


def _refused(scope: Scope, status: int, message: str) -> Response:
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    if scope["path"].startswith("/v1/"):
        code = "invalid_api_key" if status == 401 else None
        return ApiError(status, message, code=code, headers=headers).response()
    return JSONResponse({"detail": message}, status, headers)
