"""What ending unsure answers early saves and costs, on recorded answers with their token probabilities.

Answers to a question are drawn without replacement, in rounds, and voted on: all of them, and those that the rule of
`metascale.budget.ending_early` would have read to their end. The tokens are those that would have been read.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metascale.answers import extract
from metascale.budget.ending_early import FIRST
from metascale.models.probabilities import LEAST, WINDOW

ROUND = 4
"""Samples of a round: the default of `batch_size`."""


@dataclass(frozen=True)
class Answer:
    """A recorded answer: its mark, whether that is right, its length, and the mean of every window of tokens."""

    mark: str | None
    is_right: bool
    tokens: int
    windows: NDArray[np.float64]


def read(path: Path) -> dict[str, list[Answer]]:
    """The answers to each question in a file of recordings, which may be compressed."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    found: dict[str, list[Answer]] = defaultdict(list)
    for row in map(json.loads, text.splitlines()):
        if "logprobs" in row:
            mark = extract(row["text"])
            gold = extract(f"The answer is {row['gold']}.")
            found[row["question_id"]].append(Answer(mark, mark == gold, len(row["logprobs"]), means(row["logprobs"])))
    return found


def means(logprobs: Sequence[float]) -> NDArray[np.float64]:
    """The mean of every window of tokens; of all tokens where there are fewer."""
    sums = np.concatenate([[0.0], np.cumsum(np.maximum(logprobs, LEAST))])
    length = min(WINDOW, len(logprobs))
    windows: NDArray[np.float64] = (sums[length:] - sums[:-length]) / length
    return windows


def majority(answers: Sequence[Answer]) -> float:
    """The probability that the most frequent mark is right; ties are broken at random."""
    counts = Counter(answer.mark for answer in answers if answer.mark is not None)
    right = {answer.mark for answer in answers if answer.is_right}
    winners = [mark for mark, count in counts.items() if count == max(counts.values())]
    return float(np.mean([mark in right for mark in winners])) if winners else 0.0


def trial(answers: Sequence[Answer], first: int, share: float) -> tuple[float, ...]:
    """One vote: accuracy with and without the rule, tokens with and without, answers ended, and right ones of them."""
    kept: list[Answer] = []
    ended: list[Answer] = []
    lowest: list[float] = []
    tokens = 0
    for start in range(0, len(answers), ROUND):
        floor = float(np.quantile(lowest, share)) if len(lowest) >= first else -np.inf
        for answer in answers[start : start + ROUND]:
            below = np.flatnonzero(answer.windows < floor) if answer.tokens > WINDOW else []
            if len(below):
                ended.append(answer)
                tokens += WINDOW + int(below[0])
                lowest.append(float(answer.windows[: below[0] + 1].min()))
            else:
                kept.append(answer)
                tokens += answer.tokens
                lowest.append(float(answer.windows.min()))
    right = sum(answer.is_right for answer in ended)
    return majority(kept), majority(answers), tokens, sum(a.tokens for a in answers), len(ended), right


def main() -> None:
    """Print a table of rules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=100)
    chosen = parser.parse_args()
    questions = read(chosen.file)
    rng = np.random.default_rng(0)
    print(f"majority of {chosen.samples}, {len(questions)} questions, {chosen.repeats} draws each; standard errors")
    print("| read to their end | floor: quantile | accuracy | lost | tokens saved | ended | right among them |")
    print("|---|---|---|---|---|---|---|")
    for first in (FIRST // 2, FIRST):
        for share in (0.1, 0.25, 0.5, 0.75):
            rows = []
            for answers in questions.values():
                drawn = [rng.choice(len(answers), chosen.samples, replace=False) for _ in range(chosen.repeats)]
                rows.append(np.mean([trial([answers[i] for i in one], first, share) for one in drawn], axis=0))
            found = np.array(rows)
            lost = found[:, 1] - found[:, 0]
            error = lost.std(ddof=1) / np.sqrt(len(lost))
            total = found.sum(axis=0)
            print(
                f"| {first} | {share} | {found[:, 0].mean():.3f} | {100 * lost.mean():.1f} ({100 * error:.1f}) points "
                f"| {1 - total[2] / total[3]:.0%} | {found[:, 4].mean():.1f} | {total[5] / max(total[4], 1):.2f} |"
            )


if __name__ == "__main__":
    main()
