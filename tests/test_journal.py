"""The journal of a benchmark: what was paid for is kept, and asked for once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from metascale.journal.database import current_journal, journal_in, once


def test_a_reply_is_asked_for_once_however_often_it_is_wanted(tmp_path: Path) -> None:
    asked = 0

    async def ask() -> str:
        nonlocal asked
        number = asked = asked + 1
        await asyncio.sleep(0.01)
        return f"reply {number}"

    async def want() -> list[str]:
        return await asyncio.gather(*(once(ask, "baseline", question, 1) for question in ("a", "b", "a", "a")))

    with journal_in(tmp_path / "logs"):
        first = asyncio.run(want())
    assert (asked, first) == (2, ["reply 1", "reply 2", "reply 1", "reply 1"])
    with journal_in(tmp_path / "logs"):
        assert asyncio.run(want()) == first
    assert asked == 2
    assert current_journal() is None
    asyncio.run(want())
    assert asked == 6


def test_a_reply_that_failed_is_asked_for_again(tmp_path: Path) -> None:
    async def fail() -> str:
        raise ConnectionError

    async def ask() -> str:
        return "reply"

    async def want() -> str:
        with pytest.raises(ConnectionError):
            await once(fail, "baseline", "a")
        return await once(ask, "baseline", "a")

    with journal_in(tmp_path):
        assert asyncio.run(want()) == "reply"


def test_keys_are_told_apart_by_their_parts(tmp_path: Path) -> None:
    async def put() -> list[str | None]:
        with journal_in(tmp_path) as journal:
            await journal.put("reply", "a", "b")
            return [await journal.get(*key) for key in (("a", "b"), ("ab",), ("a", None), ("a,b",), ("a", "b", 1))]

    assert asyncio.run(put()) == ["reply", None, None, None, None]
