"""What evolution is worth at equal total calls, and what its gate saves. A SIMULATION, not a language model.

    python -m benchmarks.evolution [--tasks N]

A task has eight meta-thoughts. Answers under one have a quality that is normal around its mean; a judge adds its noise.
The mean of a child is that of its better parent, plus `delta`, plus `sigma` times a standard normal; its spread is that
parent's. An answer costs two calls (answer and score), an evolution one. `off` never evolves, `always` breeds two
children of the arms of highest UCB every two rounds, as the paper does, and `gated` lets `metascale.evolution` decide,
exactly as the graph does. All three see the same answers of the first eight arms. Reported is the true quality of the
answer with the highest score.
"""

from __future__ import annotations

import argparse
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from metascale.bandits import UCB, Policy
from metascale.budget import evolution_due
from metascale.evolution import by_front, by_ucb, retirable, room
from metascale.pool import Member
from metascale.settings import MetaScaleSettings

Way = Literal["off", "always", "gated"]

SCENARIOS = ((0.0, 0.08), (0.05, 0.08), (-0.05, 0.03), (-0.1, 0.03))
SAMPLES = (32, 64, 128)
JUDGE_NOISE = 0.081


@dataclass
class Landscape:
    """The meta-thoughts of a task: their true means and spreads, and the source of each one's answers."""

    seed: int
    means: list[float] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)
    sources: list[np.random.Generator] = field(default_factory=list)

    def add(self, mean: float, spread: float) -> None:
        """Add a meta-thought."""
        self.sources.append(np.random.default_rng([self.seed, len(self.means)]))
        self.means.append(mean)
        self.spreads.append(spread)

    def draw(self, arm: int) -> tuple[float, float]:
        """The quality and the score of one answer."""
        quality = float(np.clip(self.sources[arm].normal(self.means[arm], self.spreads[arm]), 0.0, 1.0))
        return quality, float(np.clip(quality + self.sources[arm].normal(0.0, JUDGE_NOISE), 0.0, 1.0))


def simulate(
    way: Way, samples: int, delta: float, sigma: float, seed: int, *, policy: Policy | None = None
) -> tuple[float, int]:
    """One task.

    Args:
        way: the setting `evolution`.
        samples: what a run without evolution draws, each with its score.
        delta: a child's expected advantage over its better parent.
        sigma: standard deviation of that advantage over children.
        seed: of the task; the same for all ways.
        policy: chooses the pulls; UCB by default.

    Returns:
        The true quality of the answer with the highest score, and the children that were bred.
    """
    settings = MetaScaleSettings(budget=samples, evolution=way, operators="combine")
    bandit = policy or UCB(settings.beta)
    first, rng = np.random.default_rng([seed, 1_000]), np.random.default_rng([seed, 2_000])
    births = np.random.default_rng([seed, 3_000])
    land = Landscape(seed)
    for mean, spread in zip(first.normal(0.5, 0.12, 8), first.uniform(0.05, 0.2, 8), strict=True):
        land.add(float(mean), float(spread))
    members = [Member() for _ in land.means]
    calls, rounds, evolved_at, born = 2 * samples, 0, 0, 0
    best = (-1.0, 0.0)
    while calls >= 2:
        active = [index for index, member in enumerate(members) if not member.retired]
        size = min(settings.batch_size, calls // 2)
        plan = bandit.plan([members[index] for index in active], size, rng, left=calls // 2)
        for arm in (active[place] for place in plan):
            quality, score = land.draw(arm)
            best = (score, quality) if score > best[0] else best
            was = members[arm]
            members[arm] = replace(was, pulls=was.pulls + 1, rewards=(*was.rewards, score))
        calls, rounds = calls - 2 * size, rounds + 1
        left = (calls - 1) // 2
        if evolution_due(settings, members, rounds=rounds, evolved_at=evolved_at, samples_left=left):
            order = by_ucb(members, settings.beta) if way == "always" else by_front(members)
            parents = tuple(order[: settings.parents])
            count = min(settings.children, left, room(members, settings.max_pool))
            for index in retirable(members)[: max(0, len(active) + count - settings.max_pool)]:
                members[index] = replace(members[index], retired=True)
            better = max(parents, key=lambda index: land.means[index])
            for _ in range(count):
                land.add(land.means[better] + delta + sigma * float(births.normal()), land.spreads[better])
                members.append(Member(parents=parents, operator="combine"))
            calls, evolved_at, born = calls - 1, rounds, born + count
    return best[1], born


def measure(job: tuple[float, float, int, int]) -> list[str]:
    """One row of the table."""
    delta, sigma, samples, tasks = job
    ways: tuple[Way, ...] = ("off", "always", "gated")
    found = np.array([[simulate(way, samples, delta, sigma, seed) for way in ways] for seed in range(tasks)])
    quality, born = found[:, :, 0], found[:, :, 1].mean(axis=0)
    gains = quality[:, 1:] - quality[:, :1]
    errors = gains.std(axis=0, ddof=1) / math.sqrt(tasks)
    ahead = quality[:, 2] - quality[:, 1]
    return [
        f"{delta:+.2f}",
        f"{sigma:.2f}",
        str(samples),
        *(f"{value:.4f}" for value in quality.mean(axis=0)),
        *(f"{gain:+.4f} ({error:.4f})" for gain, error in zip(gains.mean(axis=0), errors, strict=True)),
        f"{ahead.mean():+.4f} ({ahead.std(ddof=1) / math.sqrt(tasks):.4f})",
        f"{gains[:, 1].mean() / gains[:, 0].mean():.2f}",
        f"{born[1]:.1f}",
        f"{born[2]:.1f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What evolution is worth, and what its gate saves.")
    parser.add_argument("--tasks", type=int, default=2_000, help="Simulated tasks for each row.")
    tasks = parser.parse_args().tasks
    jobs = [(delta, sigma, samples, tasks) for delta, sigma in SCENARIOS for samples in SAMPLES]
    table = Table(
        *("delta", "sigma", "N", "off", "always", "gated"),
        *("always-off (SE)", "gated-off (SE)", "gated-always (SE)", "ratio", "children always", "gated"),
    )
    with ProcessPoolExecutor() as pool:
        for row in pool.map(measure, jobs):
            table.add_row(*row)
    print("SIMULATION: nothing here is a result about language models.")
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
