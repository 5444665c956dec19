"""The process of a llama.cpp server. It runs as a script, imports nothing of metascale, and ends with its parent.

Standard input holds one line of JSON, the request, and then stays open as long as the parent lives. Standard output
gets one line of JSON, the server's address or why there is none. Standard error gets llama.cpp's own messages.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
from typing import Any


def main() -> None:
    """Serve one file until standard input ends."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # llama.cpp also prints
    wanted = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        llama: Any = importlib.import_module("xllamacpp")
    except Exception as error:  # noqa: BLE001  whatever it is, the parent tells it
        _say(channel, unusable=f"{type(error).__name__}: {error}")
        return
    if wanted["shortage"] and (sys.platform == "darwin" or not _has_own_memory(llama)):
        _say(channel, refused=wanted["shortage"])
        return
    try:
        server = llama.Server(_parameters(llama, wanted))
    except Exception as error:  # noqa: BLE001
        _say(channel, failed=str(error))
        return
    _say(channel, url=server.listening_address)
    threading.Event().wait()


def _parameters(llama: Any, wanted: dict[str, Any]) -> Any:
    given = llama.CommonParams()
    given.model.path = wanted["path"]
    given.model_alias = {wanted["name"]}
    given.api_keys = [wanted["key"]]
    given.n_parallel = wanted["slots"]
    given.n_ctx = wanted["slots"] * wanted["context"]
    given.cache_ram_mib = wanted["prompt_cache"]
    given.cpuparams.n_threads = given.cpuparams_batch.n_threads = wanted["threads"]
    given.use_jinja = True
    given.endpoint_metrics = True
    given.endpoint_slots = given.ui = False
    given.verbosity = 1  # errors
    return given


def _has_own_memory(llama: Any) -> bool:
    """Whether a graphics processor with memory of its own can hold the model."""
    return any(str(device["type"]).endswith("DEVICE_TYPE_GPU") for device in llama.get_device_info())


def _say(channel: Any, **said: str) -> None:
    channel.write(json.dumps(said) + "\n")
    channel.flush()


def _end_with_parent() -> None:
    while os.read(0, 4_096):  # a buffered read would hold a lock that a failing interpreter needs
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
