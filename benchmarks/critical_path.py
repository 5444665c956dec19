"""How long a default run takes in model latencies, and how many requests it makes. A SIMULATION: it proves wiring only.

The offline model answers every request after one second of virtual time, so the time of a run is the number of
requests on its critical path: those that wait for one another. Answers and verdicts are simulated, and so is the
accuracy.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from statistics import fmean, stdev
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult

from metascale import MetaScaleSettings, create_metascale
from metascale.answers import extract
from metascale.data import gsm8k
from metascale.models.simulated import SimulatedChatModel
from tests.virtual_time import in_virtual_time


class EvenModel(SimulatedChatModel):
    """Takes one second for each reply."""

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        await asyncio.sleep(1.0)
        return self._generate(messages, stop, **kwargs)


def measure(settings: MetaScaleSettings, questions: int) -> dict[str, list[float]]:
    """What each question took: latencies, calls, samples, tokens, and whether the answer was right."""
    graph = create_metascale(EvenModel(), settings=settings)
    rows = []
    for item in gsm8k()[:questions]:
        given = {"messages": [("user", item["question"])]}

        async def run(given: dict[str, Any] = given) -> tuple[float, dict[str, Any]]:
            started = asyncio.get_running_loop().time()
            out = await graph.ainvoke(given)
            return asyncio.get_running_loop().time() - started, out["result"]

        took, result = in_virtual_time(run)
        usage = result["usage"]
        rows.append(
            {
                "latencies": took,
                "requests": usage["calls"],
                "samples": usage["samples"],
                "looks": sum(len(finalist["looks"]) for finalist in result["finalists"]),
                "tokens in": usage["input_tokens"],
                "tokens out": usage["output_tokens"],
                "right": float(extract(result["answer"]) == item["gold"].replace(",", "")),
            }
        )
    return {name: [row[name] for row in rows] for name in rows[0]}


def main() -> None:
    """Print one line for each budget: means with their standard errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budgets", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings that differ from the default"
    )
    options = parser.parse_args()
    changes = dict(change.split("=", 1) for change in options.set)
    print("SIMULATION: the requests are real, what they say is not")
    for budget in options.budgets:
        settings = MetaScaleSettings.model_validate({"budget": budget, "seed": 1, **changes})
        found = measure(settings, options.questions)
        cells = (
            f"{name} {fmean(values):,.2f} ± {stdev(values) / math.sqrt(len(values)):.2f}"
            + (f" (most {max(values):.0f})" if name == "latencies" else "")
            for name, values in found.items()
        )
        print(f"budget {budget}: {', '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
