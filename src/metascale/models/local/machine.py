"""What this process may use of the machine: processors and memory, also inside a container."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux shows the limits of a container (cgroup v2)."""


def processors() -> int:
    """Processor cores for computing; at least 1.

    Hardware threads of one core do not count twice: llama.cpp is no faster with them.
    """
    psutil: Any = importlib.import_module("psutil")
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = psutil.cpu_count(logical=False) or allowed
    quota, _, period = _read("cpu.max").partition(" ")
    paid = int(quota) // int(period) if quota.isdigit() and period.isdigit() else allowed
    return max(1, min(allowed, cores, paid))


def free_memory() -> int:
    """Bytes that can still be used without swapping."""
    psutil: Any = importlib.import_module("psutil")
    free = int(psutil.virtual_memory().available)
    most, used = _read("memory.max"), _read("memory.current")
    if most.isdigit() and used.isdigit():
        cached = dict(line.split() for line in _read("memory.stat").splitlines()).get("inactive_file", "0")
        free = min(free, int(most) - int(used) + int(cached))
    return max(0, free)


def _read(name: str) -> str:
    try:
        return (CGROUP / name).read_text(encoding="ascii").strip()
    except OSError:
        return ""
