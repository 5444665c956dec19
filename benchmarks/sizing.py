"""What a question costs: requests, tokens, processor time, bytes in databases, memory; and what many of them need.

Everything but the model is real: the OpenAI client over HTTP to a loopback server in a process of its own, SQLite,
PostgreSQL. The offline model answers, with answers of a length that language models give. So requests, bytes and
processor time are those of the workflow, while TOKENS ARE A SIMULATION'S: a real model's answers decide them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.base import BaseCheckpointSaver

from metascale import MetaScaleSettings, create_metascale
from metascale.data import gsm8k
from metascale.runtime.databases import is_postgres, open_checkpointer
from tests.openai_server import Fault, OpenAIServer, serving
from tests.postgres_server import serving_postgres

ANSWER = "So we take the number that the question gives, and work on it step by step. " * 18
"""1,400 characters."""
ANSWER_TOKENS = 350
"""What such an answer counts; as `metascale bench` assumes for its estimates."""
LATENCY = 0.2
"""Seconds of a request where time and memory are measured."""
SECONDS_A_CALL = 2.0
"""Assumed duration of a model request in the estimate for a day."""
DAY = 86_400
PROCESSES = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Measured:
    """Means over questions.

    Attributes:
        calls: model requests.
        input_tokens: of the simulation.
        output_tokens: of the simulation.
        cpu: seconds of processor time of the workflow and its client.
        wall: seconds.
        peak: bytes of memory that the process held at most.
        before: bytes that it held before the questions.
    """

    calls: float
    input_tokens: float
    output_tokens: float
    cpu: float
    wall: float
    peak: int
    before: int


async def ask(url: str, database: str | None, budget: int, questions: int, at_once: int) -> Measured:
    """Answer questions, after one that warms everything up."""
    model = ChatOpenAI(model="loopback", base_url=url, api_key="none", max_retries=0)
    texts = [row["question"] for row in gsm8k()]
    async with _saver(database) as saver:
        graph = create_metascale(model, settings=MetaScaleSettings(budget=budget, seed=1), checkpointer=saver)
        room = asyncio.Semaphore(at_once)

        async def one(number: int) -> dict[str, Any]:
            config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
            async with room:
                out = await graph.ainvoke({"messages": [("user", texts[number])]}, config, durability=durability)
            usage: dict[str, Any] = out["result"]["usage"]
            return usage

        durability: Any = "sync" if saver else None
        await one(0)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall, cpu = time.perf_counter(), time.process_time()
        usages = await asyncio.gather(*(one(number) for number in range(1, questions + 1)))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    calls, read, written = (
        sum(usage[key] for usage in usages) / questions for key in ("calls", "input_tokens", "output_tokens")
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measured(calls, read, written, cpu / questions, wall / questions, 1024 * peak, 1024 * before)


@asynccontextmanager
async def _saver(database: str | None) -> AsyncIterator[BaseCheckpointSaver[str] | None]:
    if database is None:
        yield None
    else:
        async with open_checkpointer(database) as saver:
            yield saver


def measure(*arguments: Any) -> Measured:
    """As `ask`, in a process of its own."""
    with PROCESSES.Pool(1) as pool:
        return pool.apply(_measure, arguments)


def _measure(*arguments: Any) -> Measured:
    return asyncio.run(ask(*arguments))


@contextmanager
def model_server(latency: float) -> Iterator[str]:
    """The loopback server's URL; it runs in a process of its own, so that its work is not counted."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_serve, args=(theirs, latency), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


class WordyServer(OpenAIServer):
    """Gives answers of a length that language models give, and counts them so."""

    async def respond(
        self, method: str, path: str, raw: bytes, is_gone: Callable[[], bool]
    ) -> tuple[int, dict[str, str], bytes]:
        """Respond, with the answer's own tokens in the bill."""
        status, headers, body = await super().respond(method, path, raw, is_gone)
        reply = json.loads(body)
        if reply["choices"][0]["message"]["content"] == ANSWER:
            reply["usage"]["completion_tokens"] = ANSWER_TOKENS
            reply["usage"]["total_tokens"] = reply["usage"]["prompt_tokens"] + ANSWER_TOKENS
        return status, headers, json.dumps(reply).encode()


def _serve(pipe: Connection, latency: float) -> None:
    script = {"solve": Fault(text=ANSWER)}
    with serving(WordyServer(latency=latency, script=lambda kind, *_: script.get(kind))) as server:
        pipe.send(server.url)
        time.sleep(DAY)


def bytes_in(database: str) -> int:
    """What a database holds."""
    if not is_postgres(database):
        return sum(file.stat().st_size for file in Path(database).parent.glob(f"{Path(database).name}*"))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("checkpoint")
        (size,) = connection.execute("select pg_database_size(current_database())").fetchone() or (0,)
    return int(size)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budgets", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--questions", type=int, default=20, help="a figure is the mean of")
    parser.add_argument("--day-budget", type=int, default=16, help="one of the budgets, for a day's needs")
    parser.add_argument("--at-once", type=int, default=100, help="questions at a time, for memory")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the beginning")
    print(f"TOKENS ARE A SIMULATION'S, except that an answer counts {ANSWER_TOKENS}\n")
    rows: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, serving_postgres() as postgres:
        with model_server(0.0) as url:
            _line("budget", "requests", "tokens in", "tokens out", "SQLite kB", "PostgreSQL kB")
            for budget in options.budgets:
                rows[budget] = _row(url, str(Path(folder) / "runs.sqlite"), postgres, budget, options.questions)
                _line(budget, *(f"{figure:,.0f}" for figure in rows[budget][:5]), head=False)
            print()
            _line("budget", "CPU ms", "CPU ms, SQLite", "CPU ms, PostgreSQL")
            for budget, row in rows.items():
                _line(budget, *(f"{figure:,.0f}" for figure in row[5:]), head=False)
        with model_server(LATENCY) as url:
            alone = measure(url, None, options.day_budget, 3, 1)
            together = measure(url, None, options.day_budget, options.at_once, options.at_once)
    depth = alone.wall / LATENCY
    each = (together.peak - together.before) / options.at_once
    print(f"\nmemory at budget {options.day_budget}: {alone.peak / 1e6:.0f} MB with 1 question at a time,", end=" ")
    print(f"{together.peak / 1e6:.0f} MB with {options.at_once}, which is {each / 1e6:.2f} MB a question")
    print(f"a question lasts as long as {depth:.1f} requests one after another")
    print(f"\nat budget {options.day_budget}, on PostgreSQL, {SECONDS_A_CALL:g} s a request, evenly over the day:\n")
    _line("questions a day", "requests a second", "in flight", "questions in flight", "cores", "memory MB", "GB a day")
    calls, kilobytes, cpu = (rows[options.day_budget][place] for place in (0, 4, 7))
    for questions in (1, 1_000, 1_000_000):
        asked = questions / DAY * calls
        in_flight = max(1.0, questions / DAY * depth * SECONDS_A_CALL)
        needs = (asked, max(1.0, asked * SECONDS_A_CALL), in_flight, questions / DAY * cpu / 1e3)
        sizes = ((together.before + in_flight * each) / 1e6, questions * kilobytes / 1e6)
        _line(
            f"{questions:,}", *(f"{need:,.0f}" if need >= 10 else f"{need:.2g}" for need in needs + sizes), head=False
        )
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


def _line(*cells: object, head: bool = True) -> None:
    """Print a line of a Markdown table, with the rule below it where it is the first."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
    if head:
        print("|" + "---|" * len(cells))


def _row(url: str, sqlite: str, postgres: str, budget: int, questions: int) -> list[float]:
    """One line of the first table."""
    plain = measure(url, None, budget, questions, 1)
    row = [plain.calls, plain.input_tokens, plain.output_tokens]
    more = []
    for database in (sqlite, postgres):
        measure(url, database, budget, 1, 1)
        before = bytes_in(database)
        kept = measure(url, database, budget, questions, 1)
        row.append((bytes_in(database) - before) / (questions + 1) / 1e3)
        more.append(1000 * kept.cpu)
    return [*row, 1000 * plain.cpu, *more]


if __name__ == "__main__":
    main()
