"""The paper's settings against the defaults on the offline model, at equal calls. A SIMULATION, not a language model.

`python -m benchmarks.search [--questions 300] [--calls 34 66]`
"""

from __future__ import annotations

import argparse
import asyncio

import numpy as np

from metascale import MetaScaleSettings, create_metascale
from metascale.answers import extract
from metascale.data import gsm8k
from metascale.evals.statistics import paired_bootstrap, wilson


def variants(calls: int) -> dict[str, MetaScaleSettings]:
    """What is compared: all with the same limit of model requests, and a budget that never binds first."""
    limit = {"budget": calls, "max_calls": calls}
    return {
        "paper": MetaScaleSettings.paper(**limit),
        "the defaults": MetaScaleSettings(**limit),
        "the defaults, single scores": MetaScaleSettings(confirm=0, final_choice="best", **limit),
        "the defaults, always evolving": MetaScaleSettings(evolution="always", **limit),
        "the defaults, refining": MetaScaleSettings(refine=True, **limit),
        "best of n": MetaScaleSettings(policy="single", pool_size=2, evolution="off", **limit),
    }


async def right(settings: MetaScaleSettings, questions: int) -> tuple[list[bool], float]:
    """Whether each question was answered rightly, and the mean of the requests made."""
    hits, calls = [], []
    for seed, item in enumerate(gsm8k()[:questions]):
        graph = create_metascale("simulated", settings=settings.model_copy(update={"seed": seed}))
        result = (await graph.ainvoke({"messages": [{"role": "user", "content": item["question"]}]}))["result"]
        hits.append(extract(result["answer"]) == item["gold"].replace(",", ""))
        calls.append(result["usage"]["calls"])
    return hits, float(np.mean(calls))


def main() -> None:
    """Print accuracy with intervals, and the paired difference to the paper's settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--calls", type=int, nargs="+", default=[34, 66])
    given = parser.parse_args()
    print("SIMULATION: nothing here is a result about language models.")
    for calls in given.calls:
        paper: list[bool] = []
        for name, settings in variants(calls).items():
            hits, made = asyncio.run(right(settings, given.questions))
            paper = paper or hits
            accuracy = wilson(sum(hits), len(hits))
            gain = paired_bootstrap([float(h) for h in hits], [float(h) for h in paper], seed=0)
            between = f"({100 * accuracy.low:.1f}-{100 * accuracy.high:.1f})"
            print(
                f"{calls:4} calls  {name:22} {100 * np.mean(hits):5.1f} % {between}"
                f"  against paper {100 * (np.mean(hits) - np.mean(paper)):+5.1f} "
                f"({100 * gain.low:+.1f} to {100 * gain.high:+.1f})  {made:.1f} calls made",
                flush=True,
            )


if __name__ == "__main__":
    main()
