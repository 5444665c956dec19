"""Wall time over the critical path: METASCALE against a bare LangGraph graph, on one loopback server in the same run.

The critical path is the sequence of calls that cannot overlap, each at the server's latency: a round is one answer and
one judgement deep. METASCALE's path also has the composing and the evolving call.
"""

from __future__ import annotations

import argparse
import asyncio
import operator
import statistics
import subprocess
import sys
import time
from typing import Annotated, Any, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from metascale import MetaScaleSettings, create_metascale
from metascale.data import gsm8k


class BareState(TypedDict):
    """A question, its answers and their scores."""

    question: str
    answers: Annotated[list[str], operator.add]
    scored: int


def bare_graph(model: ChatOpenAI, samples: int, width: int) -> Any:
    """Rounds of `width` answers by `Send`, each judged by a plain call: the least that LangGraph can do."""

    async def plan(state: BareState) -> dict[str, Any]:  # noqa: ARG001
        return {}

    def fan_out(state: BareState) -> list[Send]:
        return [Send("generate", {"question": state["question"]}) for _ in range(width)]

    async def generate(state: dict[str, Any]) -> dict[str, Any]:
        return {"answers": [(await model.ainvoke(state["question"])).text]}

    async def score(state: BareState) -> dict[str, Any]:
        new = state["answers"][state.get("scored", 0) :]
        await asyncio.gather(*(model.ainvoke(f"{state['question']}\n\n{answer}\n\nScore it.") for answer in new))
        return {"scored": len(state["answers"])}

    graph = StateGraph(BareState)
    graph.add_node("plan", plan)
    graph.add_node("generate", generate)
    graph.add_node("score", score)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", fan_out, ["generate"])
    graph.add_edge("generate", "score")
    graph.add_conditional_edges("score", lambda state: END if len(state["answers"]) >= samples else "plan")
    return graph.compile()


async def measure(url: str, *, latency: float, samples: int, width: int, repeats: int) -> dict[str, list[float]]:
    """Ratios of wall time to critical path, and CPU milliseconds a sample, one figure a repeat."""
    model = ChatOpenAI(model="loopback", base_url=url, api_key="none")
    question = gsm8k()[0]["question"]
    bare = bare_graph(model, samples, width)
    ours = create_metascale(model, settings=MetaScaleSettings(budget=samples, batch_size=width))
    rounds = -(-samples // width)
    figures: dict[str, list[float]] = {"bare": [], "metascale": [], "bare cpu": [], "metascale cpu": []}
    for repeat in range(repeats + 1):
        for name, graph, given, depth in (
            ("bare", bare, {"question": question}, 2 * rounds),
            ("metascale", ours, {"messages": [{"role": "user", "content": question}]}, None),
        ):
            wall, cpu = time.perf_counter(), time.process_time()
            steps = 0
            async for update in graph.astream(given, stream_mode="updates"):
                steps += sum(node in {"initialize_pool", "evolve"} for node in update)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if repeat:
                figures[name].append(wall / ((depth or 2 * rounds + steps) * latency) if latency else wall)
                figures[f"{name} cpu"].append(1000 * cpu / samples)
    return figures


def main() -> None:
    """Print the two ratios and their difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds a call")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--width", type=int, default=16, help="samples a round")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    command = [sys.executable, "-m", "tests.openai_server", "--latency", str(options.latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"{server.stdout.readline().strip()}/v1"
        try:
            figures = asyncio.run(
                measure(
                    url,
                    latency=options.latency,
                    samples=options.samples,
                    width=options.width,
                    repeats=options.repeats,
                )
            )
        finally:
            server.terminate()
    for name, values in figures.items():
        unit = "ms of CPU a sample" if name.endswith("cpu") else "wall time / critical path"
        low, high = min(values), max(values)
        print(f"{name:15} {statistics.median(values):7.3f}  ({low:.3f} to {high:.3f})  {unit}")
    difference = [ours - bare for ours, bare in zip(figures["metascale"], figures["bare"], strict=True)]
    print(f"difference      {statistics.median(difference):+7.3f}  ({min(difference):+.3f} to {max(difference):+.3f})")


if __name__ == "__main__":
    main()
