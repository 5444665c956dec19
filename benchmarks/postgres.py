"""Runs over worker processes on one PostgreSQL, workers killed at random: do all finish, is anything paid twice?

The offline model answers, behind a loopback server that counts its requests: a SIMULATION of a model, a real database,
real kills (SIGKILL).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.store.postgres import PostgresStore

from metascale import MetaScaleSettings
from tests.openai_server import OpenAIServer, serving
from tests.postgres_server import serving_postgres

PATIENCE = 120
"""Seconds without any request after which the benchmark gives up."""


@dataclass(frozen=True)
class Figures:
    """What was counted.

    Attributes:
        runs: that were asked for.
        finished: with a result.
        kills: of workers that were in the middle of a run.
        budget: samples a run.
        batch: samples that one run has in flight at most.
        samples_paid: that the model served.
        samples_billed: by the runs themselves.
        calls_paid: requests of all kinds that the model served.
        calls_billed: by the runs themselves.
        remembered: runs in the strategy memory.
        seconds: of wall time.
        bytes: that the database holds.
        load: of the machine in the last minute.
    """

    runs: int
    finished: int
    kills: int
    budget: int
    batch: int
    samples_paid: int
    samples_billed: int
    calls_paid: int
    calls_billed: int
    remembered: int
    seconds: float
    bytes: int
    load: float

    @property
    def paid_twice(self) -> int:
        """Samples that were paid for, and lost with a worker."""
        return self.samples_paid - self.runs * self.budget

    @property
    def allowed(self) -> int:
        """The batches that were in flight at the kills."""
        return self.kills * self.batch


def measure(
    database: str, *, runs: int, kills: int, workers: int, settings: MetaScaleSettings, latency: float, seed: int
) -> Figures:
    """Let workers do the runs, kill `kills` of them in the middle of one, and count."""
    with PostgresSaver.from_conn_string(database) as saver, PostgresStore.from_conn_string(database) as store:
        saver.setup()
        store.setup()
    with psycopg.connect(database, autocommit=True) as connection, serving(OpenAIServer(latency=latency)) as server:
        connection.execute("create table runs (number int primary key, samples int, calls int)")
        connection.execute("insert into runs select generate_series(1, %s)", (runs,))
        generator = random.Random(seed)
        marks = sorted(generator.sample(range(1, runs * settings.budget), kills), reverse=True)
        server.ready = lambda *_: not marks or server.count("solve") < marks[-1]  # until the kill that is due
        started, served, deadline = time.monotonic(), 0, time.monotonic() + PATIENCE
        with Crew([database, server.url, settings.model_dump_json(exclude_unset=True)], workers) as crew:
            while crew.is_working():
                if marks and server.count("solve") >= marks[-1] and crew.kill_one(connection, generator):
                    marks.pop()
                time.sleep(0.005)
                if len(server.served) > served:
                    served, deadline = len(server.served), time.monotonic() + PATIENCE
                assert time.monotonic() < deadline, "the workers have stopped asking"
        seconds = time.monotonic() - started
        (finished, samples, calls), (remembered,), (size,) = (
            connection.execute(query).fetchone() or ()
            for query in (
                "select count(samples), sum(samples), sum(calls) from runs",
                "select count(*) from store",
                "select pg_database_size(current_database())",
            )
        )
    return Figures(
        runs=runs,
        finished=finished,
        kills=kills - len(marks),
        budget=settings.budget,
        batch=settings.batch_size or settings.budget,
        samples_paid=server.count("solve"),
        samples_billed=samples,
        calls_paid=len(server.served),
        calls_billed=calls,
        remembered=remembered,
        seconds=seconds,
        bytes=size,
        load=os.getloadavg()[0],
    )


class Crew:
    """Worker processes; one that was killed is replaced."""

    def __init__(self, arguments: list[str], workers: int) -> None:
        """Start them."""
        self._command = [sys.executable, "-m", "benchmarks.postgres_worker", *arguments]
        self._names = itertools.count()
        self._workers = dict(self._start() for _ in range(workers))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.kill()
            worker.wait()

    def is_working(self) -> bool:
        """Whether any is at work; those that did not end by themselves are replaced first."""
        for name in [name for name, worker in self._workers.items() if worker.poll() not in {None, 0}]:
            assert self._workers.pop(name).returncode == -signal.SIGKILL
            self._workers.update([self._start()])
        return any(worker.poll() is None for worker in self._workers.values())

    def kill_one(self, connection: Any, generator: random.Random) -> bool:
        """Kill a worker in the middle of a run, if there is one."""
        at_work = connection.execute(
            "select distinct application_name from pg_stat_activity join pg_locks using (pid)"
            " where locktype = 'advisory' order by 1"
        ).fetchall()
        names = [name for (name,) in at_work if name in self._workers and self._workers[name].poll() is None]
        if names:
            self._workers[generator.choice(names)].kill()
        return bool(names)

    def _start(self) -> tuple[str, subprocess.Popen[bytes]]:
        name = f"worker {next(self._names)}"
        return name, subprocess.Popen(self._command, env={**os.environ, "PGAPPNAME": name})


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--budget", type=int, default=8)
    parser.add_argument("--latency", type=float, default=0.02, help="seconds a call")
    parser.add_argument("--database", help="URL of an empty PostgreSQL (default: one of its own, from a wheel)")
    parser.add_argument("--seed", type=int, default=0, help="when, and whom, to kill")
    options = parser.parse_args()
    settings = MetaScaleSettings(
        budget=options.budget, batch_size=4, seed=1, memory="postgres-benchmark", stop_on_agreement=None
    )
    with contextlib.nullcontext(options.database) if options.database else serving_postgres() as database:
        found = measure(
            database,
            runs=options.runs,
            kills=options.kills,
            workers=options.workers,
            settings=settings,
            latency=options.latency,
            seed=options.seed,
        )
    print(f"SIMULATION of a model; {os.cpu_count()} cores, load {found.load:.1f}, {options.workers} workers")
    for what, figure in (
        ("runs finished", f"{found.finished:,} of {found.runs:,}"),
        ("workers killed in the middle of a run", f"{found.kills:,}"),
        ("samples billed by the runs", f"{found.samples_billed:,} ({found.budget} a run)"),
        ("samples paid for", f"{found.samples_paid:,}"),
        ("samples lost with workers", f"{found.paid_twice:,} (in flight at the kills: at most {found.allowed:,})"),
        ("requests of all kinds, billed", f"{found.calls_billed:,}"),
        ("requests of all kinds, paid for", f"{found.calls_paid:,}"),
        ("runs in the strategy memory", f"{found.remembered:,}"),
        ("wall time", f"{found.seconds:.0f} s"),
        ("database", f"{found.bytes / 1e6:.1f} MB"),
    ):
        print(f"{what:40} {figure}")


if __name__ == "__main__":
    main()
