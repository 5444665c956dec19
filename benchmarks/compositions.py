"""What a model composes or breeds: how many meta-thoughts are its own and differ, and how many are about the task.

    python -m benchmarks.compositions benchmarks/results/compositions*.jsonl benchmarks/results/evolutions*.jsonl

A file has rows like those of `benchmarks.recordings.record --stage compose`, of questions in GSM8K's test set.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.recordings.rows import Row
from metascale.data import gsm8k, read_rows
from metascale.errors import MetaScaleError

HEAD = """\
| | questions | its own | mindsets | "You are" | name | number | requests | tokens |
|---|---|---|---|---|---|---|---|---|"""
NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")
"""A capitalised word within a sentence."""
NUMBER = re.compile(r"\d+")
OWN = ("self_composed", "evolved")
"""Origins of meta-thoughts that the model wrote for the question."""


@dataclass(frozen=True)
class Composed:
    """What was composed for some questions.

    Attributes:
        questions: how many.
        own: meta-thoughts of the model's own for a question, the mean.
        mindsets: different mindsets among them, the mean.
        addressed: the share of mindsets that begin with "You are".
        named: the share of mindsets with a name from the task.
        numbered: the share of strategies with a number from the task.
        calls: requests for a question, the mean.
        tokens: tokens written for a question, the mean.
    """

    questions: int
    own: float
    mindsets: float
    addressed: float
    named: float
    numbered: float
    calls: float
    tokens: float


def count(rows: Sequence[Row]) -> Composed:
    """Count what the rows hold, at least one.

    Raises:
        KeyError: a question is not of GSM8K's test set, or a row lacks a key.
    """
    texts = {question["question_id"]: question["question"] for question in gsm8k()}
    own = [(texts[row["question_id"]], [t for t in row["meta_thoughts"] if t["origin"] in OWN]) for row in rows]
    every = [(text, thought) for text, thoughts in own for thought in thoughts]
    return Composed(
        questions=len(rows),
        own=len(every) / len(rows),
        mindsets=sum(len({thought["mindset"] for thought in thoughts}) for _, thoughts in own) / len(rows),
        addressed=_share(thought["mindset"].startswith("You are") for _, thought in every),
        named=_share(not _words(NAME, text).isdisjoint(_words(NAME, f"a {t['mindset']}")) for text, t in every),
        numbered=_share(not _words(NUMBER, text).isdisjoint(_words(NUMBER, t["strategy"])) for text, t in every),
        calls=sum(row["calls"] for row in rows) / len(rows),
        tokens=sum(row["tokens"] for row in rows) / len(rows),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row of a table for each file; the exit code is 1 if a file cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    given = parser.parse_args(arguments)
    print(HEAD)
    for file in given.files:
        try:
            found = count(read_rows(file, ("question_id", "meta_thoughts", "calls", "tokens")))
        except (MetaScaleError, KeyError) as error:
            print(f"{file}: {error}", file=sys.stderr)
            return 1
        shares = " | ".join(f"{100 * share:.0f} %" for share in (found.addressed, found.named, found.numbered))
        print(
            f"| {file.name.partition('.')[0]} | {found.questions} | {found.own:.1f} | {found.mindsets:.1f} | {shares} "
            f"| {found.calls:.1f} | {found.tokens:,.0f} |"
        )
    return 0


def _share(found: Iterable[bool]) -> float:
    values = list(found)
    return sum(values) / len(values) if values else 0.0


def _words(kind: re.Pattern[str], text: str) -> set[str]:
    return set(kind.findall(text))


if __name__ == "__main__":
    sys.exit(main())
