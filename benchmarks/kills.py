"""Kills the processes of runs (SIGKILL) at uniformly random moments, and resumes the runs until they finish.

Is every run finished, with its budget exact and the answer of an undisturbed run? Is anything lost that was saved, and
how many samples does a kill cost twice? The offline model answers, behind a loopback server that counts its requests: a
SIMULATION of a model, a real database, real kills.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from benchmarks.kills_worker import work
from metascale import MetaScaleSettings, create_metascale
from metascale.data import gsm8k
from metascale.runtime.databases import open_checkpointer
from metascale.state import State, state_of
from tests.conftest import ask, chat_model
from tests.openai_server import OpenAIServer, Served, serving
from tests.postgres_server import serving_postgres

QUESTIONS = 10
"""Questions that are asked in turns."""
TIMED = 5
"""Undisturbed processes whose median duration is the span over which kills are uniform."""
PATIENCE = 120.0
"""Seconds after which a process that was not killed is given up."""


@dataclass
class Figures:
    """What was counted.

    Attributes:
        budget: samples a run.
        batch: samples that a run has in flight at most.
        span: seconds of an undisturbed run.
        runs: that were begun.
        finished: of them, those that ended with a result.
        different: of them, those whose pool, candidates, answer or bill differ from the undisturbed run's.
        inexact: of them, those that billed more or fewer samples than the budget.
        lost: saved samples that a resumed run no longer had.
        repeated: for every kill, the samples that were paid before it and paid again after it.
        calls_repeated: requests of all kinds that were paid for and are in no bill.
        seconds: of wall time.
    """

    budget: int
    batch: int
    span: float = 0.0
    runs: int = 0
    finished: int = 0
    different: int = 0
    inexact: int = 0
    lost: int = 0
    repeated: list[int] = field(default_factory=list)
    calls_repeated: int = 0
    seconds: float = 0.0


class Runs:
    """Runs in one database, on one model server.

    Attributes:
        server: counts requests; a process is known by its model's name.
    """

    def __init__(self, database: str, server: OpenAIServer, settings: MetaScaleSettings) -> None:
        """Prepare a server of processes, so that a process costs a fork and no imports."""
        self.server = server
        self._database, self._settings = database, settings
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["benchmarks.kills_worker", "tests.conftest", "tests.postgres_server"])

    def process(self, run: int, number: int, kill_after: float | None) -> float | None:
        """Let a process work on a run, and kill it after a number of seconds; None for never.

        Returns:
            The seconds that it worked; None if it was killed.

        Raises:
            RuntimeError: it failed by itself.
        """
        ready = self._processes.Event()
        what = {
            "database": self._database,
            "url": self.server.url,
            "name": model_name(run, number),
            "thread": thread(run),
            "question": question(run),
            "settings": self._settings.model_dump_json(),
            "ready": ready,
        }
        worker = self._processes.Process(target=work, kwargs=what)
        worker.start()
        ready.wait(PATIENCE)
        started = time.monotonic()
        worker.join(PATIENCE if kill_after is None else kill_after)
        seconds = time.monotonic() - started
        if worker.is_alive():
            worker.kill()
            worker.join()
        if worker.exitcode not in ({0} if kill_after is None else {0, -signal.SIGKILL}):
            raise RuntimeError(f"a process of run {run} ended with {worker.exitcode}")
        return seconds if worker.exitcode == 0 else None

    def state(self, run: int) -> State:
        """What the database holds of a run."""

        async def read() -> State:
            async with open_checkpointer(self._database) as saver:
                graph = create_metascale("simulated", settings=self._settings, checkpointer=saver)
                return state_of(await graph.aget_state({"configurable": {"thread_id": thread(run)}}))

        return asyncio.run(read())

    def undisturbed(self, run: int) -> State:
        """The same run without a database on disk and without kills."""
        graph = create_metascale(chat_model(self.server), settings=self._settings, checkpointer=InMemorySaver())
        config: Any = {"configurable": {"thread_id": thread(run)}}
        graph.invoke(ask(question(run)), config)
        return state_of(graph.get_state(config))


def thread(run: int) -> str:
    """The name of a run."""
    return f"run {run}"


def model_name(run: int, process: int | str) -> str:
    """The model that a process of a run asks; the beginning of all of them for the process `""`."""
    return f"run {run} process {process}"


def question(run: int) -> str:
    """What a run asks."""
    return str(gsm8k()[run % QUESTIONS]["question"])


def measure(database: str, *, kills: int, settings: MetaScaleSettings, latency: float, seed: int) -> Figures:
    """Start runs until enough processes were killed, finish all runs, and count.

    Args:
        database: an SQLite file, or the URL of a PostgreSQL.
        kills: number of kills.
        settings: settings of every run, with a seed.
        latency: latency of the model's server, in seconds per request.
        seed: seed of the moments.
    """
    generator = random.Random(seed)
    started = time.monotonic()
    found = Figures(settings.budget, settings.batch_size)
    with serving(OpenAIServer(latency=latency)) as server:
        runs = Runs(database, server, settings)
        found.span = statistics.median(runs.process(run, 0, None) or 0.0 for run in range(-TIMED, 0))
        expected = [_plain(runs.undisturbed(run)) for run in range(QUESTIONS)]
        for run in itertools.count():
            left = kills - len(found.repeated)
            if not left:
                break
            saved: dict[int, str] = {}
            number = 0
            while runs.process(run, number, generator.uniform(0, found.span) if number < left else None) is None:
                number += 1
                kept = _texts(runs.state(run))
                found.lost += len(saved.items() - kept.items())
                saved = kept
            ended = runs.state(run)
            paid = [served for served in server.served if str(served.body["model"]).startswith(model_name(run, ""))]
            found.lost += len(saved.items() - _texts(ended).items())
            found.repeated += _repeated(run, number, paid)
            found.calls_repeated += len(paid) - ended["usage"]["calls"]
            found.finished += ended["result"] is not None
            found.runs += 1
            found.inexact += ended["usage"]["samples"] != settings.budget
            found.different += _plain(ended) != expected[run % QUESTIONS]
    found.seconds = time.monotonic() - started
    return found


def _texts(state: State) -> dict[int, str]:
    return {candidate["id"]: candidate["text"] for candidate in state["candidates"]}


def _repeated(run: int, kills: int, paid: Sequence[Served]) -> list[int]:
    """For every kill, the samples that were paid before it and asked for again after it; a sample has its own seed."""
    seeds = [
        {served.body["seed"] for served in paid if served.kind == "solve" and served.body["model"] == name}
        for name in (model_name(run, number) for number in range(kills + 1))
    ]
    return [len(seeds[number] & set().union(*seeds[number + 1 :])) for number in range(kills)]


def _plain(state: State) -> Any:
    """What two equal runs have in common: all but the clock."""
    result = state["result"]
    usage = {**result["usage"], "seconds": None} if result else None
    return state["pool"], state["candidates"], result and {**result, "usage": usage}


@contextlib.contextmanager
def database_of(kind: str) -> Iterator[str]:
    """A new database: a file in a temporary folder, or a PostgreSQL of one's own."""
    if kind == "postgresql":
        with serving_postgres() as url:
            yield url
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield str(Path(folder) / "runs.sqlite")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--budget", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--latency", type=float, default=0.02, help="seconds a call")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    options = parser.parse_args()
    settings = MetaScaleSettings(
        budget=options.budget,
        batch_size=options.batch_size,
        seed=1,
        evolution="always",
        evolve_every=1,
        stragglers="wait",  # so that no sample is paid twice but by a kill
    )
    with database_of(options.database) as database:
        found = measure(database, kills=options.kills, settings=settings, latency=options.latency, seed=options.seed)
    kills = len(found.repeated)
    mean = statistics.mean(found.repeated)
    spread = statistics.stdev(found.repeated) if kills > 1 else 0.0
    print(f"SIMULATION of a model; {options.database}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for what, figure in (
        ("kills, uniform over a run's seconds", f"{kills:,} over {found.span:.2f} s"),
        ("runs finished", f"{found.finished:,} of {found.runs:,}"),
        ("runs that differ from the undisturbed run", f"{found.different:,}"),
        ("runs whose budget is not exact", f"{found.inexact:,} (budget {found.budget})"),
        ("saved samples that were lost", f"{found.lost:,}"),
        ("samples paid twice, at most a kill", f"{max(found.repeated)} (in flight: at most {found.batch})"),
        ("samples paid twice, mean a kill", f"{mean:.2f} (sd {spread:.2f})"),
        ("requests of all kinds paid twice, mean a kill", f"{found.calls_repeated / kills:.2f}"),
        ("wall time", f"{found.seconds:.0f} s"),
    ):
        print(f"{what:46} {figure}")


if __name__ == "__main__":
    main()
