"""The app for `metascale serve`, which runs LangGraph's in-memory server and must not let it read files.

At its start that server unpickles `.langgraph_api/.langgraph_ops.pckl`, even without persistence. A planted pickle in
the folder would run code here.
"""

from __future__ import annotations

import importlib

from metascale.server.app import app

importlib.import_module(
    "langgraph_runtime_inmem.database"
).GLOBAL_STORE.flag = "n"  # a fresh store, so nothing is loaded

__all__ = ["app"]
