"""A simulation of the savings and costs of foresight, with calibrated and with over-confident predictions.

The offline model answers shipped GSM8K questions, each with the full budget and with `foresee`, from the same seed. The
search does not know the difficulty; predictions know it with noise, or with a bias so large that they never expect
failure. It is not a language model. The figures test the rules (over-confident predictions may cost at most a point of
accuracy); they say nothing about predictions of real models. The two searches draw different samples, so their
difference is noisy; the wrong runs among those that ended early bound the cost of stopping.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from metascale import MetaScaleSettings, create_metascale
from metascale.answers import extract, read_number
from metascale.data import gsm8k
from metascale.evals.statistics import mean_interval, paired_bootstrap
from metascale.models import SimulatedChatModel

VARIANTS: dict[str, tuple[bool, float]] = {
    "full budget": (False, 0.0),
    "foresee, calibrated": (True, 0.0),
    "foresee, over-confident": (True, 0.9),
    "foresee, sure of failure": (True, -1.0),
}
"""Name to whether it foresees, and by how much it overrates itself (below 0: underrates)."""
AT_ONCE = 8


@dataclass(frozen=True)
class Outcome:
    """One question, answered once."""

    right: float
    samples: float
    calls: float
    reason: str


def outcomes(variant: str, questions: int, seed: int, limits: dict[str, Any]) -> list[Outcome]:
    """Every question, answered by one variant."""
    return asyncio.run(answered(variant, questions, seed, limits))


async def answered(variant: str, questions: int, seed: int, limits: dict[str, Any]) -> list[Outcome]:
    """The same, many at once."""
    foresee, overconfidence = VARIANTS[variant]
    graph = create_metascale(SimulatedChatModel(overconfidence=overconfidence))
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, question: str, gold: str) -> Outcome:
        settings = MetaScaleSettings(**limits, foresee=foresee, seed=seed + number, answer_kind="number")
        async with slots:
            given = {"messages": [{"role": "user", "content": question}]}
            result = (await graph.ainvoke(given, context=settings))["result"]
        is_right = extract(result["answer"], "number") == read_number(gold)
        usage = result["usage"]
        return Outcome(float(is_right), usage["samples"], usage["calls"], result["stop_reason"])

    items = gsm8k()[:questions]
    return await asyncio.gather(*(one(n, item["question"], item["gold"]) for n, item in enumerate(items)))


def line(variant: str, found: Sequence[Outcome], full: Sequence[Outcome]) -> str:
    """One line of the table."""
    parts = [f"{variant:28}"]
    for name, factor, unit in (("right", 100, "%"), ("samples", 1, ""), ("calls", 1, "")):
        ours, theirs = [getattr(one, name) for one in found], [getattr(one, name) for one in full]
        mean = factor * sum(ours) / len(ours)
        if found is full:
            low, high = mean_interval(ours, seed=0)
            parts.append(f"{mean:6.1f}{unit} [{factor * low:.1f}, {factor * high:.1f}]".ljust(32))
        else:
            low, high = paired_bootstrap(ours, theirs, seed=0)
            difference = mean - factor * sum(theirs) / len(theirs)
            parts.append(f"{mean:6.1f}{unit} ({difference:+.1f} [{factor * low:+.1f}, {factor * high:+.1f}])".ljust(32))
    for reason in ("foreseen", "hopeless"):
        ended = [one.right for one in found if one.reason == reason]
        parts.append(f"{len(ended)} ended as {reason}, {ended.count(0.0)} wrong; ")
    return "".join(parts).removesuffix("; ")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--budget", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--reward", default="judge", help="'agreement' takes the judge's protection away")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("SIMULATION: not a result about language models")
    print(f"{options.questions} questions of GSM8K, budget {options.budget}, reward {options.reward}")
    print(f"seed {options.seed}; means a question, and paired differences from the full budget with 95 % intervals")
    limits = {"budget": options.budget, "batch_size": options.batch_size, "reward": options.reward}
    with ProcessPoolExecutor() as pool:
        ask = partial(outcomes, questions=options.questions, seed=options.seed, limits=limits)
        runs = dict(zip(VARIANTS, pool.map(ask, VARIANTS), strict=True))
    for variant, found in runs.items():
        print(line(variant, found, runs["full budget"]))


if __name__ == "__main__":
    main()
