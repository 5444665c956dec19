"""The process that `benchmarks.kills` kills: it starts or continues a run, like `metascale solve`."""

from __future__ import annotations

import asyncio
from multiprocessing.synchronize import Event

from langchain_openai import ChatOpenAI

from metascale import MetaScaleSettings, create_metascale
from metascale.cli.session import Session
from metascale.runtime.databases import open_checkpointer


def work(*, database: str, url: str, name: str, thread: str, question: str, settings: str, ready: Event) -> None:
    """Answer a question on a thread.

    Args:
        database: an SQLite file, or the URL of a PostgreSQL.
        url: of the model's server.
        name: of the model, by which the server tells whose request it is.
        thread: the run.
        question: what is asked.
        settings: of the run, as JSON.
        ready: set once the database is open and the work begins.
    """
    chosen = MetaScaleSettings.model_validate_json(settings)
    model = ChatOpenAI(model=name, base_url=url, api_key="none", max_retries=0)

    async def solve() -> None:
        async with open_checkpointer(database) as saver:
            graph = create_metascale(model, settings=chosen, checkpointer=saver)
            ready.set()
            await Session(graph, chosen, thread).solve(question, lambda _: None)

    asyncio.run(solve())
