"""What answers are worth by where their meta-thought came from: fixed, composed for the question, or bred.

    python -m benchmarks.arm_kinds benchmarks/results/NAME.jsonl.gz
    python -m benchmarks.arm_kinds LOGS

It reads what `benchmarks.table` reads, and counts every sample of runs that kept their pool.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.table import compared, read
from metascale.errors import MetaScaleError
from metascale.evals.report.formats import NOTHING
from metascale.evals.report.records import AnswerGiven
from metascale.evals.report.tables import SEED
from metascale.evals.report.tables.arms import kind_of
from metascale.evals.statistics import mean_interval

BASELINE = "chain_of_thought"
HEAD = f"| meta-thought | answers | questions | right, % (95 %) | against `{BASELINE}` (95 %) |\n|---|---|---|---|---|"

Rights = Mapping[str, Sequence[bool]]
"""For each question, which of its answers are right."""


def rights_by_kind(answers: Sequence[AnswerGiven]) -> dict[str, Rights]:
    """Which answers are right, by the id of a fixed meta-thought or the origin of another one.

    Samples that cannot be told right or wrong are left out.
    """
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        kinds = {thought["id"]: kind_of(thought) for thought in answer.pool}
        for sample in answer.samples:
            if sample.right is not None and sample.meta_thought in kinds:
                found[kinds[sample.meta_thought]][answer.question_id].append(sample.right)
    return dict(found)


def table(kinds: Mapping[str, Rights]) -> str:
    """The table in Markdown. Every question counts once; intervals are bootstraps over questions."""
    lines = []
    baseline = _shares(kinds.get(BASELINE, {}))
    for kind, rights in sorted(kinds.items(), key=lambda item: item[0] != BASELINE):
        shares = _shares(rights)
        interval = mean_interval([*shares.values()], seed=SEED)
        right = f"{100 * fmean(shares.values()):.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
        count = sum(map(len, rights.values()))
        against = NOTHING if kind == BASELINE else compared(shares, baseline)
        lines.append(f"| `{kind}` | {count:,} | {len(shares)} | {right} | {against} |")
    return "\n".join([HEAD, *lines])


def _shares(rights: Rights) -> dict[str, float]:
    return {question: fmean(values) for question, values in rights.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit code is 1 if a file cannot be read, or nothing in it can be counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+", help="logs, or results that were kept")
    given = parser.parse_args(arguments)
    try:
        kinds = rights_by_kind(read(given.paths))
    except MetaScaleError as error:
        print(error, file=sys.stderr)
        return 1
    if not kinds:
        print("no run kept its pool and samples that are known to be right or wrong", file=sys.stderr)
        return 1
    print(table(kinds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
