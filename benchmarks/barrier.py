"""Measures the cost of waiting for the slowest sample of a round: the graph's rounds against independent workers.

The workers do not use LangGraph. There are as many as samples in a round; each draws a sample, has it scored, and lets
the same policy plan its next pull at once, with the same prompts and metered models. Pulls under way count as pulls
without a reward. Each is measured with and without hedging of stragglers, from the first plan to the last score,
without composing the pool and choosing the answer. The latencies are a SIMULATION.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from itertools import product
from typing import Any
from urllib.request import urlopen

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

from benchmarks.field import FIXED, RANDOM, canned_server, spread, table
from benchmarks.field_entrants import QUESTION
from benchmarks.field_server import Latency, to_query
from metascale import MetaScaleSettings, create_metascale
from metascale.bandits import Arm, create_policy
from metascale.models import MeteredModel
from metascale.nodes.generate import under
from metascale.records import MetaThought
from metascale.rewards import JudgeReward
from metascale.runtime.seeds import place_generator

Run = Callable[[ChatOpenAI, MetaScaleSettings], Coroutine[Any, Any, float]]


async def rounds(model: ChatOpenAI, settings: MetaScaleSettings) -> float:
    """Seconds of the search in the graph."""
    graph = create_metascale(model, settings=settings)
    first, last = 0.0, 0.0
    async for event in graph.astream({"messages": [HumanMessage(QUESTION)]}, stream_mode="custom"):
        if event["event"] == "pulled":
            first = first or time.perf_counter()
        elif event["event"] == "scored":
            last = time.perf_counter()
    return last - first


async def workers(model: ChatOpenAI, settings: MetaScaleSettings) -> float:
    """Seconds of the search by workers."""
    solver, judge, policy = MeteredModel(model, sampling=True), JudgeReward(model), create_policy(settings)
    thoughts = [_thought(number) for number in range(settings.pool_size)]
    arms = [Arm() for _ in thoughts]
    question = HumanMessage(QUESTION)
    planned = 0

    async def work() -> None:
        nonlocal planned
        while planned < settings.budget:
            number, left = planned, settings.budget - planned
            planned += 1
            (chosen,) = policy.plan(arms, 1, place_generator(0, number), left=left)
            arms[chosen] = replace(arms[chosen], pulls=arms[chosen].pulls + 1)
            asked = under(thoughts[chosen], [question])
            reply = await solver.chat(asked, settings, place=["sample", number])
            (score,) = await judge.score(QUESTION, [reply.message.text], settings, place=["judge", number])
            if score.value is not None:
                arms[chosen] = replace(arms[chosen], rewards=(*arms[chosen].rewards, score.value))

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(settings.batch_size)))
    return time.perf_counter() - started


def _thought(number: int) -> MetaThought:
    return {
        "id": f"m{number}",
        "mindset": f"You have solved {number} such tasks before.",
        "strategy": "Work step by step, and check every step before the next one.",
        "origin": "builtin",
        "parents": [],
        "generation": 0,
    }


async def measure(run: Run, latency: Latency, settings: MetaScaleSettings, seed: int) -> float:
    """Seconds of one search on a server of its own, on which one small search has warmed up the client."""
    with canned_server() as url:
        model = ChatOpenAI(model="canned", base_url=f"{url}/v1", api_key="none", max_retries=0)  # type: ignore[arg-type]
        await run(model, settings.model_copy(update={"budget": settings.batch_size}))
        with await asyncio.to_thread(urlopen, f"{url}/start?{to_query(latency)}&seed={seed}"):
            return await run(model, settings)


async def column(run: Run, latency: Latency, settings: MetaScaleSettings, repeats: int) -> str:
    """The spread over repeats, which run side by side, for they mostly wait."""
    return spread(await asyncio.gather(*(measure(run, latency, settings, seed) for seed in range(repeats))), 1)


async def print_all(samples: int, widths: list[int], repeats: int) -> None:
    """Print one table."""
    latencies = {"fixed": FIXED, **RANDOM}
    rows = []
    for width, name, run in product(widths, ("wait", "hedge"), (rounds, workers)):
        given = {"budget": samples, "batch_size": width, "evolution": "off", "confirm": 0, "stragglers": name}
        settings = MetaScaleSettings.model_validate(given)
        figures = [await column(run, latency, settings, repeats) for latency in latencies.values()]
        rows.append([f"{run.__name__}, {width} at a time, stragglers: {name}", *figures])
    table(f"Seconds of a search, N={samples}, median 200 ms a call", list(latencies), rows)


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--width", type=int, action="append", help="8 and 16, unless given")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}; median (minimum-maximum) of {options.repeats}"
    )
    asyncio.run(print_all(options.samples, options.width or [8, 16], options.repeats))


if __name__ == "__main__":
    main()
