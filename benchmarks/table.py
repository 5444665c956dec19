"""The table of methods: accuracy, calls, tokens, and the paired difference to self-consistency at as many calls.

    python -m benchmarks.table LOGS                                   from a benchmark's folder of Inspect logs
    python -m benchmarks.table LOGS --keep benchmarks/results/NAME.jsonl.gz
    python -m benchmarks.table benchmarks/results/NAME.jsonl.gz       the same table from the results that were kept
    python -m benchmarks.table A.jsonl.gz --beside B.jsonl.gz         compared with self-consistency in other results
    python -m benchmarks.table A.jsonl.gz --rival "metascale (preset=paper)"    compared with a method of the table
    python -m benchmarks.table --check docs/reference/NAME.md

A page shows a table below the line `<!-- table FILE -->` or `<!-- table FILE beside FILE -->`. `--check` makes every
table of a page again, and fails if a figure differs. Settings that all methods share stand above the table; "=" stands
after a difference that may be chance (`metascale.evals.statistics.PairedDifference`). Results that are kept hold one
row for each question, method and budget, with the answer's text, the pool, and what all samples concluded.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from metascale.data import read_rows
from metascale.errors import UnknownNameError
from metascale.evals.report.formats import NOTHING
from metascale.evals.report.labels import method_label
from metascale.evals.report.records import AnswerGiven, SampleRecord
from metascale.evals.report.tables import SEED, Row, base_of, summary
from metascale.evals.report.tables.cells import cells_of, question_means
from metascale.evals.statistics import Interval, paired_difference

BASELINE = "self_consistency"
AT_AS_MANY = "self-consistency at as many calls"
EVERYWHERE = "All methods: "
MARKER = re.compile(
    r"^<!-- table (\S+)(?: beside (\S+))? -->\n\n?((?:\|.*\n?|\*\*SIMULATION.*\n\n|All methods: .*\n\n)+)", re.MULTILINE
)
"""A table in a page, below the names of the files that it was made from."""
HEAD = (
    "| method | N | questions | % right (95 %) | calls | tokens read | tokens written | against {} (95 %) |\n"
    "|---|---|---|---|---|---|---|---|"
)
SIMULATION = "**SIMULATION: the offline model answered, so this says nothing about language models.**\n"
_KEPT = ("task", "method", "budget", "model", "simulated", "question_id", "epoch", "score", "usage", "reward", "winner")
_CALLS = 0.5
"""By how many calls a question self-consistency may be dearer. Not tuned."""


class MixedResultsError(ValueError):
    """Results of several tasks or models, which no table mixes."""


def read(paths: Sequence[Path]) -> list[AnswerGiven]:
    """The answers in Inspect logs, or folders of them, and in results that were kept.

    Raises:
        MetaScaleError: a file cannot be read.
    """
    kept = [path for path in paths if path.name.endswith((".jsonl", ".jsonl.gz"))]
    found = [_answer(row) for path in kept for row in read_rows(path, _KEPT)]
    logs = [path for path in paths if path not in kept]
    if logs:
        from metascale.evals.report.logs import read_logs  # noqa: PLC0415  it imports Inspect, which takes seconds

        found += read_logs(logs)
    return found


def keep(answers: Sequence[AnswerGiven], path: Path) -> None:
    """Write the answers to a compressed file; the same answers give the same bytes."""
    rows = sorted(map(_row, answers), key=lambda row: json.dumps([row[name] for name in _KEPT[:7]]))
    lines = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))


def table(answers: Sequence[AnswerGiven], beside: Sequence[AnswerGiven] = (), rival: str | None = None) -> str:
    """The table in Markdown: methods by budget, the best first.

    Args:
        answers: of the methods.
        beside: of self-consistency, where it was run apart.
        rival: a method's label in the table, to compare with at the same N; None for self-consistency. Not with
            `beside`.

    Raises:
        MixedResultsError: the answers are of several tasks or models, or what is beside them has no self-consistency,
            or other questions under the same names.
        UnknownNameError: no method has the rival's label.
    """
    rows, rivals = _of_one_setting(answers), _of_one_setting(beside) if beside else []
    if beside and not any(base_of(row.method) == BASELINE for row in rivals):
        raise MixedResultsError(f"the results to compare with have no {BASELINE}")
    texts = {answer.question_id: answer.question for answer in beside}
    asked = {answer.question_id: answer.question for answer in answers if answer.question}
    if any(texts.get(name, text) != text for name, text in asked.items()):
        raise MixedResultsError("the results to compare with have other questions under the same names")
    means = {(method, budget): question_means(cell) for (_, method, budget), cell in cells_of(answers)}
    rival_means = {(method, budget): question_means(cell) for (_, method, budget), cell in cells_of(beside or answers)}
    everywhere = _shared(rows)
    labels = {(row.method, row.budget): _label(row, everywhere) for row in rows}
    if rival is not None and rival not in labels.values():
        raise UnknownNameError("method in the table", rival, [*labels.values()])
    order = sorted(rows, key=lambda row: (row.budget, -(row.score or 0.0), row.method))
    lines = []
    for row in order:
        label = labels[row.method, row.budget]
        other = _rival(row, rivals or rows) if rival is None else _same_size(row, rows, labels, rival)
        against = NOTHING
        if other is not None:
            against = compared(means[row.method, row.budget], rival_means[other.method, other.budget])
            against += "" if against == NOTHING else f", N = {other.budget}"
        lines.append(_line(row, label, against))
    above = (
        f"{EVERYWHERE}{', '.join(f'`{name}={text}`' for name, text in everywhere.items())}.\n\n" if everywhere else ""
    )
    is_simulated = any(row.setting.simulated for row in (*rows, *rivals))
    return (
        (f"{SIMULATION}\n" if is_simulated else "")
        + above
        + "\n".join([HEAD.format(rival or AT_AS_MANY), *lines])
        + "\n"
    )


def wrong_lines(page: Path, top: Path) -> list[str]:
    """The lines of a page's tables that differ from what the kept results say, each with what it should be.

    Args:
        page: a page in Markdown.
        top: the folder that the names of results start from.

    Raises:
        MetaScaleError: results cannot be read.
    """
    return list(_wrong(page.read_text(encoding="utf-8"), top))


def beside(scores: dict[str, float], results: Sequence[AnswerGiven]) -> list[str]:
    """How scores compare with those of other methods on the same questions, a line for each method and budget.

    Args:
        scores: by question, each in [0, 1].
        results: of the other methods.

    Raises:
        MixedResultsError: they are of several tasks or models, or of no such question.
    """
    lines = []
    cells = cells_of(results)
    if len({setting for (setting, _, _), _ in cells}) > 1:
        raise MixedResultsError("results of several tasks or models cannot be told apart beside others")
    for (_, method, budget), cell in cells:
        others = question_means(cell)
        common = [question for question in scores if question in others]
        if common:
            right = sum(others[question] for question in common)
            difference = compared(scores, others)
            lines.append(f"{method} @ {budget}: {right:.0f} of {len(common)} right; these {difference}")
    if not lines:
        raise MixedResultsError("no question is in both results")
    return lines


def _of_one_setting(answers: Sequence[AnswerGiven]) -> list[Row]:
    rows = summary(answers)
    settings = {row.setting for row in rows}
    if len(settings) != 1:
        named = "; ".join(sorted(f"{setting.task}, {setting.model}" for setting in settings))
        raise MixedResultsError(f"a table is of one task and one model, and these are of {named or 'none'}")
    return rows


def _shared(rows: Sequence[Row]) -> dict[str, str]:
    """The settings in the labels of all rows, of which there are several; those of a preset are not among them."""
    first, *others = [dict(row.changes) for row in rows]
    common = {name: text for name, text in first.items() if all(one.get(name) == text for one in others)}
    return {name: text for name, text in common.items() if others and f"{name}={text}" in rows[0].method}


def _label(row: Row, everywhere: Mapping[str, str]) -> str:
    label = row.method
    for name, text in everywhere.items():
        label = label.replace(f", {name}={text}", "").replace(f"({name}={text}, ", "(").replace(f" ({name}={text})", "")
    return label


def _wrong(text: str, top: Path) -> Iterator[str]:
    found = list(MARKER.finditer(text))
    if len(found) != text.count("<!-- table "):
        yield "a marker has no table below it"
    for match in found:
        others = read([top / match[2]]) if match[2] else []
        printed, made = match[3].strip().splitlines(), table(read([top / match[1]]), others).strip().splitlines()
        for shown, right in zip_longest(printed, made, fillvalue=""):
            if shown != right:
                yield f"{match[1]}: {shown!r} should be {right!r}"


def _rival(row: Row, rows: Sequence[Row]) -> Row | None:
    """Self-consistency at as many calls: the largest that is no dearer, else the cheapest; None beside itself."""
    known = sorted(
        (one for one in rows if base_of(one.method) == BASELINE and one.calls is not None), key=lambda one: one.budget
    )
    if row.calls is None or not known or base_of(row.method) == BASELINE:
        return None
    affordable = [one for one in known if (one.calls or 0.0) <= row.calls + _CALLS]
    return affordable[-1] if affordable else known[0]


def _same_size(row: Row, rows: Sequence[Row], labels: Mapping[tuple[str, int], str], rival: str) -> Row | None:
    """The rival at the same N; None beside itself."""
    same = [one for one in rows if labels[one.method, one.budget] == rival and one.budget == row.budget]
    return same[0] if same and same[0].method != row.method else None


def _line(row: Row, label: str, against: str) -> str:
    answered = f"{row.answered:,}" if not row.failed + row.unanswered else f"{row.answered:,} of {row.questions:,}"
    right = NOTHING if row.score is None else f"{100 * row.score:.1f} ({_span(row.interval, '.1f')})"
    costs = [
        NOTHING if cost is None else f"{cost:,.{decimals}f}"
        for cost, decimals in ((row.calls, 1), (row.input_tokens, 0), (row.output_tokens, 0))
    ]
    return f"| {' | '.join([f'`{label}`', str(row.budget), answered, right, *costs, against])} |"


def compared(own: Mapping[str, float], others: Mapping[str, float]) -> str:
    """The paired difference of two methods in points on the questions that both have, with its interval.

    Args:
        own: the first method's score of each question, in [0, 1].
        others: the second's.
    """
    common = sorted(own.keys() & others.keys())
    if not common:
        return NOTHING
    first, second = [own[name] for name in common], [others[name] for name in common]
    difference = paired_difference(first, second, seed=SEED, is_binary={*first, *second} <= {0.0, 1.0})
    may_be_chance = "" if difference.is_decided else " ="
    return f"{100 * difference.mean:+.1f} ({_span(difference.interval, '+.1f')}){may_be_chance}"


def _span(interval: Interval | None, form: str) -> str:
    return NOTHING if interval is None else f"{100 * interval.low:{form}} to {100 * interval.high:{form}}"


def _row(answer: AnswerGiven) -> dict[str, Any]:
    told = {name: getattr(answer, name) for name in (*_KEPT, "question", "gold", "text", "problem", "ended")}
    told |= {"changes": dict(answer.changes), "conditions": dict(answer.conditions)}
    pool = {"pool": [*answer.pool]} if answer.pool else {}
    return {**told, **pool, "samples": [vars(sample) for sample in answer.samples]}


def _answer(row: dict[str, Any]) -> AnswerGiven:
    method = method_label(base_of(row["method"]), row["changes"])
    return AnswerGiven(**{**row, "method": method, "samples": [SampleRecord(**sample) for sample in row["samples"]]})


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or check pages; the exit code is 1 if a figure differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+", help="logs, kept results, or pages with --check")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="also write the results, as .jsonl.gz")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--beside", type=Path, metavar="FILE", help="kept results of self-consistency to compare with")
    other.add_argument("--rival", metavar="LABEL", help="a method of the table to compare with at the same N")
    parser.add_argument("--check", action="store_true", help="make the tables of pages again")
    given = parser.parse_args(arguments)
    if given.check:
        wrong = [line for page in given.paths for line in wrong_lines(page, Path.cwd())]
        print("\n".join(wrong) or "every figure is as the results say", file=sys.stderr)
        return 1 if wrong else 0
    answers = read(given.paths)
    if given.keep:
        keep(answers, given.keep)
    print(table(answers, read([given.beside]) if given.beside else (), given.rival))
    return 0


if __name__ == "__main__":
    sys.exit(main())
