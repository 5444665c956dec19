"""Compares METASCALE with its_hub, TreeQuest, optillm, DSPy and a bare LangGraph graph on one loopback server.

Every entrant has its own virtual environment, so that dependencies do not conflict. They are made on first use, under
`--venvs`, from the package registry. Entrants that cannot be installed are reported and left out. The server is a
SIMULATION of a model's latency: these tables compare the work of clients, never the quality of answers.

It takes about a quarter of an hour with `--repeats 3`, plus the installation: half of it for runs that need the whole
machine, half for entrants that send one request at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.field_server import Latency, to_query

ROOT = Path(__file__).parent.parent
SAMPLES = (16, 64, 256)
AT_ONCE = 8
"""Runs side by side of entrants that mostly wait."""
IMPORTS = 7


@dataclass(frozen=True)
class Package:
    """The requirements and the import of a package.

    Attributes:
        requirements: for pip.
        imports: the statement whose time is measured.
    """

    requirements: tuple[str, ...]
    imports: str


PACKAGES = {
    "metascale": Package((str(ROOT), "-c", str(ROOT / "constraints.txt")), "import metascale"),
    "langgraph": Package(
        ("langgraph", "langchain-openai", "-c", str(ROOT / "constraints.txt")),
        "import langgraph.graph, langchain_openai",
    ),
    "its_hub": Package(("its_hub[lm]==1.2.0",), "import its_hub"),
    "treequest": Package(("treequest==0.3.3", "openai"), "import treequest, openai"),
    "optillm": Package(("optillm==0.4.0",), "import optillm.bon"),
    "dspy": Package(("dspy==3.4.1",), "import dspy"),
}


@dataclass(frozen=True)
class Entrant:
    """Who takes part.

    Attributes:
        title: in the tables.
        package: whose environment it runs in.
        waits: asks so few requests at once that it mostly waits where they take time.
    """

    title: str
    package: str
    waits: bool = False


ENTRANTS = {
    "metascale": Entrant("METASCALE, default (4 a round)", "metascale", waits=True),
    "metascale_16": Entrant("METASCALE, 16 a round", "metascale"),
    "metascale_best_of_n": Entrant("our best-of-N, one round", "metascale"),
    "langgraph": Entrant("bare LangGraph, 16 a round", "metascale"),
    "its_hub": Entrant("its_hub best-of-N", "its_hub"),
    "treequest_step": Entrant("TreeQuest AB-MCTS-A, one by one", "treequest", waits=True),
    "treequest_8": Entrant("TreeQuest AB-MCTS-A, 8 a batch", "treequest", waits=True),
    "optillm": Entrant("optillm best-of-N", "optillm", waits=True),
    "dspy": Entrant("DSPy BestOfN", "dspy", waits=True),
}

NONE, FIXED = Latency(), Latency(0.2)
RANDOM = {
    "log-normal, sigma 0.5": Latency(0.2, 0.5),
    "log-normal, sigma 1": Latency(0.2, 1.0),
    "5 % take 20 s": Latency(0.2, stragglers=0.05),
}


@dataclass(frozen=True)
class Job:
    """Some repeats of one entrant under one latency."""

    entrant: str
    latency: Latency
    samples: int
    seeds: range

    @property
    def is_alone(self) -> bool:
        """Whether it needs the machine for itself."""
        return self.latency == NONE or not (ENTRANTS[self.entrant].waits or self.latency.stragglers)


@dataclass(frozen=True)
class Measured:
    """One run: seconds, processor seconds, calls that cannot overlap, megabytes, calls, and most of them in flight."""

    wall: float
    cpu: float
    depth: int
    peak: float
    calls: int
    most: int


Runs = dict[tuple[str, Latency, int], list[Measured]]


def prepare(names: Iterable[str], venvs: Path) -> dict[str, Path]:
    """The interpreter of every package's environment; those that cannot be made are named on standard error."""
    found = {}
    for name in names:
        folder = venvs / name
        python = folder / "bin" / "python"
        ready = folder / "ready"
        if name == "metascale" or not ready.exists():
            print(f"installing {name} …", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            again = ["--force-reinstall", "--no-deps"] if ready.exists() else []
            command = [str(python), "-m", "pip", "install", "-q", *again, *PACKAGES[name].requirements]
            if subprocess.run(command, check=False).returncode:
                print(f"SKIPPED: {name} cannot be installed", file=sys.stderr)
                continue
            ready.touch()
        found[name] = python
    return found


@contextmanager
def canned_server() -> Iterator[str]:
    """The URL of a fresh server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.field_server"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def run(job: Job, python: Path) -> list[Measured]:
    """Run a job in a process of its own; an entrant that fails is named on standard error, and gives nothing."""
    with canned_server() as url:
        command = [str(python), "-m", "benchmarks.field_entrants", job.entrant, url, str(job.samples)]
        command += [str(job.seeds.start), str(job.seeds.stop), to_query(job.latency)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"wall"')]
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        print(f"FAILED: {job.entrant}, {job.samples} samples, {job.latency}: {last}", file=sys.stderr)
    return [Measured(**line) for line in lines]


def run_all(pythons: dict[str, Path], repeats: int, only: Sequence[str]) -> Runs:
    """All runs: first those that need the machine for themselves, then those that wait, side by side."""
    scenarios = [(latency, samples) for latency in (NONE, FIXED) for samples in SAMPLES]
    scenarios += [(latency, 64) for latency in RANDOM.values()]
    names = [name for name in only or ENTRANTS if ENTRANTS[name].package in pythons]
    jobs = [Job(name, latency, samples, range(repeats)) for latency, samples in scenarios for name in names]
    alone = [job for job in jobs if job.is_alone]
    together = [
        Job(job.entrant, job.latency, job.samples, range(seed, seed + 1))
        for job in sorted(jobs, key=lambda job: -job.samples * (1 + job.latency.stragglers * 100))
        if not job.is_alone
        for seed in job.seeds
    ]
    runs: Runs = defaultdict(list)

    def keep(job: Job) -> None:
        started = time.perf_counter()
        runs[job.entrant, job.latency, job.samples] += run(job, pythons[ENTRANTS[job.entrant].package])
        taken = time.perf_counter() - started
        print(f"{job.entrant}, {job.samples} samples, {to_query(job.latency)}: {taken:.0f} s", file=sys.stderr)

    for job in alone:
        keep(job)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(keep, together))
    return runs


def import_seconds(python: Path, statement: str) -> list[float]:
    """Processor seconds of fresh interpreters that import a package, the fastest first."""
    taken = []
    for _ in range(IMPORTS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([str(python), "-c", statement], check=True, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return sorted(taken)


def installed_megabytes(python: Path) -> float:
    """What a fresh environment's packages take, without pip and setuptools."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    said = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout
    ours = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
    folders = [entry for entry in Path(said.strip()).iterdir() if not entry.name.startswith(ours)]
    files = (file for entry in folders for file in ([entry] if entry.is_file() else entry.rglob("*")))
    return sum(file.lstat().st_size for file in files if not file.is_dir()) / 1e6


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, and minimum to maximum; a dash where there is nothing."""
    if not values:
        return "-"
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if low == high else f"{middle} ({low}-{high})"


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n**{title}**\n\n| | {' | '.join(head)} |\n|---|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def print_runs(runs: Runs) -> None:
    """Print what was measured under each latency."""
    names = [name for name in ENTRANTS if any(key[0] == name for key in runs)]

    def column(name: str, latency: Latency, samples: int, figure: Callable[[Measured], float], digits: int = 2) -> str:
        return spread([figure(one) for one in runs[name, latency, samples]], digits)

    table(
        "No latency: processor milliseconds a sample, and memory",
        [*(f"N={samples}" for samples in SAMPLES), "peak MB, N=256", "calls, N=256"],
        (
            [
                ENTRANTS[name].title,
                *(column(name, NONE, n, lambda one, n=n: 1000 * one.cpu / n) for n in SAMPLES),  # type: ignore[misc]
                column(name, NONE, SAMPLES[-1], lambda one: one.peak, 0),
                column(name, NONE, SAMPLES[-1], lambda one: one.calls, 0),
            ]
            for name in names
        ),
    )
    table(
        "200 ms a call: seconds, then their ratio to the critical path",
        [
            *(f"N={samples}" for samples in SAMPLES),
            *(f"ratio, N={n}" for n in SAMPLES),
            "calls, N=64",
            "in flight, N=64",
        ],
        (
            [
                ENTRANTS[name].title,
                *(column(name, FIXED, n, lambda one: one.wall) for n in SAMPLES),
                *(column(name, FIXED, n, lambda one: one.wall / (one.depth * FIXED.median)) for n in SAMPLES),
                column(name, FIXED, 64, lambda one: one.calls, 0),
                column(name, FIXED, 64, lambda one: one.most, 0),
            ]
            for name in names
        ),
    )
    table(
        "Random latencies of median 200 ms, N=64: seconds",
        [*RANDOM, "calls where 5 % take 20 s"],
        (
            [
                ENTRANTS[name].title,
                *(column(name, latency, 64, lambda one: one.wall, 1) for latency in RANDOM.values()),
                column(name, RANDOM["5 % take 20 s"], 64, lambda one: one.calls, 0),
            ]
            for name in names
        ),
    )


def print_packages(pythons: dict[str, Path]) -> None:
    """Print what installing and importing takes."""
    table(
        "Importing and installing",
        [f"processor seconds to import, of {IMPORTS}", "MB installed"],
        (
            [name, spread(import_seconds(python, PACKAGES[name].imports)), f"{installed_megabytes(python):.0f}"]
            for name, python in pythons.items()
        ),
    )


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", action="append", choices=ENTRANTS, default=[], help="may be given more than once")
    parser.add_argument("--venvs", type=Path, default=Path(tempfile.gettempdir()) / "metascale-field")
    parser.add_argument("--prepare", action="store_true", help="install, and do nothing else")
    options = parser.parse_args()
    needed = {ENTRANTS[name].package for name in options.only} or set(PACKAGES)
    pythons = prepare((name for name in PACKAGES if name in needed), options.venvs)
    if options.prepare:
        return
    busy = os.getloadavg()[0]
    runs = run_all(pythons, options.repeats, options.only)
    print(
        f"{os.cpu_count()} cores, load before {busy:.1f} and after {os.getloadavg()[0]:.1f}; {options.repeats} repeats:"
    )
    print(f"{options.repeats} repeats: median (minimum-maximum). SIMULATION of latencies; no language model is asked.")
    print_runs(runs)
    print_packages(pythons)


if __name__ == "__main__":
    main()
