"""What a person sees while a model file is loaded or fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from metascale.models.local.names import is_local, name_of_file


@contextmanager
def loading(console: Console | None, *models: str | None) -> Iterator[None]:
    """Show that model files are being loaded, and for how long; without a terminal, or for other models, show nothing.

    Args:
        console: of standard error; None to show nothing.
        models: the names of the models that are resolved meanwhile.
    """
    files = dict.fromkeys(name_of_file(model) for model in models if model is not None and is_local(model))
    if console is None or not console.is_terminal:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read when huggingface-hub is imported
    elif files:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            progress.add_task(f"Loading {', '.join(files)}")
            yield
        return
    yield
