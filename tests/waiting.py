"""Waiting for what another thread or process does. No test depends on how long that takes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

CEILING = 240.0
"""Seconds after which a wait is a hang. No machine is that busy."""


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[Any] | None = None) -> None:
    """Wait until a condition holds.

    Args:
        condition: looked at again and again.
        process: what is to bring it about; the wait fails as soon as it has ended.
    """
    deadline = time.monotonic() + CEILING
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "this wait never ends"
        time.sleep(0.01)
