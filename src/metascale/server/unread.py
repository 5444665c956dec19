"""The app for `metascale serve`, which logs requests, and must not let LangGraph's in-memory server read files.

At its start that server unpickles `.langgraph_api/.langgraph_ops.pckl`, even without persistence. A planted pickle in
the folder would run code here.
"""

from __future__ import annotations

import importlib

from metascale.server.app import app
from metascale.server.request_log import RequestLog

importlib.import_module(
    "langgraph_runtime_inmem.database"
).GLOBAL_STORE.flag = "n"  # a fresh store, so nothing is loaded

app.add_middleware(RequestLog)

__all__ = ["app"]
