"""PostgreSQL in place of a file: a real server, several processes, and kills."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from typer.testing import CliRunner

from benchmarks.postgres import measure
from metascale import MetaScaleSettings, create_metascale
from metascale.cli.app import app
from metascale.memory.store import StrategyMemory
from metascale.models import resolve_model
from metascale.runtime.databases import open_checkpointer, open_store
from tests.canaries import SOLVER, found_in, tell
from tests.command_line import end_of, errors_in, metascale, start_solving, wait_for
from tests.conftest import QUESTION, ServerFactory, ask
from tests.postgres_server import NoPostgresError, serving_postgres
from tests.runs import plain
from tests.waiting import CEILING

WAIT = ("--set", "stragglers=wait")


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    try:
        with serving_postgres() as url:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("alter system set fsync = off")
                connection.execute("select pg_reload_conf()")
            yield url
    except NoPostgresError as error:
        pytest.skip(str(error))


@pytest.fixture
def database(postgres: str) -> str:
    """The URL of an empty database."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
    return postgres.replace("/postgres?", f"/{name}?")


def thread(name: str) -> Any:
    return {"configurable": {"thread_id": name}}


async def test_a_run_is_the_same_whatever_keeps_it(database: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    settings = MetaScaleSettings(budget=16, evolution="always", seed=5)
    kept = create_metascale("simulated", settings=settings, checkpointer=InMemorySaver())
    kept.invoke(ask(), thread("t"))
    expected = plain(kept.get_state(thread("t")).values)
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
        graph = create_metascale("simulated", settings=settings, checkpointer=saver)
        stream = graph.stream(ask(), thread("cut"), stream_mode="updates", durability="sync")
        for _ in range(9):
            next(stream)
        stream.close()
        graph.invoke(ask(), thread("t"))
        assert plain(graph.get_state(thread("t")).values) == expected
    async with AsyncPostgresSaver.from_conn_string(database) as opened:
        graph = create_metascale("simulated", settings=settings, checkpointer=opened)
        assert not (await graph.aget_state(thread("cut"))).values.get("result")
        await graph.ainvoke(None, thread("cut"))
        assert plain((await graph.aget_state(thread("cut"))).values) == expected
    assert not caplog.records


def test_a_killed_run_goes_on_in_another_process(database: str, start_server: ServerFactory) -> None:
    server = start_server(latency=0.05)
    options = ("--budget", "12", "--batch-size", "4", "--seed", "5", *WAIT, "--db", database, "--thread", "t")
    process = start_solving(server, *options)
    wait_for(server, "solve", 6, process)
    process.kill()
    process.communicate()
    with PostgresSaver.from_conn_string(database) as saver:
        finished = create_metascale("simulated", checkpointer=saver).get_state(thread("t")).values["candidates"]
    process = start_solving(server, *options)
    out, err = end_of(process)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert [c["id"] for c in found["candidates"]] == list(range(12))
    assert [found["candidates"][c["id"]]["text"] for c in finished] == [c["text"] for c in finished]
    assert len(finished) >= 4
    assert server.count("solve") <= 12 + 4


def test_workers_killed_at_random_finish_every_run_and_pay_no_sample_twice(database: str) -> None:
    settings = MetaScaleSettings(budget=8, batch_size=2, confirm=2, seed=1, memory="workers", stop_on_agreement=None)
    found = measure(database, runs=12, kills=4, workers=2, settings=settings, latency=0.02, seed=3)
    assert (found.finished, found.kills) == (12, 4)
    assert found.samples_billed == 12 * 8
    assert 0 <= found.paid_twice <= found.allowed
    assert found.calls_paid >= found.calls_billed
    assert found.remembered == 12


def test_a_database_that_goes_read_only_loses_nothing(database: str, start_server: ServerFactory) -> None:
    server = start_server(latency=0.05)
    options = ("--budget", "12", "--batch-size", "4", "--seed", "5", *WAIT, "--db", database, "--thread", "t")
    process = start_solving(server, *options)
    wait_for(server, "solve", 6, process)
    with psycopg.connect(database, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'alter database "{name}" set default_transaction_read_only = on')
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    _, complaint = end_of(process)
    assert (process.returncode, errors_in(complaint).count("\n")) == (1, 1), complaint
    assert "what it holds is kept, and the same command continues" in complaint
    refused = CliRunner().invoke(app, ["solve", "Why?", "--model", "simulated", "--db", database, "--thread", "t"])
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "it is read-only" in refused.stderr
    with psycopg.connect(f"{database}&options=-c%20default_transaction_read_only%3Doff", autocommit=True) as connection:
        connection.execute(f'alter database "{name}" reset default_transaction_read_only')
    process = start_solving(server, *options)
    out, err = end_of(process)
    assert process.returncode == 0, err
    assert json.loads(out)["usage"]["samples"] == 12
    assert server.count("solve") <= 12 + 4


def test_a_role_without_rights_gets_one_line(database: str) -> None:
    role = f"reader_{uuid.uuid4().hex}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"create role {role} login")
    as_reader = database.replace("postgres:@", f"{role}:@")
    assert as_reader != database
    done = CliRunner().invoke(app, ["solve", "Why?", "--model", "simulated", "--db", as_reader, "--thread", "t"])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "permission denied for schema public" in done.stderr


async def test_tables_are_made_by_many_at_once(database: str) -> None:
    async def open_both() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(open_checkpointer(database))
            await stack.enter_async_context(open_store(database))

    await asyncio.gather(*(open_both() for _ in range(8)))


WRITER = """
import asyncio, sys
from metascale.runtime.databases import open_store
from metascale.memory.store import StrategyMemory
from metascale.memory.recollection import Record
async def write():
    async with open_store(sys.argv[1]) as store:
        for number in range(40):
            memory = StrategyMemory(store)
            await memory.remember(f"{sys.argv[2]} {number}", {"a": Record(1, 0.5, 0.0)})
asyncio.run(write())
"""


def test_a_memory_loses_nothing_of_two_processes_at_once(database: str) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, database, name]) for name in ("one", "two")]
    assert [writer.wait(CEILING) for writer in writers] == [0, 0]

    async def remembered() -> int:
        async with open_store(database) as store:
            return len(await StrategyMemory(store).runs())

    assert asyncio.run(remembered()) == 80


def test_the_command_line_learns_in_the_database_and_forgets(database: str) -> None:
    first = metascale("solve", QUESTION, "--model", "simulated", "--budget", "4", "--memory", database)
    assert first.returncode == 0, first.stderr
    assert metascale("memory", "forget", database, "--yes").stderr == "forgot 1 run\n"


async def test_a_run_leaves_no_key_behind(
    database: str, start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SOLVER)
    settings = MetaScaleSettings(budget=4, max_retries=0, memory="here", seed=1)
    async with open_checkpointer(database) as saver, open_store(database) as store:
        model = resolve_model("openai:loopback", base_url=start_server(script=tell(SOLVER)).url)
        graph = create_metascale(model, settings=settings, checkpointer=saver, store=store)
        await graph.ainvoke(ask(), thread("t"))
    with psycopg.connect(database) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        rows = [connection.execute(f'select * from "{name}"').fetchall() for (name,) in tables]  # type: ignore[arg-type]
    cells = [cell if isinstance(cell, bytes) else repr(cell) for table in rows for row in table for cell in row]
    assert any(b"Incorrect API key" in cell for cell in cells if isinstance(cell, bytes))
    assert [key for cell in cells for key in found_in(cell)] == []


@pytest.mark.parametrize(
    ("missing", "says"),
    [("", "Connection refused"), ("psycopg", "pip install 'metascale[postgres]'")],
    ids=["no server", "no package"],
)
def test_a_database_that_cannot_be_used_gets_one_line(missing: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    place = ["--db", "postgresql://ann:secret@127.0.0.1:1/runs", "--thread", "t"]
    done = CliRunner().invoke(app, ["solve", "Why?", "--model", "simulated", *place])
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr
