"""What a benchmark has paid for, in an SQLite file in its log folder: runs, and replies to single requests.

Inspect writes a question to its log when it is answered and scored. The journal holds what was paid before that, so
that nothing is asked again after a kill.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.sqlite import SqliteSaver

from metascale.runtime.databases import SERIALIZER, check_database

FILE = "runs.sqlite"
"""The journal's name in the folder of a benchmark's logs."""
Part = str | int | float | bool | None
"""A part of a key."""

_TABLES = """
    PRAGMA synchronous=NORMAL;
    CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, reply TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS replies (run TEXT NOT NULL, request TEXT NOT NULL, reply TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS replies_of_run ON replies (run);
"""
"""A killed process loses nothing of what it committed; synchronous=NORMAL matters only where the power fails."""

Replies = dict[str, deque[str]]
"""Replies by request, in order of arrival."""


class Journal:
    """Runs and replies in an SQLite file; usable from any event loop.

    Attributes:
        saver: LangGraph's checkpoints of the runs.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use an open database; its tables are made if they do not exist."""
        self.saver = _ThreadedSaver(connection, serde=SERIALIZER)
        self.saver.setup()
        connection.executescript(_TABLES)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def close(self) -> None:
        """Close the database, once a statement at work in another thread has ended."""
        with self.saver.lock:
            self.saver.conn.close()

    async def get(self, *key: Part) -> str | None:
        """The reply that was put under a key; None if there is none."""
        return await asyncio.to_thread(self._get, _name(key))

    async def put(self, reply: str, *key: Part) -> None:
        """Keep a reply under a key, which must hold everything that decides the reply."""
        await asyncio.to_thread(self._write, "INSERT OR REPLACE INTO kept VALUES (?, ?)", _name(key), reply)

    async def once(self, ask: Callable[[], Awaitable[str]], *key: Part) -> str:
        """The reply under a key; `ask` gives it where there is none, also to those who want it meanwhile."""
        async with self._locks[_name(key)]:
            reply = await self.get(*key)
            if reply is None:
                reply = await ask()
                await self.put(reply, *key)
            return reply

    async def replies_of(self, run: str) -> Replies:
        """The replies to requests of an unfinished run."""
        rows = await asyncio.to_thread(self._replies_of, run)
        found: defaultdict[str, deque[str]] = defaultdict(deque)
        for request, reply in rows:
            found[request].append(reply)
        return found

    def add_reply(self, run: str, request: str, reply: str) -> None:
        """Keep the reply to a request of an unfinished run. Nothing is awaited, so that no interrupt comes between."""
        self._write("INSERT INTO replies VALUES (?, ?, ?)", run, request, reply)

    async def finish(self, run: str) -> None:
        """Drop the replies to the requests of a run: its last checkpoint holds all that they gave."""
        await asyncio.to_thread(self._write, "DELETE FROM replies WHERE run = ?", run)

    def _get(self, key: str) -> str | None:
        with self.saver.cursor(transaction=False) as cursor:
            row = cursor.execute("SELECT reply FROM kept WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def _replies_of(self, run: str) -> list[tuple[str, str]]:
        with self.saver.cursor(transaction=False) as cursor:
            found = cursor.execute("SELECT request, reply FROM replies WHERE run = ? ORDER BY rowid", (run,))
            return list(found.fetchall())

    def _write(self, statement: str, *values: str) -> None:
        with self.saver.cursor() as cursor:
            cursor.execute(statement, values)


_journal: ContextVar[Journal | None] = ContextVar("metascale_journal", default=None)


def current_journal() -> Journal | None:
    """The journal of the benchmark that runs here; None where Inspect runs without `metascale bench`."""
    return _journal.get()


async def once(ask: Callable[[], Awaitable[str]], *key: Part) -> str:
    """`Journal.once` of the current journal; without a journal, what `ask` gives."""
    journal = current_journal()
    return await (journal.once(ask, *key) if journal is not None else ask())


@contextmanager
def journal_in(folder: Path) -> Iterator[Journal]:
    """The journal in a folder, as the current one; folder and file are made if they do not exist.

    Raises:
        DatabaseError: the file cannot be opened or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    check_database(str(folder / FILE))
    journal = Journal(sqlite3.connect(folder / FILE, check_same_thread=False))
    token = _journal.set(journal)
    try:
        yield journal
    finally:
        _journal.reset(token)
        journal.close()


def _name(key: Sequence[Part]) -> str:
    return json.dumps(key, ensure_ascii=False)


class _ThreadedSaver(SqliteSaver):
    """LangGraph's SQLite saver for graphs that are awaited, in whatever event loop: its statements run in threads.

    `AsyncSqliteSaver` belongs to one loop, which must still run when it is closed; Inspect makes the loops here.
    """

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  LangGraph's own signature
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        for found in await asyncio.to_thread(
            lambda: list(self.list(config, filter=filter, before=before, limit=limit))
        ):
            yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await asyncio.to_thread(lambda: self.get_delta_channel_history(config=config, channels=channels))
