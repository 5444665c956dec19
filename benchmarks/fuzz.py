"""Fuzz every parser of model output: no error but the documented one, no reading that takes long, no impossible result.

Inputs grow from realistic replies by what models and servers get wrong (`benchmarks.fuzz_replies`); one with an outcome
that its parser did not have before is kept and goes wrong further. The parsers, and what must hold of what they read,
are in `benchmarks.fuzz_parsers`. Inputs that fail are shrunk and printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import signal
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from benchmarks.fuzz_parsers import PARSERS, Check
from benchmarks.fuzz_replies import mutate, seeds

SECONDS, SECONDS_A_CHARACTER = 1.0, 20e-6
"""Limit of processor time per input: a constant and a rate per character. It is several times what the slowest parser
needs, and far below quadratic time."""
SHRINKING = 60.0
"""Seconds that a failing input is shrunk for."""
KEPT = 2_000
"""Characters up to which an input with a new outcome is kept: large ones would make all the others slow."""


class TooSlowError(BaseException):
    """An input took longer than it may; no `except Exception` catches it."""


@dataclass
class Tally:
    """What became of one parser's inputs.

    Attributes:
        runs: inputs read.
        characters: of all of them.
        outcomes: how often which came out.
        slowest: the longest processor time of one, in seconds.
        failures: the first failing input, by how it failed.
    """

    runs: int = 0
    characters: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, text: str, outcome: str, failure: str | None, seconds: float) -> bool:
        """Count an input; returns whether its outcome is new."""
        self.runs += 1
        self.characters += len(text)
        self.outcomes[outcome] += 1
        self.slowest = max(self.slowest, seconds)
        if failure is not None:
            self.failures.setdefault(failure, text)
        return failure is None and self.outcomes[outcome] == 1


def read(check: Check, text: str) -> tuple[str, str | None, float]:
    """Parse one input: returns the outcome, the failure or None, and the processor time in seconds."""
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS + SECONDS_A_CHARACTER * len(text))
    started = time.process_time()
    try:
        outcome, failure = check(text), None
    except TooSlowError:
        outcome, failure = "", "takes too long"
    except Exception as error:  # noqa: BLE001  finding one is what this is for
        last = traceback.extract_tb(error.__traceback__)[-1]
        outcome, failure = "", f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}: {error}"[:200]
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return outcome, failure, time.process_time() - started


def _too_slow(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise TooSlowError


def shrink(check: Check, text: str, failure: str) -> str:
    """A shorter input that fails at the same place, by leaving out ever smaller stretches."""
    deadline = time.monotonic() + SHRINKING
    step = max(1, len(text) // 2)
    while step and time.monotonic() < deadline:
        start = 0
        while start < len(text) and time.monotonic() < deadline:
            shorter = text[:start] + text[start + step :]
            found = read(check, shorter)[1]
            if found is not None and found.split(": ")[0] == failure.split(": ", maxsplit=1)[0]:
                text = shorter
            else:
                start += step
        step //= 2
    return text


def fuzz(names: list[str], seconds: float, seed: int) -> dict[str, Tally]:
    """Parse inputs for a number of seconds, with all parsers in turn."""
    draw = random.Random(seed)
    tallies = {name: Tally() for name in names}
    corpora = {name: seeds() for name in names}
    for name in names:
        for text in corpora[name]:
            tallies[name].add(text, *read(PARSERS[name], text))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for name in names:
            corpus = corpora[name]
            text = mutate(draw.choice(corpus), corpus, draw)
            if tallies[name].add(text, *read(PARSERS[name], text)) and len(text) <= KEPT:
                corpus.append(text)
    return tallies


def main() -> int:
    """Fuzz, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="of the mutations; another seed reads other inputs")
    parser.add_argument("--only", choices=sorted(PARSERS), action="append", help="some parsers alone")
    options = parser.parse_args()
    signal.signal(signal.SIGVTALRM, _too_slow)
    tallies = fuzz(options.only or list(PARSERS), 60 * options.minutes, options.seed)

    table = Table("parser", "inputs", "characters", "outcomes", "slowest, ms", "failures")
    for name, tally in tallies.items():
        cells = (f"{tally.runs:,}", f"{tally.characters:,}", len(tally.outcomes), round(1_000 * tally.slowest))
        table.add_row(name, *map(str, cells), str(len(tally.failures)))
    console = Console(width=110)
    console.print(table)
    console.print(f"{sum(tally.runs for tally in tallies.values()):,} inputs, seed {options.seed}")
    failed = [(name, *failure) for name, tally in tallies.items() for failure in tally.failures.items()]
    for name, failure, text in failed:
        shortest = shrink(PARSERS[name], text, failure)
        print(f"\n{name}: {failure!a}\n  on {len(shortest):,} characters: {shortest[:300]!a}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
