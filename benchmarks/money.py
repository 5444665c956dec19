"""Runs with `max_cost_usd` on a model server that fails, reads prompts from its cache, and counts what it charges.

The offline model answers behind a loopback server: a SIMULATION of a model, real faults on real connections. A run may
exceed its limit by what it had in flight when the limit was reached, which is at most a round of requests.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import statistics
from dataclasses import dataclass
from typing import Any

from langchain_openai import ChatOpenAI

from benchmarks.figures import print_simulated
from metascale import MetaScaleError, MetaScaleSettings, create_metascale
from metascale.settings import Price
from tests.faults import FAULTS, QUESTION, Draws, FaultKind
from tests.openai_server import OpenAIServer, serving

PRICE = Price(input=100.0, output=400.0, cached=25.0)
BATCH = 4
KINDS = [fault for fault in FAULTS if "solver" in fault.roles and fault.name != "hang"]


@dataclass(frozen=True)
class Outcome:
    """How a run went, in US dollars.

    Attributes:
        fault: its name.
        limit: what the run might cost.
        charged: what the server charges for the completions that it sent.
        billed: the run's bill; None where a cost is unknown.
        dearest: the dearest request.
        reason: why it stopped.
    """

    fault: str
    limit: float
    charged: float
    billed: float | None
    dearest: float
    reason: str


async def run(fault: FaultKind, seed: int) -> Outcome:
    """One run, with a limit and a rate of faults that its seed draws."""
    generator = random.Random(seed)
    limit, rate = generator.uniform(0.5, 6.0), generator.choice([0.0, 0.1, 0.3])
    with serving(OpenAIServer(script=Draws(fault, "solver", rate, seed))) as server:
        model: Any = ChatOpenAI(model="loopback", base_url=server.url, api_key="none", max_retries=0)  # type: ignore[arg-type]
        settings = MetaScaleSettings(
            budget=64,
            batch_size=BATCH,
            pool_size=4,
            stop_on_agreement=None,
            seed=seed,
            max_cost_usd=limit,
            max_retries=1,
            prices={"loopback": PRICE},
        )
        try:
            out = await create_metascale(model, settings=settings).ainvoke({"messages": [("user", QUESTION)]})
            billed, reason = out["result"]["usage"]["cost_usd"], out["result"]["stop_reason"]
        except MetaScaleError as error:
            billed, reason = None, type(error).__name__
        costs = [PRICE.of(one.input_tokens, one.output_tokens, one.cached_tokens) for one in server.served]
    return Outcome(fault.name, limit, sum(costs), billed, max(costs, default=0.0), reason)


async def measure(runs: int, at_once: int, seed: int) -> list[Outcome]:
    """The runs, several in parallel; the faults take turns."""
    slots = asyncio.Semaphore(at_once)

    async def one(number: int) -> Outcome:
        async with slots:
            return await run(KINDS[number % len(KINDS)], seed + number)

    return await asyncio.gather(*(one(number) for number in range(runs)))


def main() -> None:
    """Print the figures, and every run that breaks a promise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    found = asyncio.run(measure(options.runs, options.at_once, options.seed))
    over = [max(0.0, one.charged - one.limit) / one.dearest for one in found if one.dearest]
    used = [one.charged / one.limit for one in found if one.reason == "max_cost_usd"]
    beyond = [one for one in found if one.charged > one.limit + BATCH * one.dearest]
    wrong = [one for one in found if one.billed is not None and abs(one.billed - one.charged) > 1e-9]
    print_simulated(
        {
            "runs": len(found),
            "runs that the limit ended": len(used),
            "share of the limit that those were charged, median": round(statistics.median(used), 3),
            "runs charged more than the limit": sum(one > 0 for one in over),
            "largest overrun, in dearest requests": round(max(over, default=0.0), 2),
            "runs beyond the requests in flight": len(beyond),
            "runs with a known bill": sum(one.billed is not None for one in found),
            "known bills that are not the server's": len(wrong),
        }
    )
    print("\n".join(map(str, [*beyond, *wrong])))


if __name__ == "__main__":
    main()
