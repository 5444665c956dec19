"""A simulation: METASCALE, one direct sample, and best-of-N with the same judge, on the offline model.

The offline model is not a language model. These figures show that the search works as built; they say nothing about
what it does for a real model.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metascale import MetaScaleSettings, create_metascale
from metascale.bandits import Arm, Policy
from metascale.data import gsm8k
from metascale.nodes.initialize_pool import FIXED_ARMS


def right(answer: str, gold: str) -> bool:
    """Whether a simulated answer ends in the known one."""
    found = re.findall(r"#### (\S+)$", answer)
    return bool(found) and found[-1] == gold.replace(",", "")


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a proportion."""
    z, p = 1.959964, successes / trials
    middle = p + z * z / (2 * trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    return (middle - half) / (1 + z * z / trials), (middle + half) / (1 + z * z / trials)


@dataclass(frozen=True)
class OneArm:
    """Plain best-of-N: every pull goes to one arm."""

    arm: int

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator) -> list[int]:  # noqa: ARG002
        """`size` pulls of the one arm."""
        return [self.arm] * size


async def accuracy(settings: MetaScaleSettings, policy: Policy | None, questions: int) -> tuple[int, float]:
    """How many of the first `questions` of GSM8K come out right, and the mean number of model calls."""
    graph = create_metascale("simulated", settings=settings, policy=policy)
    hits, calls = 0, 0
    for number, item in enumerate(gsm8k()[:questions]):
        given: Any = {"messages": [{"role": "user", "content": item["question"]}]}
        chosen = settings.model_copy(update={"seed": (settings.seed or 0) + number})
        result = (await graph.ainvoke(given, context=chosen))["result"]
        hits += right(result["answer"], item["gold"])
        calls += result["usage"]["calls"]
    return hits, calls / questions


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--budget", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    n = options.budget
    shared = MetaScaleSettings(budget=n, batch_size=options.batch_size, seed=options.seed)
    fixed = {"pool_size": 2, "evolve_every": 0}
    cot, direct = (OneArm(FIXED_ARMS.index(name)) for name in ("chain_of_thought", "no_strategy"))
    methods: list[tuple[str, dict[str, Any], Policy | None]] = [
        ("one direct sample", {**fixed, "budget": 1}, direct),
        (f"best of {n}, direct", fixed, direct),
        (f"best of {n}, chain of thought", fixed, cot),
        (f"METASCALE without evolution, {n} samples", {"evolve_every": 0}, None),
        (f"METASCALE, {n} samples", {}, None),
    ]
    print("SIMULATION: not a result about language models")
    print(f"{options.questions} questions of GSM8K, seed {options.seed}")
    for name, changes, policy in methods:
        settings = shared.model_copy(update=changes)
        hits, calls = asyncio.run(accuracy(settings, policy, options.questions))
        low, high = wilson(hits, options.questions)
        share = hits / options.questions
        print(f"{name:45} {share:6.1%}  (95 % interval {low:.1%} to {high:.1%})  {calls:5.1f} calls a question")


if __name__ == "__main__":
    main()
