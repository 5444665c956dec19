"""The entrants of `benchmarks.field`.

Each runs in its own virtual environment, so this file imports their packages lazily.
`python -m benchmarks.field_entrants NAME URL SAMPLES FROM TO QUERY` prints a line of JSON for every seed of the range.
Every entrant draws this many answers, has each judged once by the same server, and chooses the best. METASCALE also
composes, evolves and re-judges, as its settings say.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import urlopen

QUESTION = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many clips did "
    "Natalia sell altogether in April and May?"
)
RATING = "Score the answer from 1 to 10. Reply with JSON: a critique and a score."
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "schema": {
            "type": "object",
            "properties": {"critique": {"type": "string"}, "score": {"type": "number"}},
            "required": ["critique", "score"],
            "additionalProperties": False,
        },
    },
}

Run = Callable[[int], Awaitable[int]]
"""Takes samples, and gives the calls of the critical path: those that cannot overlap."""


def _chat_model(url: str) -> Any:
    from langchain_openai import ChatOpenAI  # noqa: PLC0415

    return ChatOpenAI(model="canned", base_url=url, api_key="none", max_retries=0)  # type: ignore[arg-type]


def _graph(url: str, create: str, width: int | None) -> Run:
    from metascale import graphs  # noqa: PLC0415
    from metascale.settings import MetaScaleSettings  # noqa: PLC0415

    model = _chat_model(url)

    async def run(samples: int) -> int:
        settings = MetaScaleSettings(budget=samples, **({"batch_size": min(width, samples)} if width else {}))
        graph = getattr(graphs, create)(model, settings=settings)
        depth = 0
        async for update in graph.astream({"messages": [("user", QUESTION)]}, stream_mode="updates"):
            for node in update:
                depth += {"initialize_pool": 1, "score": 2, "evolve": 1, "synthesize": 2, "confirm": 1}.get(node, 0)
        return depth

    return run


def metascale(url: str) -> Run:
    """METASCALE with its default settings: four samples a round, second looks, evolution."""
    return _graph(url, "create_metascale", None)


def metascale_16(url: str) -> Run:
    """METASCALE, 16 samples a round."""
    return _graph(url, "create_metascale", 16)


def metascale_best_of_n(url: str) -> Run:
    """Our best-of-N, all samples in one round, with second looks."""
    return _graph(url, "create_best_of_n", 1_024)


def langgraph(url: str) -> Run:
    """A bare graph of two ChatOpenAI calls a sample, 16 a round: what METASCALE cannot fall below."""
    from benchmarks.overhead import bare_graph  # noqa: PLC0415

    model = _chat_model(url)

    async def run(samples: int) -> int:
        await bare_graph(model, samples, min(16, samples)).ainvoke({"question": QUESTION})
        return 2 * -(-samples // 16)

    return run


def its_hub(url: str) -> Run:
    """its_hub's BestOfN with its LLMJudge."""
    from its_hub import BestOfN, LLMJudge, OpenAICompatibleLanguageModel  # noqa: PLC0415

    async def run(samples: int) -> int:
        async with OpenAICompatibleLanguageModel(url, "none", "canned") as model:
            await BestOfN(LLMJudge(model)).ainfer(model, QUESTION, budget=samples)
        return 2

    return run


def _treequest(url: str, width: int) -> Run:
    import treequest  # noqa: PLC0415
    from openai import OpenAI  # noqa: PLC0415

    client = OpenAI(base_url=url, api_key="none", max_retries=0)

    def ask(text: str, **options: Any) -> str:
        messages: list[Any] = [{"role": "user", "content": text}]
        return str(
            client.chat.completions.create(model="canned", messages=messages, **options).choices[0].message.content
        )

    def draw(parent: str | None) -> tuple[str, float]:
        answer = ask(QUESTION if parent is None else f"{QUESTION}\n\nImprove this answer:\n{parent}")
        verdict = ask(f"{QUESTION}\n\n{answer}\n\n{RATING}", response_format=SCHEMA)
        return answer, json.loads(verdict)["score"] / 10

    async def run(samples: int) -> int:
        algorithm = treequest.ABMCTSA()
        state = algorithm.init_tree()
        with ThreadPoolExecutor(width) as threads:
            for start in range(0, samples, width):
                if width == 1:
                    state = algorithm.step(state, {"answer": draw})
                    continue
                state, trials = algorithm.ask_batch(state, min(width, samples - start), ["answer"])
                drawn = threads.map(draw, [trial.parent_state for trial in trials])
                for trial, result in zip(trials, drawn, strict=True):
                    state = algorithm.tell(state, trial.trial_id, result)
        treequest.top_k(state, algorithm, k=1)
        return 2 * -(-samples // width)

    return run


def treequest_step(url: str) -> Run:
    """TreeQuest's AB-MCTS-A, one sample after the other."""
    return _treequest(url, 1)


def treequest_8(url: str) -> Run:
    """TreeQuest's AB-MCTS-A, batches of eight."""
    return _treequest(url, 8)


def optillm(url: str) -> Run:
    """Best-of-N of optillm: one request with `n`, then one rating after the other."""
    from openai import OpenAI  # noqa: PLC0415
    from optillm.bon import best_of_n_sampling  # noqa: PLC0415

    client = OpenAI(base_url=url, api_key="none", max_retries=0)

    async def run(samples: int) -> int:
        best_of_n_sampling("You are a helpful assistant.", QUESTION, client, "canned", n=samples)
        return 1 + samples

    return run


def dspy(url: str) -> Run:
    """DSPy's BestOfN over Predict, with a Predict as the judge."""
    import dspy as package  # noqa: PLC0415

    package.configure(lm=package.LM("openai/canned", api_base=url, api_key="none", cache=False, num_retries=0))
    answer = package.Predict("question -> answer")
    judge = package.Predict("question, answer -> score: float")

    def reward(given: dict[str, Any], prediction: Any) -> float:
        return float(judge(question=given["question"], answer=prediction.answer).score)

    async def run(samples: int) -> int:
        package.BestOfN(module=answer, N=samples, reward_fn=reward, threshold=100.0)(question=QUESTION)
        return 2 * samples

    return run


def _get(url: str) -> bytes:
    with urlopen(url) as reply:
        return bytes(reply.read())


async def measure(entrant: Callable[[str], Run], url: str, samples: int, seeds: range, query: str) -> None:
    """Print what the runs took, after one small run that warms everything up."""
    run = entrant(f"{url}/v1")
    await run(8)
    for seed in seeds:
        gc.collect()
        _get(f"{url}/start?{query}&seed={seed}")
        wall, cpu = time.perf_counter(), time.process_time()
        depth = await run(samples)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        served = json.loads(_get(f"{url}/stats"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"wall": wall, "cpu": cpu, "depth": depth, "peak": peak, **served}), flush=True)


if __name__ == "__main__":
    name, url, samples, first, end, query = sys.argv[1:]
    asyncio.run(measure(globals()[name], url, int(samples), range(int(first), int(end)), query))
