"""A model file as `gguf:FILE` beside the same file on llama.cpp's own server: first answer, tokens per second, memory.

Both use the same build of llama.cpp, threads, slots and context. `gguf:` is asked through LangChain's client, as
metascale does; the bare server is a script of ten lines, asked with httpx. Each measurement starts new processes.

    python -m benchmarks.local_models MODEL.gguf --threads 1 --repeats 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil

PROMPT = "Write a long story about a fox and a stork who share one meal."
BARE = """
import json, sys, threading, xllamacpp
wanted = json.loads(sys.argv[1])
given = xllamacpp.CommonParams()
given.model.path, given.verbosity = wanted["path"], 0
given.n_parallel, given.n_ctx = wanted["slots"], wanted["slots"] * wanted["context"]
given.cpuparams.n_threads = given.cpuparams_batch.n_threads = wanted["threads"]
server = xllamacpp.Server(given)
print(server.listening_address, flush=True)
threading.Event().wait()
"""
OURS = """
import json, sys
from metascale.models import resolve_model
wanted = json.loads(sys.argv[1])
options = "&".join(f"{name}={wanted[name]}" for name in ("slots", "context", "threads"))
model = resolve_model(f"gguf:{wanted['path']}?{options}")
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    replies = model.batch([asked["prompt"]] * asked["count"], max_tokens=asked["tokens"])
    print(sum(reply.usage_metadata["output_tokens"] for reply in replies), flush=True)
"""


class Bare:
    """llama.cpp's server, and httpx as its client."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        """Start it, and wait until it has loaded the file."""
        self.process = _started(BARE, wanted)
        self.url = _line(self.process)

    def write(self, count: int, tokens: int) -> int:
        """Send `count` requests at once; returns the tokens of all replies."""

        def one(_: int) -> int:
            asked = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": tokens}
            told = httpx.post(f"{self.url}/v1/chat/completions", json=asked, timeout=None).json()
            return int(told["usage"]["completion_tokens"])

        with ThreadPoolExecutor(count) as pool:
            return sum(pool.map(one, range(count)))


class Ours:
    """`gguf:FILE` in a process of its own."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        """Start it, and wait until it has loaded the file."""
        self.process = _started(OURS, wanted)
        _line(self.process)

    def write(self, count: int, tokens: int) -> int:
        """As `Bare.write`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"prompt": PROMPT, "count": count, "tokens": tokens}) + "\n")
        self.process.stdin.flush()
        return int(_line(self.process))


def _started(code: str, wanted: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, json.dumps(wanted)]
    pipe, apart = subprocess.PIPE, True  # as the server of `gguf:` is, because Linux shares processors out by session
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=apart)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def measured(entrant: type[Bare | Ours], wanted: dict[str, Any], tokens: int) -> dict[str, float]:
    """Seconds to the loaded model and to the first answer, tokens per second, and the memory of all processes in MB."""
    begun = time.perf_counter()
    running = entrant(wanted)
    ready = time.perf_counter()
    running.write(1, 16)
    answered = time.perf_counter()
    found = {"loaded, s": ready - begun, "first answer, s": answered - begun}
    for count in dict.fromkeys((1, wanted["slots"])):
        started = time.perf_counter()
        written = running.write(count, tokens)
        found[f"tokens/s, {count} at once"] = written / (time.perf_counter() - started)
    process = psutil.Process(running.process.pid)
    found["memory, MB"] = sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 1e6
    running.process.kill()
    running.process.communicate()
    return found


def main() -> None:
    """Print a table of medians, with the lowest and the highest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--context", type=int, default=2_048)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    wanted = {"path": str(given.file), "slots": given.slots, "context": given.context, "threads": given.threads}
    entrants = {"llama.cpp's server": Bare, "gguf:": Ours}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in entrants}
    for _ in range(given.repeats):  # alternating, so that other work on the machine slows both
        for name, entrant in entrants.items():
            found[name].append(measured(entrant, wanted, given.tokens))
    kinds = list(found["gguf:"][0])
    print("|  |", " | ".join(kinds), "|")
    print("|---" * (1 + len(kinds)) + "|")
    for name, runs in found.items():
        cells = []
        for kind in kinds:
            values = sorted(run[kind] for run in runs)
            cells.append(f"{statistics.median(values):,.1f} ({values[0]:,.1f}-{values[-1]:,.1f})")
        print("|", name, "|", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
