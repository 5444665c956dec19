"""Databases by name: an SQLite file, or PostgreSQL by its URL."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.store.base import BaseStore

from metascale.errors import MetaScaleError
from metascale.redaction import redacted

SETTING_UP = 0x6D657461
"""Key of the advisory lock that is held while tables are made: where two processes make them at once, one fails."""
_ILL_WRITTEN = re.compile(r"\w+://[^/?#@]*(?:@[^/?#]*@|%(?![0-9a-fA-F]{2})[^/?#]*@)")
"""A URL with a password that is not escaped: libpq would take a part of it for the host, or quote it in an error."""
SERIALIZER = JsonPlusSerializer(allowed_msgpack_modules=None, pickle_fallback=False)
"""How checkpoints are written and read: strictly, so that no database can make a reader import a module or build any
other object. LangGraph is strict by default only if `LANGGRAPH_STRICT_MSGPACK` is set before it is imported."""


class DatabaseError(MetaScaleError):
    """A database cannot be opened or written."""


def is_postgres(where: str) -> bool:
    """Whether a database's name is a PostgreSQL URL."""
    return where.startswith(("postgresql://", "postgres://"))


def check_database(where: str) -> None:
    """Make sure that a database can be opened and written.

    Args:
        where: an SQLite file, which is made if it does not exist, or a PostgreSQL URL.

    Raises:
        DatabaseError: it cannot, or the packages of the extra `postgres` are missing.
    """
    try:
        if is_postgres(where):
            _check_postgres(where)
        else:
            _check_file(Path(where))
            with closing(sqlite3.connect(where, isolation_level=None)) as database:
                database.execute("begin immediate")
                database.execute("rollback")
    except sqlite3.Error as error:
        why = "" if Path(where).parent.is_dir() else "; its folder does not exist"
        raise DatabaseError(f"the database {where!r} cannot be used: {error}{why}") from error


def _check_file(where: Path) -> None:
    """Raise a clear error for a read-only file or folder, as SQLite only says that it cannot open the file."""
    for place, what in ((where, "it"), (where.parent, "its folder")):
        if place.exists() and not os.access(place, os.W_OK):
            raise DatabaseError(f"the database {str(where)!r} cannot be used: {what} is read-only")


def _check_postgres(where: str) -> None:
    try:
        import psycopg  # noqa: PLC0415  the extra `postgres`
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # noqa: F401, PLC0415
    except ImportError as error:
        raise DatabaseError(
            f"PostgreSQL needs more packages ({error.name or error}): pip install 'metascale[postgres]'"
        ) from error
    if _ILL_WRITTEN.match(where):
        raise DatabaseError(
            f"the database {named(where)!r} cannot be used: write @ and % in its user name and password as %40 and %25"
        )
    try:
        with psycopg.connect(where) as connection:
            (read_only,) = connection.execute("show transaction_read_only").fetchone() or ("off",)
    except psycopg.Error as error:
        raise DatabaseError(f"the database {named(where)!r} cannot be used: {' '.join(str(error).split())}") from error
    if read_only == "on":
        raise DatabaseError(f"the database {named(where)!r} cannot be used: it is read-only")


def failure_of(error: BaseException, *databases: str | None) -> DatabaseError | None:
    """The error to show when a database fails during a run: it is full, has become read-only, or is gone.

    Args:
        error: what was raised.
        databases: the databases in use; None for no database.

    Returns:
        An error of one line; None where no database raised `error`.
    """
    raised_in = {base.__module__.partition(".")[0] for base in type(error).__mro__}
    if not raised_in & {"sqlite3", "psycopg"}:
        return None
    names = " or ".join(repr(named(where)) for where in databases if where is not None)
    said = " ".join(str(error).split())
    return DatabaseError(f"the database {names} failed: {said}; what it holds is kept, and the same command continues")


def named(where: str) -> str:
    """A database's name for messages: without the password of a URL."""
    return redacted(where) if is_postgres(where) else where


@asynccontextmanager
async def open_checkpointer(where: str) -> AsyncIterator[BaseCheckpointSaver[str]]:
    """The checkpoints in a database that has passed `check_database`."""
    if is_postgres(where):
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # noqa: PLC0415  the extra `postgres`

        async with AsyncPostgresSaver.from_conn_string(where, serde=SERIALIZER) as saver:
            await _set_up(saver)
            yield saver
    else:
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver  # noqa: PLC0415  only where it is used

        async with AsyncSqliteSaver.from_conn_string(where) as saver:
            saver.serde = SERIALIZER
            yield saver


@asynccontextmanager
async def open_store(where: str) -> AsyncIterator[BaseStore]:
    """The LangGraph store in a database that has passed `check_database`."""
    if is_postgres(where):
        from langgraph.store.postgres.aio import AsyncPostgresStore  # noqa: PLC0415  the extra `postgres`

        async with AsyncPostgresStore.from_conn_string(where) as store:
            await _set_up(store)
            yield store
    else:
        from langgraph.store.sqlite.aio import AsyncSqliteStore  # noqa: PLC0415  only where it is used

        async with AsyncSqliteStore.from_conn_string(where) as store:
            await store.setup()
            yield store
        await asyncio.sleep(0)  # its task, which is cancelled, ends


async def _set_up(opened: Any) -> None:
    """Make the tables of a saver or a store that holds one connection, one process at a time.

    The lock is polled: a statement that waited for it would block the creation of indexes.
    """
    while not await _is_locked(opened.conn):  # noqa: ASYNC110  other processes set no event
        await asyncio.sleep(0.05)
    await opened.setup()
    await opened.conn.execute("select pg_advisory_unlock(%s)", (SETTING_UP,))


async def _is_locked(connection: Any) -> bool:
    found = await connection.execute("select pg_try_advisory_lock(%s) as mine", (SETTING_UP,))
    return bool((await found.fetchone())["mine"])
