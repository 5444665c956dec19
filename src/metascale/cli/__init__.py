"""The command line: one file a command."""

from metascale.cli.app import main

__all__ = ["main"]
