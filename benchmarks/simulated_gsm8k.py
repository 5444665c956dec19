"""A simulation of every method on GSM8K at equal samples and at equal calls, over HTTP, with the server's own counts.

The offline model answers behind a loopback server. It is not a language model. The figures show that the search works
and that usage is counted right; they say nothing about methods on real models.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from langchain_openai import ChatOpenAI

from metascale import MetaScaleSettings
from metascale.answers import extract, read_number
from metascale.data import gsm8k
from metascale.evals.statistics import wilson
from metascale.graphs import METHODS
from tests.openai_server import OpenAIServer, serving

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in METHODS},
    "metascale, no evolution": ("metascale", {"evolve_every": 0}),
    "metascale, no bandit": ("metascale", {"policy": "round_robin"}),
}
UNLIMITED = 10_000


async def measure(variant: str, limits: dict[str, Any], questions: int, seed: int) -> str:
    """One line of the table."""
    name, changes = VARIANTS[variant]
    totals = {"samples": 0, "calls": 0, "input_tokens": 0, "output_tokens": 0}
    hits = 0
    with serving(OpenAIServer()) as server:
        graph = METHODS[name].create(ChatOpenAI(model="simulated", base_url=server.url, api_key="none"))
        for number, item in enumerate(gsm8k()[:questions]):
            settings = MetaScaleSettings(**limits, **changes, seed=seed + number, answer_kind="number")
            given = {"messages": [{"role": "user", "content": item["question"]}]}
            result = (await graph.ainvoke(given, context=settings))["result"]
            hits += extract(result["answer"], "number") == read_number(item["gold"])
            for key in totals:
                totals[key] += result["usage"][key]
        counted = {
            "samples": server.count("solve"),
            "calls": server.requests.total(),
            "input_tokens": server.input_tokens,
            "output_tokens": server.output_tokens,
        }
    low, high = wilson(hits, questions)
    agrees = "the server agrees" if counted == totals else f"THE SERVER COUNTED {counted}, the bill says {totals}"
    return (
        f"{variant:26} {hits / questions:6.1%} ({low:.1%} to {high:.1%})  "
        f"{totals['samples'] / questions:5.1f} samples {totals['calls'] / questions:5.1f} calls  {agrees}"
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--budget", type=int, default=16)
    parser.add_argument("--calls", type=int, default=34)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tables = {
        f"equal samples: {options.budget} a question": {"budget": options.budget},
        f"equal calls: at most {options.calls} a question": {"budget": UNLIMITED, "max_calls": options.calls},
    }
    print("SIMULATION: not a result about language models")
    print(f"{options.questions} questions of GSM8K, batches of {options.batch_size}, seed {options.seed}")
    for title, limits in tables.items():
        print(f"\n{title}; accuracy with its 95 % interval")
        for variant in VARIANTS:
            limited = {**limits, "batch_size": options.batch_size}
            print(asyncio.run(measure(variant, limited, options.questions, options.seed)), flush=True)


if __name__ == "__main__":
    main()
