"""Kills a whole benchmark (SIGKILL) at random moments, starts it again each time, and counts what was paid twice.

The offline model answers behind a loopback server that counts its requests: a SIMULATION of a model, with real logs of
Inspect, a real journal and real kills. A request that the server answered just before a kill may be unread: then it is
paid twice, as those in flight are.
"""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from inspect_ai.log import list_eval_logs, read_eval_log

from benchmarks.figures import print_simulated
from tests.bench_process import BenchProcess, Ended, bench
from tests.openai_server import OpenAIServer, serving
from tests.waiting import wait_until

METHODS = ("direct", "best_of_n", "self_consistency", "self_discover_best_of_n", "mrp", "metascale")


@dataclass
class Figures:
    """What was counted.

    Attributes:
        kills: processes that were killed.
        in_flight: for every kill, the requests that the server was working on.
        served: requests that were answered.
        billed: requests in the bills of all runs.
        afresh: requests of one more run of the command with the journal, but without Inspect's logs.
        questions: answered questions, by how often they are in the final logs.
        seconds: of wall time.
    """

    kills: int = 0
    in_flight: list[int] = field(default_factory=list)
    served: int = 0
    billed: int = 0
    afresh: int = 0
    questions: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0


def measure(folder: Path, *, kills: int, questions: int, latency: float, seed: int) -> Figures:
    """Kill and start a benchmark until it was killed often enough, then let it end.

    Args:
        folder: where logs and journal are.
        kills: number of kills; fewer if the benchmark ends before.
        questions: questions of each method.
        latency: latency of the model's server, in seconds per request.
        seed: seed of the moments: a kill comes at a random time after a random number of further requests.

    Raises:
        RuntimeError: the benchmark did not end well.
    """
    generator = random.Random(seed)
    found, started = Figures(), time.monotonic()
    with serving(OpenAIServer(latency=latency)) as server:
        options = ["--model", "openai:local", "--base-url", server.url, "--budget", "4", "--limit", str(questions)]
        options += [part for method in METHODS for part in ("--method", method)]
        expected = questions * len(METHODS) * 6
        while found.kills < kills:
            process, after = BenchProcess(folder, *options), generator.randint(1, max(1, expected // (2 * kills)))
            before = len(server.served)
            wait_until(lambda p=process, n=before + after: p.poll() is not None or len(server.served) >= n)  # type: ignore[misc]
            if process.poll() is not None:
                break
            time.sleep(generator.uniform(0, latency))
            process.send_signal(signal.SIGKILL)
            found.in_flight.append(server.working)
            found.kills += process.end().code == -signal.SIGKILL
            wait_until(lambda: server.working == 0)
        _check(bench(folder, *options))
        found.served = len(server.served)
        answers: Counter[tuple[str, str]] = Counter()
        for info in list_eval_logs(str(folder / "logs")):
            log = read_eval_log(info)
            if log.status != "success":
                continue
            for sample in log.samples or []:
                answers[log.plan.steps[0].solver, str(sample.id)] += 1
                found.billed += sample.store["metascale"]["usage"]["calls"]
        found.questions = Counter(answers.values())
        for path in (folder / "logs").glob("*.eval"):
            path.unlink()
        _check(bench(folder, *options))
        found.afresh = len(server.served) - found.served
    found.seconds = time.monotonic() - started
    return found


def _check(ended: Ended) -> None:
    if ended.code != 0:
        raise RuntimeError(ended.said)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--questions", type=int, default=6, help="of each method")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds a call")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            Path(folder),
            kills=options.kills,
            questions=options.questions,
            latency=options.latency,
            seed=options.seed,
        )
    print_simulated(
        {
            "kills": found.kills,
            "requests in flight at the kills": sum(found.in_flight),
            "requests that were answered": found.served,
            "requests in the bills": found.billed,
            "requests paid twice": found.served - found.billed,
            "requests of the command without Inspect's logs": found.afresh,
            "questions by how often they are answered": dict(found.questions),
            "wall time in seconds": round(found.seconds),
        }
    )


if __name__ == "__main__":
    main()
