"""Loads model files before anything is spent, and shows a person that it takes a while."""

from __future__ import annotations

import os

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from metascale.models import resolve_model
from metascale.models.local.names import is_local, name_of_file


def load_files(console: Console | None, *models: str | None, at_once: int | None = None) -> None:
    """Load the model files among some models, which are then there for all that name them.

    Args:
        console: of standard error; None, or one without a terminal, shows nothing.
        models: names of models; others than files are left alone.
        at_once: requests that will come at once.

    Raises:
        ModelSetupError: a file cannot be loaded.
        UnknownNameError: an option of a file does not exist.
    """
    shows = console is not None and console.is_terminal
    if not shows:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read when huggingface-hub is imported
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    for name in models:
        if name is not None and is_local(name):
            with Progress(*columns, console=console, transient=True, disable=not shows) as progress:
                progress.add_task(f"Loading {name_of_file(name)}")
                resolve_model(name, at_once=at_once)
