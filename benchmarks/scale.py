"""Many questions at once in one process, a server that limits its rate, and budgets up to 4,096.

The workflow, its client and SQLite are real, and HTTP is over loopback. THE MODEL IS A SIMULATION: canned replies and
random scores, from a server in a process of its own. So times, bytes and counts are the workflow's, and no answer means
anything.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from langchain_openai import ChatOpenAI
from rich.console import Console
from rich.table import Table

from benchmarks.canned_server import Traffic, canned_server, traffic_of
from metascale import MetaScaleSettings, create_metascale
from metascale.data import gsm8k
from metascale.runtime.databases import open_checkpointer

PROCESSES = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Crowd:
    """What answering many questions at once took.

    Attributes:
        wall: seconds.
        cpu: seconds of processor time of the process that asks.
        samples: that were drawn.
        calls: model requests, by the bills.
        failed: samples that failed.
        unanswered: questions without an answer.
        finished: seconds after which each question was answered, in order.
        halfway: samples that each question had when half of all were drawn.
        grown: bytes by which the process grew at most.
        descriptors: open files and sockets at most.
        traffic: what the server saw.
    """

    wall: float
    cpu: float
    samples: int
    calls: int
    failed: int
    unanswered: int
    finished: list[float]
    halfway: list[int]
    grown: int
    descriptors: int
    traffic: Traffic


async def ask_all(url: str, settings: MetaScaleSettings, questions: int) -> Crowd:
    """Ask all questions at once, of one graph, after one that warms everything up."""
    model = ChatOpenAI(model="canned", base_url=url, api_key="none", max_retries=0)
    graph = create_metascale(model, settings=settings)
    texts = [row["question"] for row in gsm8k()]
    drawn = [0] * questions
    failed = [0] * questions
    halfway: list[int] = []
    finished: list[float] = []
    calls = [0] * questions
    half = questions * settings.budget // 2

    async def one(number: int) -> None:
        stream = graph.astream({"messages": [("user", texts[number % len(texts)])]}, stream_mode="custom")
        async for event in stream:
            if event["event"] == "sampled":
                is_failed = event["candidate"]["status"] == "failed"
                (failed if is_failed else drawn)[number] += 1
                if not halfway and sum(drawn) >= half:
                    halfway.extend(drawn)
            elif event["event"] == "chosen":
                calls[number] = event["result"]["usage"]["calls"]
        finished.append(time.perf_counter() - started)

    started = time.perf_counter()
    await graph.ainvoke({"messages": [("user", texts[0])]})
    gc.collect()
    before, seen = traffic_of(url), _Seen()
    watching = asyncio.create_task(seen.watch())
    finished.clear()
    started, cpu = time.perf_counter(), time.process_time()
    outcomes = await asyncio.gather(*(one(number) for number in range(questions)), return_exceptions=True)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    watching.cancel()
    after = traffic_of(url)
    return Crowd(
        wall=wall,
        cpu=cpu,
        samples=sum(drawn),
        calls=sum(calls),
        failed=sum(failed),
        unanswered=sum(isinstance(outcome, BaseException) for outcome in outcomes),
        finished=sorted(finished),
        halfway=halfway,
        grown=seen.memory - seen.memory_before,
        descriptors=seen.descriptors,
        traffic=Traffic(
            after.requests - before.requests,
            after.refused - before.refused,
            after.in_flight,
            after.most,
            after.connections - before.connections,
        ),
    )


class _Seen:
    """The most memory and descriptors that this process was seen with."""

    def __init__(self) -> None:
        self.memory_before = self.memory = _resident()
        self.descriptors = 0

    async def watch(self) -> None:
        while True:
            self.memory = max(self.memory, _resident())
            self.descriptors = max(self.descriptors, _descriptors())
            await asyncio.sleep(0.2)


def _resident() -> int:
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _descriptors() -> int:
    """Files and sockets that this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@dataclass(frozen=True)
class Growth:
    """What a sample of one large run costs.

    Attributes:
        cpu: milliseconds of processor time.
        wall: milliseconds.
        stored: bytes of checkpoints.
    """

    cpu: float
    wall: float
    stored: float


async def run_once(url: str, settings: MetaScaleSettings) -> Growth:
    """One run with a checkpointer, after a small one that warms everything up."""
    model = ChatOpenAI(model="canned", base_url=url, api_key="none", max_retries=0)
    asked: Any = {"messages": [("user", gsm8k()[0]["question"])]}
    await create_metascale(model, settings=settings.model_copy(update={"budget": 16})).ainvoke(asked)
    with tempfile.TemporaryDirectory() as folder:
        async with open_checkpointer(str(Path(folder) / "runs.sqlite")) as saver:
            graph = create_metascale(model, settings=settings, checkpointer=saver)
            wall, cpu = time.perf_counter(), time.process_time()
            await graph.ainvoke(asked, {"configurable": {"thread_id": "1"}}, durability="sync")
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        stored = _size(Path(folder))
    return Growth(1_000 * cpu / settings.budget, 1_000 * wall / settings.budget, stored / settings.budget)


def _size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir())


def in_own_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What a coroutine function gives, in a fresh process."""
    with PROCESSES.Pool(1) as pool:
        return pool.apply(_run, (work, *arguments))


def _run(work: Callable[..., Any], *arguments: Any) -> Any:
    return asyncio.run(work(*arguments))


def crowds(console: Console, options: argparse.Namespace) -> None:
    """Many questions at once, with and without a limit on the rate."""
    table = Table(title=f"{options.questions} questions at once, budget {options.budget}, {options.latency:g} s a call")
    limited = Table(
        title=f"{options.limited} questions at once at a server that takes {options.rate:g} requests a second"
    )
    for one in (table, limited):
        one.add_column("", no_wrap=True)
    columns: list[tuple[Table, list[Crowd]]] = []
    for shown, questions, rate in (
        (table, options.questions, math.inf),
        (limited, options.limited, options.rate),
    ):
        found = []
        for _ in range(options.repeats if questions else 0):
            with canned_server(options.latency, rate) as url:
                settings = MetaScaleSettings(budget=options.budget, seed=1)
                found.append(in_own_process(ask_all, url, settings, questions))
        columns.append((shown, found))
    for shown, found in columns:
        if not found:
            continue
        shown.add_column("median (lowest to highest)")
        for name, figure in CROWD_ROWS.items():
            shown.add_row(name, spread([figure(crowd) for crowd in found]))
        console.print(shown)


CROWD_ROWS: dict[str, Callable[[Crowd], float]] = {
    "seconds": lambda crowd: crowd.wall,
    "requests a second": lambda crowd: crowd.traffic.requests / crowd.wall,
    "samples a second": lambda crowd: crowd.samples / crowd.wall,
    "milliseconds of CPU a request": lambda crowd: 1_000 * crowd.cpu / crowd.traffic.requests,
    "kilobytes of memory a question": lambda crowd: crowd.grown / len(crowd.halfway) / 1_000,
    "most requests in flight": lambda crowd: crowd.traffic.most,
    "open descriptors": lambda crowd: crowd.descriptors,
    "connections opened": lambda crowd: crowd.traffic.connections,
    "requests refused, %": lambda crowd: 100 * crowd.traffic.refused / crowd.traffic.requests,
    "samples failed": lambda crowd: crowd.failed,
    "questions unanswered": lambda crowd: crowd.unanswered,
    "requests not on a bill": lambda crowd: crowd.traffic.requests - crowd.calls,
    "first, % of the time of the last": lambda crowd: 100 * crowd.finished[0] / crowd.finished[-1],
    "median, % of the time of the last": lambda crowd: 100 * statistics.median(crowd.finished) / crowd.finished[-1],
    "fewest samples halfway": lambda crowd: min(crowd.halfway),
    "median samples halfway": lambda crowd: statistics.median(crowd.halfway),
    "most samples halfway": lambda crowd: max(crowd.halfway),
}


def growths(console: Console, options: argparse.Namespace) -> None:
    """What a sample costs, the larger the budget."""
    table = Table(title=f"One run on SQLite, {options.batch_size} samples a round, no latency: a sample costs")
    for heading in ("budget", "ms of CPU", "ms", "bytes of checkpoints"):
        table.add_column(heading, justify="right")
    for budget in options.budgets:
        with canned_server() as url:
            settings = MetaScaleSettings(budget=budget, batch_size=options.batch_size, seed=1)
            found = [in_own_process(run_once, url, settings) for _ in range(options.repeats)]
        rows = ([g.cpu for g in found], [g.wall for g in found], [g.stored for g in found])
        table.add_row(f"{budget:,}", *map(spread, rows))
    console.print(table)


def spread(values: Sequence[float]) -> str:
    """Median and range of some figures."""
    low, middle, high = (float(value) for value in np.quantile(values, (0, 0.5, 1)))
    digits = 0 if middle >= 100 or all(value == int(value) for value in values) else 2
    whole = f"{middle:,.{digits}f}"
    return whole if low == high else f"{whole} ({low:,.{digits}f} to {high:,.{digits}f})"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=1_000, help="asked at once; 0 leaves this out")
    parser.add_argument("--budget", type=int, default=16)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds a call")
    parser.add_argument("--limited", type=int, default=100, help="questions for the limited server; 0 leaves this out")
    parser.add_argument("--rate", type=float, default=100, help="requests a second that it takes")
    parser.add_argument("--budgets", type=int, nargs="*", default=[64, 256, 1_024, 4_096])
    parser.add_argument("--batch-size", type=int, default=16, help="samples a round of the large runs")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    console = Console(width=120)
    crowds(console, options)
    growths(console, options)


if __name__ == "__main__":
    main()
