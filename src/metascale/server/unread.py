"""The app as `metascale serve` mounts it: on LangGraph's server in memory, which must read no file.

That server begins by unpickling `.langgraph_api/.langgraph_ops.pckl`, even where nothing is to be kept, and whoever can
put a pickle into the folder would run code here.
"""

from __future__ import annotations

import importlib

from metascale.server.app import app

importlib.import_module("langgraph_runtime_inmem.database").GLOBAL_STORE.flag = "n"  # a new one: nothing is loaded

__all__ = ["app"]
