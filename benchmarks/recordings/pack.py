"""Compresses a recording for the repository: one file a stage, with P(True) in the rows of the samples.

    python -m benchmarks.recordings.pack FOLDER OUT

The same recording gives the same bytes, in whatever order its rows came.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.recordings.record import Recording
from benchmarks.recordings.rows import Row, Rows, RowsError


def with_p_true(samples: Rows, p_true: Rows) -> list[Row]:
    """The samples, those that were asked about with their `yes`."""
    asked = [(row, p_true.get(row["question_id"], row["arm"], row["sample"])) for row in samples]
    return [row if found is None else {**row, "yes": found["yes"]} for row, found in asked]


def write(path: Path, rows: Iterable[Row]) -> int:
    """Write rows in the order of their keys; no file if there are none. Returns how many there are."""
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in sorted(rows, key=_place)]
    if lines:
        path.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    return len(lines)


def _place(row: Row) -> tuple[str | int, ...]:
    name, _, number = row["question_id"].rpartition("/")
    question = (name, int(number), "") if number.isdecimal() else (name, -1, number)
    return (*question, row.get("arm", ""), row.get("sample", 0), row.get("repeat", 0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, and say how many rows each has; the exit code is 1 if there is no such recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    try:
        recording = Recording(given.folder)
        given.out.mkdir(parents=True, exist_ok=True)
        shutil.copy(given.folder / "about.json", given.out / "about.json")
    except (OSError, RowsError) as error:
        print(error, file=sys.stderr)
        return 1
    parts: dict[str, Iterable[Row]] = {
        "samples": with_p_true(recording.samples, recording.p_true),
        "composed": with_p_true(recording.composed, recording.p_true),
        "verdicts": recording.verdicts,
        "bare_verdicts": recording.bare_verdicts,
        "meta_thoughts": recording.meta_thoughts,
    }
    for name, rows in parts.items():
        print(f"{name}: {write(given.out / f'{name}.jsonl.gz', rows):,} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
