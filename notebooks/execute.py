"""`python notebooks/execute.py NOTEBOOK …`: run notebooks from top to bottom and keep their outputs.

What differs between machines and days, such as times and versions, is left out, so that a repetition changes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

SECONDS = 3_600
"""The longest that a cell may take: a model on a small machine is slow."""


def main(paths: list[str]) -> None:
    """Execute each notebook in this folder, whose files it reads."""
    for path in paths:
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        here = {"metadata": {"path": str(Path(__file__).parent)}}
        NotebookClient(notebook, timeout=SECONDS, resources=here, record_timing=False).execute()
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, path)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(sys.argv[1:])
