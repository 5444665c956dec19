"""Asynchronous clients and event loops: a client's open connections serve only the loop that opened them.

`ChatOpenAI` keeps one HTTP client for all models of one address, for as long as the process lives. A second
`asyncio.run` would send its requests through connections of a loop that is closed.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import threading
import weakref
from typing import Any

from langchain_core.language_models import BaseChatModel

from metascale.errors import chain_of

_OTHER_LOOP = re.compile(r"event loop is closed|(?:attached|bound) to a different (?:event )?loop", re.IGNORECASE)
_first: weakref.WeakKeyDictionary[Any, weakref.ref[asyncio.AbstractEventLoop]] = weakref.WeakKeyDictionary()
"""By HTTP client: the loop that used it first."""
_fresh: dict[tuple[int, int], tuple[asyncio.AbstractEventLoop, Any, Any]] = {}
"""By the ids of a client and a loop, which the values keep alive: the client of that loop."""
_lock = threading.Lock()


def for_running_loop(model: BaseChatModel) -> BaseChatModel:
    """The model with a client of the running loop's own, where another loop has used its client.

    Models of other classes than LangChain's for OpenAI, and clients that the user configured, are left as they are.
    """
    client = getattr(model, "root_async_client", None)
    connections = getattr(client, "_client", None)
    if client is None or connections is None or getattr(model, "http_async_client", None) is not None:
        return model
    loop = asyncio.get_running_loop()
    with _lock:
        first = _first.setdefault(connections, weakref.ref(loop))
        if first() is loop:
            return model
        own = _client_of(loop, client)
    return model.model_copy(update={"root_async_client": own, "async_client": own.chat.completions})


def is_of_another_loop(error: BaseException) -> bool:
    """Whether a client failed because its connections belong to another event loop."""
    return any(isinstance(link, RuntimeError) and _OTHER_LOOP.search(str(link)) for link in chain_of(error))


def _client_of(loop: asyncio.AbstractEventLoop, client: Any) -> Any:
    for key in [key for key, (known, _, _) in _fresh.items() if known.is_closed()]:
        del _fresh[key]
    key = (id(client), id(loop))
    if key not in _fresh:
        connections = importlib.import_module("openai").DefaultAsyncHttpxClient(timeout=client.timeout)
        _fresh[key] = (loop, client, client.with_options(http_client=connections))
    return _fresh[key][2]
