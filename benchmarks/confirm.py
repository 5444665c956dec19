"""What a second look at the finalists is worth, at equal total calls. A SIMULATION of judges, not a language model.

    python -m benchmarks.confirm [RATINGS] [--tasks N]

A task is a stream of answers with a hidden quality and a judge with noise. Every answer costs two calls (answer, first
score), every second look one. `single` spends all calls on answers and takes the highest score, as the paper does;
`confirm` lets `choice.second_look` decide, exactly as the graph does when `max_calls` is the limit. `oracle` is the
best answer among those that `single` drew. Both see the same answers with the same first scores.

RATINGS is a JSONL file with repeated ratings from 1 to 10 of the same texts (`judge_scores`, `question_id`). It
calibrates the scenario `rated`: qualities spread as the texts of one question do, noise as the ratings of one text do,
at every level of quality, rounded to whole ratings. The scenario `recorded` simulates nothing: the texts of a question
are the answers, their recorded ratings the scores, and the ratings that no method saw the quality.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.policies.second_looks import Answer, Drawn, sample_and_confirm

CALLS = (16, 32, 64, 128, 256)
BATCH = 4
HELD_OUT = 2


Stream = Iterator[Answer]


def normal(rng: np.random.Generator, spread: float, noise: float) -> Stream:
    """Qualities and noise both normal, scores not rounded."""
    while True:
        quality = float(rng.normal(0.5, spread))
        own = np.random.default_rng(rng.integers(2**63))
        yield Answer(quality, lambda q=quality, own=own: float(own.normal(q, noise)))


def right_or_wrong(rng: np.random.Generator, share: float, gap: float, noise: float) -> Stream:
    """Answers that are right with the quality 1 or wrong with 0, whose scores are `gap` apart."""
    while True:
        quality = float(rng.random() < share)
        own = np.random.default_rng(rng.integers(2**63))
        middle = 0.5 + gap * (quality - 0.5)
        yield Answer(quality, lambda m=middle, own=own: float(np.clip(own.normal(m, noise), 0, 1)))


@dataclass(frozen=True)
class Ratings:
    """Repeated ratings from 1 to 10 of each question's texts, with their spread and noise."""

    texts: list[list[list[int]]]
    centres: list[float]
    spread: float
    noise: dict[int, float]


def read_ratings(path: Path) -> Ratings:
    """Repeated ratings by question; texts without exactly five are left out."""
    questions: dict[str, list[list[int]]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if len(row.get("judge_scores", [])) == 5:
            questions[row["question_id"]].append(row["judge_scores"])
    levels: dict[int, list[float]] = defaultdict(list)
    for texts in questions.values():
        for scores in texts:
            levels[round(float(np.mean(scores)))].append(float(np.var(scores, ddof=1)))
    within = float(np.mean([v for found in levels.values() for v in found]))
    means = [[float(np.mean(scores)) for scores in texts] for texts in questions.values()]
    between = float(np.mean([np.var(m, ddof=1) for m in means])) - within / 5
    rounding = 1 / 12
    noise = {k: math.sqrt(max(float(np.mean(v)) - rounding, 0.05)) for k, v in levels.items() if len(v) >= 20}
    return Ratings(list(questions.values()), [float(np.mean(m)) for m in means], math.sqrt(between), noise)


def rated(rng: np.random.Generator, ratings: Ratings) -> Stream:
    """Answers to one question as GPT-4 rated them: spread and noise of the recorded ratings, in whole ratings."""
    centre = float(rng.choice(ratings.centres))
    while True:
        level = float(np.clip(rng.normal(centre, ratings.spread), 1, 10))
        noise = ratings.noise[min(ratings.noise, key=lambda known: abs(known - level))]
        own = np.random.default_rng(rng.integers(2**63))
        yield Answer(_expected_rating(level, noise), partial(_rating, own, level, noise))


def _rating(own: np.random.Generator, level: float, noise: float) -> float:
    return float((np.clip(np.round(own.normal(level, noise)), 1, 10) - 1) / 9)


def _expected_rating(level: float, noise: float) -> float:
    """The mean of all ratings that such an answer could get: its quality, on [0, 1]."""
    below = [0.5 * math.erfc((level - edge) / (noise * math.sqrt(2))) for edge in np.arange(1.5, 10)]
    return sum(1 - share for share in below) / 9


def recorded(rng: np.random.Generator, ratings: Ratings) -> Stream:
    """The texts of one question in random order, with their ratings in random order, the last ones held out."""
    texts = ratings.texts[int(rng.integers(len(ratings.texts)))]
    for index in rng.permutation(len(texts)):
        scores = [(texts[index][i] - 1) / 9 for i in rng.permutation(5)]
        waiting = iter(scores[:-HELD_OUT])
        yield Answer(float(np.mean(scores[-HELD_OUT:])), lambda waiting=waiting: next(waiting, None))


def single(stream: Stream, calls: int) -> tuple[float, float]:
    """The quality of the answer with the highest single score, and of the best answer."""
    answers = list(islice(stream, calls // 2))
    for answer in answers:
        answer.look()
    return max(answers, key=lambda a: a.scores[0]).quality, max(a.quality for a in answers)


def confirm(stream: Stream, calls: int) -> tuple[float, int]:
    """The quality of the answer that is chosen after second looks, and how many looks there were."""

    def draw(size: int, left: int) -> Drawn:  # noqa: ARG001
        answers = list(islice(stream, size))
        for answer in answers:
            answer.look()
        return Drawn(answers)

    answer, looks = sample_and_confirm(draw, calls, BATCH)
    return answer.quality, looks


def scenario(name: str, ratings: Ratings | None, rng: np.random.Generator) -> Stream:
    """The answers of one task."""
    if name in {"rated", "recorded"}:
        assert ratings is not None
        return rated(rng, ratings) if name == "rated" else recorded(rng, ratings)
    return {
        "noisy": partial(normal, rng, 0.12, 0.15),
        "exact": partial(normal, rng, 0.12, 0.01),
        "right or wrong": partial(right_or_wrong, rng, 0.15, 0.3, 0.15),
    }[name]()


def play(name: str, ratings: Ratings | None, calls: int, seed: int) -> tuple[float, float, float, int]:
    """One task: single, confirm, oracle, looks."""
    alone, oracle = single(scenario(name, ratings, np.random.default_rng([seed, calls])), calls)
    chosen, looks = confirm(scenario(name, ratings, np.random.default_rng([seed, calls])), calls)
    return alone, chosen, oracle, looks


def measure(job: tuple[str, Ratings | None, int, int]) -> dict[str, Any]:
    """One row of the table."""
    name, ratings, calls, tasks = job
    results = np.array([play(name, ratings, calls, seed) for seed in range(tasks)])
    alone, chosen, oracle, looks = results.T
    gain, gap = chosen - alone, float((oracle - alone).mean())
    return {
        "scenario": name,
        "calls": calls,
        "single": float(alone.mean()),
        "confirm": float(chosen.mean()),
        "oracle": float(oracle.mean()),
        "gain": float(gain.mean()),
        "error": float(gain.std(ddof=1) / math.sqrt(tasks)),
        "closed": float(gain.mean()) / gap if gap > 0.005 else None,
        "looks": float(looks.mean()),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What a second look at the finalists is worth.")
    parser.add_argument("ratings", type=Path, nargs="?", help="JSONL of repeated ratings (judge_scores).")
    parser.add_argument("--tasks", type=int, default=1_000, help="Simulated tasks for each row.")
    given = parser.parse_args()
    ratings = read_ratings(given.ratings) if given.ratings else None
    names = [*(["rated", "recorded"] if ratings else []), "noisy", "exact", "right or wrong"]
    if ratings:
        print(f"recorded ratings: spread {ratings.spread:.2f}, noise by level {sorted(ratings.noise.items())}")
    largest = {"recorded": 32}
    jobs = [(name, ratings, calls, given.tasks) for name in names for calls in CALLS if calls <= largest.get(name, 256)]
    table = Table("scenario", "calls", "single", "confirm", "oracle", "gain (SE)", "gap closed", "looks")
    with ProcessPoolExecutor() as pool:
        for row in pool.map(measure, jobs):
            closed = "-" if row["closed"] is None else f"{100 * row['closed']:.0f} %"
            table.add_row(
                row["scenario"],
                str(row["calls"]),
                *(f"{row[key]:.3f}" for key in ("single", "confirm", "oracle")),
                f"{row['gain']:+.4f} ({row['error']:.4f})",
                closed,
                f"{row['looks']:.1f}",
            )
    print("SIMULATION: nothing here is a result about language models (`recorded` replays real ratings).")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
