"""Kills `metascale batch` (SIGKILL) at random moments, starts it again each time, and counts what was paid twice.

The offline model answers behind a loopback server that counts its requests: a SIMULATION of a model, a real journal
and real kills. A request that the server answered just before a kill may be unread: then it is paid twice, as those in
flight are.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import print_simulated
from metascale.data import gsm8k
from tests.openai_server import OpenAIServer, serving
from tests.waiting import wait_until


@dataclass
class Figures:
    """What was counted.

    Attributes:
        kills: processes that were killed.
        in_flight: for every kill, the requests that the server was working on.
        served: requests that were answered.
        billed: requests in the bills of all rows.
        samples: in the bills of all rows.
        questions: answered questions, by how often they are in the answers.
        seconds: of wall time.
        megabytes: of memory, the largest process.
        journal: megabytes of the journal.
    """

    kills: int = 0
    in_flight: list[int] = field(default_factory=list)
    served: int = 0
    billed: int = 0
    samples: int = 0
    questions: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    megabytes: float = 0.0
    journal: float = 0.0


def measure(folder: Path, *, questions: int, kills: int, latency: float, each: int, seed: int) -> Figures:
    """Kill and start a batch until it was killed often enough, then let it end.

    Args:
        folder: for the questions, the answers and the journal.
        questions: how many.
        kills: number of kills; fewer if the batch ends before.
        latency: of the model's server, in seconds per request.
        each: samples of a question on average, shared by all.
        seed: of the moments of the kills.

    Raises:
        RuntimeError: the batch did not end well.
    """
    generator = random.Random(seed)
    found, started = Figures(), time.monotonic()
    file, out = folder / "questions.jsonl", folder / "answers.jsonl"
    rows = [{"id": f"q{place}", "question": row["question"]} for place, row in enumerate(gsm8k()[:questions])]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with serving(OpenAIServer(latency=latency)) as server:
        command = [sys.executable, "-m", "metascale.cli", "batch", str(file), "--out", str(out)]
        command += ["--model", "openai:loopback", "--base-url", server.url, "--seed", "1", "--quiet"]
        command += ["--budget-total", str(each * questions), "--set", "pool_size=3", "--set", "confirm=0"]
        expected = questions * (2 * each + 1)
        while found.kills < kills:
            before, after = len(server.served), generator.randint(1, max(1, 2 * expected // (kills + 1)))
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
                try:
                    while process.poll() is None and len(server.served) < before + after:
                        time.sleep(0.01)
                    has_ended = process.poll() is not None
                finally:
                    process.kill()
                in_flight = server.working
            if has_ended:
                break
            found.in_flight.append(in_flight)
            found.kills += 1
            wait_until(lambda: server.working == 0)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        found.served = len(server.served)
    answers = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    found.billed, found.samples = sum(row["calls"] for row in answers), sum(row["samples"] for row in answers)
    found.questions = Counter(Counter(row["id"] for row in answers if row["answer"]).values())
    found.seconds = time.monotonic() - started
    found.megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    found.journal = sum(path.stat().st_size for path in Path(f"{out}.journal").iterdir()) / 2**20
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=1_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds a call")
    parser.add_argument("--each", type=int, default=6, help="samples of a question on average")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            Path(folder),
            questions=options.questions,
            kills=options.kills,
            latency=options.latency,
            each=options.each,
            seed=options.seed,
        )
    print_simulated(
        {
            "kills": found.kills,
            "requests in flight at the kills": sum(found.in_flight),
            "requests that were answered": found.served,
            "requests in the bills": found.billed,
            "requests paid twice": found.served - found.billed,
            "samples in the bills": found.samples,
            "questions by how often they are answered": dict(found.questions),
            "wall time in seconds": round(found.seconds),
            "memory of the largest process in MB": round(found.megabytes),
            "journal in MB": round(found.journal),
        }
    )


if __name__ == "__main__":
    main()
