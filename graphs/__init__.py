"""The graphs: only wiring. One graph a file."""

from metascale.graphs.metascale import create_metascale

__all__ = ["create_metascale"]
