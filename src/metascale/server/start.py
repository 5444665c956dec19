"""Starts LangGraph's server with metascale's graphs and app in this process, from any install location."""

from __future__ import annotations

import importlib
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metascale.budget.rounds import widest_round
from metascale.errors import SettingError
from metascale.graphs import METHODS, create_metascale
from metascale.models import resolve_models
from metascale.models.resolve import ENVIRONMENT_VARIABLE as MODEL_VARIABLE
from metascale.server.auth import is_local
from metascale.server.names import Names
from metascale.server.options import OPTIONS_VARIABLE, TOKEN_VARIABLE, ServerOptions
from metascale.server.request_log import announce
from metascale.settings import ENVIRONMENT_VARIABLE as SETTINGS_VARIABLE
from metascale.settings import MetaScaleSettings

run_server: Any = importlib.import_module("langgraph_api.cli").run_server

BACKGROUND_RUNS = 10
"""Parallel runs of LangGraph's own queue, as in `langgraph dev`."""
SECONDS_TO_STOP = 5
"""Seconds that running searches get to finish when the server stops."""
QUIET = {"LOG_LEVEL": "WARNING", "LOG_COLOR": str(sys.stderr.isatty()).lower()}
"""Variables of LangGraph's log, unless they are set."""
CHATTY = ("langgraph_api.cli", "langgraph_api.timing.timer", "py.warnings")
"""Loggers whose information and warnings help nobody who runs a server."""
PAGES = {
    "allow_origins": ["https://smith.langchain.com"],
    "allow_origin_regex": r"http://(localhost|127\.0\.0\.1)(:\d+)?",
    "allow_methods": ["*"],
    "allow_headers": ["*"],
}
"""Origins of web pages that may call a server without a token: Studio's and this machine's. Without a list of origins,
LangGraph's server would allow every page."""


@dataclass(frozen=True)
class Launch:
    """A server that is ready to start.

    Attributes:
        host: the address to listen on.
        port: the port.
        environment: environment variables for its graphs and its app.
        http: the `http` section of its configuration, as in a `langgraph.json`.
    """

    host: str
    port: int
    environment: Mapping[str, str]
    http: Mapping[str, Any]

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def run(self, said: str) -> None:
        """Serve until the process is stopped, and say something once the server answers."""
        os.environ.update(self.environment)
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
        announce(self.url, said)
        run_server(
            self.host,
            self.port,
            graphs=graphs(),
            n_jobs_per_worker=BACKGROUND_RUNS,
            http={"app": "metascale.server.unread:app", "disable_mcp": True, **self.http},
            checkpointer={"serde": {"pickle_fallback": False}},
            disable_persistence=True,
            timeout_graceful_shutdown=SECONDS_TO_STOP,
            server_level="ERROR",
        )


def plan(
    models: Sequence[str],
    bounds: Mapping[str, Any],
    settings: MetaScaleSettings,
    *,
    place: tuple[str, int],
    base_url: str | None,
    token_file: Path | None,
) -> Launch:
    """Check everything that a server needs, before it starts.

    Args:
        models: the models to serve, the default first.
        bounds: further `ServerOptions`.
        settings: settings of searches where a request sets none.
        place: host and port; port 0 picks a free one.
        base_url: the server of `openai:NAME` models; None for `OPENAI_BASE_URL`.
        token_file: file with the token; None for `METASCALE_SERVER_TOKEN`.

    Raises:
        MetaScaleError: a model or the settings cannot be set up, a required token is missing, or the port is taken.
        ValueError: an option is invalid. OSError: the token cannot be read.
    """
    host, port = place
    token = _token(token_file)
    if token is None and not is_local(host):
        raise SettingError(f"listening on {host!r} needs a token: --token-file FILE or {TOKEN_VARIABLE}")
    if not os.access(".", os.W_OK):
        raise SettingError("LangGraph's server writes to .langgraph_api, but this folder is read-only")
    options = ServerOptions.model_validate(
        {**bounds, "models": tuple(models), "local_names_only": token is None}, strict=True
    )
    Names(options.models)
    for name in options.models:
        address = base_url if name.startswith("openai:") else None
        create_metascale(resolve_models(name, base_url=address, at_once=widest_round(settings)), settings=settings)
    environment = {
        MODEL_VARIABLE: options.models[0],
        SETTINGS_VARIABLE: settings.model_dump_json(exclude_unset=True),
        OPTIONS_VARIABLE: options.model_dump_json(),
        "LANGGRAPH_NO_VERSION_CHECK": "true",
    }
    environment |= {"OPENAI_BASE_URL": base_url} if base_url else {}
    environment |= {TOKEN_VARIABLE: token} if token else {}
    return Launch(host, _free(host, port), environment, {} if token else {"cors": PAGES})


def graphs() -> dict[str, dict[str, str]]:
    """The graphs of all methods, as in a `langgraph.json`."""
    served = {}
    for name, method in METHODS.items():
        module = method.create.__module__
        variable = name if hasattr(sys.modules[module], name) else "graph"
        served[name] = {"path": f"{module}:{variable}", "description": method.description}
    return served


def _token(file: Path | None) -> str | None:
    text = os.environ.get(TOKEN_VARIABLE, "") if file is None else file.read_text(encoding="utf-8")
    token = text.strip()
    if file is not None and not token:
        raise SettingError(f"the token file {str(file)!r} is empty")
    if not token.isascii() or not token.isprintable():
        raise SettingError("the token must be one line of printable ASCII")
    return token or None


def _free(host: str, port: int) -> int:
    """The port, or a free one for 0.

    Raises:
        SettingError: the server cannot listen on it.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise SettingError(
                f"cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}; "
                "choose another --port, or 0 for a free one"
            ) from error
        return int(probe.getsockname()[1])
