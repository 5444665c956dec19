"""The final view of a search as a picture."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

from rich.console import Console

from metascale.cli.live import Frame
from metascale.cli.options import UsageError

WIDTH = 110


def check_writable(file: Path) -> None:
    """Check that a file can be written, before anything is spent on what it will hold.

    Raises:
        UsageError: it cannot.
    """
    if file.is_dir():
        raise UsageError(f"{str(file)!r} is a folder, not a file")
    if not file.parent.is_dir():
        raise UsageError(f"{str(file)!r} is in a folder that does not exist")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(f"{str(file)!r} cannot be written")


def write_svg(frame: Frame, title: str, file: Path) -> None:
    """Draw a view as an SVG image, 110 columns wide, without the web font that Rich's would load.

    Raises:
        OSError: the file cannot be written.
    """
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(frame)
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title=title), flags=re.DOTALL)
    file.write_text(drawn, encoding="utf-8")
