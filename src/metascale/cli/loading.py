"""Loads model files before anything is spent, and shows a person that it takes a while."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from metascale.cli.phases import clock
from metascale.models import resolve_model
from metascale.models.local.names import count_files, is_local, name_of_file


def load_files(console: Console | None, *models: str | None, at_once: int | None = None) -> None:
    """Load the model files among some models, which share the processors and are then there for all that name them.

    Args:
        console: of standard error; None shows nothing.
        models: names of models; others than files are left alone.
        at_once: requests that will come at once.

    Raises:
        ModelSetupError: a file cannot be loaded.
        UnknownNameError: an option of a file does not exist.
    """
    if console is None or not console.is_terminal:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read when huggingface-hub is imported
    named = [name for name in models if name is not None and is_local(name)]
    files = count_files(named)
    for name in named:
        with _shown(console if _is_there(name) else None, name_of_file(name)):
            resolve_model(name, at_once=at_once, files=files)


def _is_there(name: str) -> bool:
    """Whether there is something to load; what is not there is only an error."""
    provider, _, place = name.partition(":")
    try:
        return provider != "gguf" or Path(place.partition("?")[0]).expanduser().is_file()
    except (OSError, RuntimeError):
        return False


@contextmanager
def _shown(console: Console | None, name: str) -> Iterator[None]:
    """Show that a model loads: by a clock on a terminal, else by a line before and one after."""
    if console is None:
        yield
    elif console.is_terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            progress.add_task(f"Loading {name}")
            yield
    else:
        began = time.monotonic()
        console.print(f"loading {name}", markup=False, highlight=False, soft_wrap=True)
        yield
        took = clock(time.monotonic() - began)
        console.print(f"{name} is ready after {took}", markup=False, highlight=False, soft_wrap=True)
