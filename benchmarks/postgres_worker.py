"""A worker of `benchmarks.postgres`: takes runs out of a PostgreSQL until all are finished.

A run is taken by an advisory lock on the connection that writes its checkpoints. So it is free again once PostgreSQL
has seen a killed worker's connection end, and not before everything is written that the worker had sent.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from langchain_openai import ChatOpenAI
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.store.postgres.aio import AsyncPostgresStore

from metascale import MetaScaleSettings, create_metascale
from metascale.data import gsm8k


async def work(database: str, model_url: str, settings: MetaScaleSettings) -> None:
    """Start or continue free runs until none is left."""
    model = ChatOpenAI(model="loopback", base_url=model_url, api_key="none", max_retries=0)
    questions = [row["question"] for row in gsm8k()]
    async with (
        AsyncPostgresSaver.from_conn_string(database) as saver,
        AsyncPostgresStore.from_conn_string(database) as store,
    ):
        graph = create_metascale(model, settings=settings, checkpointer=saver, store=store)
        while number := await _taken(saver.conn):
            config: Any = {"configurable": {"thread_id": f"run {number}"}}
            before = await graph.aget_state(config)
            if before.created_at is None:
                await graph.ainvoke({"messages": [("user", questions[number - 1])]}, config, durability="sync")
            elif before.tasks:  # `next` is empty where a kill came between the last task and the next checkpoint
                await graph.ainvoke(None, config, durability="sync")
            usage = (await graph.aget_state(config)).values["result"]["usage"]
            await saver.conn.execute(
                "update runs set samples = %s, calls = %s where number = %s", (usage["samples"], usage["calls"], number)
            )
            await saver.conn.execute("select pg_advisory_unlock(%s)", (number,))


async def _taken(connection: Any) -> int | None:
    """An unfinished run without another worker; None once all are finished."""
    while True:
        found = await connection.execute("select number from runs where samples is null order by number")
        unfinished = [row["number"] for row in await found.fetchall()]
        if not unfinished:
            return None
        for number in unfinished:
            lock = await connection.execute("select pg_try_advisory_lock(%s) as mine", (number,))
            if (await lock.fetchone())["mine"]:
                still = await connection.execute("select 1 from runs where number = %s and samples is null", (number,))
                if await still.fetchone():
                    return int(number)
                await connection.execute("select pg_advisory_unlock(%s)", (number,))
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], MetaScaleSettings.model_validate_json(sys.argv[3])))
