"""Whole searches on a model file behind llama.cpp: budget, bill, composed meta-thoughts, unread verdicts, notes.

    python -m benchmarks.live rows.jsonl --model FILE.gguf --questions 20 --budget 8
    python -m benchmarks.live rows.jsonl --beside benchmarks/results/gsm8k_qwen15.jsonl.gz

A question's row is written as soon as it is answered, and the same command goes on where it was stopped. The bill is
compared with what the server counted for the questions of this call. Without a model the rows that are there are
reported, and `--beside` compares them with the kept results of other methods on the same questions.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from benchmarks.recordings.questions import chosen
from benchmarks.recordings.rows import Row, Rows
from benchmarks.table import beside, read
from metascale import MetaScaleSettings, create_metascale
from metascale.data import Question
from metascale.models.local.chat_model import LocalChatModel, local_model


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer the questions; the exit code is 1 if the bill or a budget is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--model", type=Path, help="the model's file")
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--budget", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=400)
    parser.add_argument("--context", type=int, default=4_096)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=2, help="questions in flight")
    parser.add_argument("--beside", type=Path, help="kept results of a table")
    given = parser.parse_args(arguments)
    rows = Rows(given.rows, ("question_id",))
    is_right = True
    if given.model is not None:
        slots = given.at_once * given.budget
        model = local_model(f"gguf:{given.model}?context={given.context}&slots={slots}&threads={given.threads}")
        settings = MetaScaleSettings(reward="judge", budget=given.budget, max_tokens=given.max_tokens)
        before, began = counted(model), time.monotonic()
        left = [one for one in chosen(None, given.questions) if rows.get(one["question_id"]) is None]
        new = asyncio.run(_answered(model, settings, left, given.at_once, rows))
        print(f"{len(new)} questions in {time.monotonic() - began:.0f} s")
        is_right = _is_billed_right(new, {name: value - before[name] for name, value in counted(model).items()})
    is_right &= _report(list(rows))
    if given.beside is not None:
        right = {row["question_id"]: float(row["extracted"] == row["gold"]) for row in rows}
        print("\n".join(beside(right, read([given.beside]))))
    return 0 if is_right else 1


def counted(model: LocalChatModel) -> dict[str, int]:
    """What the server has counted since it started."""
    server = model._server
    key = {"Authorization": f"Bearer {server.key}"}
    told = httpx.get(server.url.replace("/v1", "/metrics"), headers=key, timeout=600, trust_env=False)
    pairs = (line.split() for line in told.text.splitlines() if line.startswith("llamacpp:"))
    return {name.removeprefix("llamacpp:"): int(float(value)) for name, value in pairs}


async def _answered(
    model: LocalChatModel, settings: MetaScaleSettings, questions: Sequence[Question], at_once: int, rows: Rows
) -> list[Row]:
    waiting, new = iter(questions), []

    async def worker() -> None:
        for question in waiting:
            began = time.monotonic()
            graph = create_metascale(model, settings=settings, checkpointer=InMemorySaver())
            thread: RunnableConfig = {"configurable": {"thread_id": question["question_id"]}}
            await graph.ainvoke({"messages": [HumanMessage(question["question"])]}, thread)
            row = _row(question, (await graph.aget_state(thread)).values, settings.budget or 0)
            new.append(rows.add({**row, "seconds": round(time.monotonic() - began)}))
            print(row["question_id"], row["samples"], "samples,", row["calls"], "calls,", row["notes"], flush=True)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return new


def _row(question: Question, state: dict[str, Any], budget: int) -> Row:
    result, candidates = state["result"], state["candidates"]
    usage, winner = result["usage"], candidates[result["candidate"]]
    composed = [one for one in state["pool"] if one["origin"] == "self_composed"]
    return {
        "question_id": question["question_id"],
        "gold": question["gold"],
        "extracted": winner["extracted"],
        "answer": result["answer"],
        "reward": result["reward"],
        "confidence": result["confidence"],
        "stop_reason": result["stop_reason"],
        "budget": budget,
        "samples": usage["samples"],
        "calls": usage["calls"],
        "input_tokens": usage["input_tokens"],
        "cached_input_tokens": usage["cached_input_tokens"],
        "output_tokens": usage["output_tokens"],
        "composed": len({(one["mindset"], one["strategy"]) for one in composed}),
        "statuses": Counter(one["status"] for one in candidates),
        "unscored": [one["error"] for one in candidates if one["text"] and one["reward"] is None],
        "notes": result["notes"],
    }


def _is_billed_right(new: Sequence[Row], served: dict[str, int]) -> bool:
    billed = {name: sum(row[name] for row in new) for name in ("input_tokens", "cached_input_tokens", "output_tokens")}
    server = {
        "input_tokens": served["prompt_tokens_total"] + served["prompt_tokens_cached_total"],
        "cached_input_tokens": served["prompt_tokens_cached_total"],
        "output_tokens": served["tokens_predicted_total"],
    }
    print(f"billed {billed}\nserved {server}")
    return billed == server


def _report(rows: Sequence[Row]) -> bool:
    over = [row["question_id"] for row in rows if row["samples"] > row["budget"]]
    means = {
        name: np.mean([row[name] for row in rows]) for name in ("calls", "input_tokens", "output_tokens", "confidence")
    }
    print(f"{len(rows)} questions; over the budget: {over or 'none'}")
    print("means a question:", ", ".join(f"{name} {mean:.2f}" for name, mean in means.items()))
    print(f"samples: {Counter(row['samples'] for row in rows)}")
    print(f"composed meta-thoughts: {Counter(row['composed'] for row in rows)}")
    print(f"answers without a reward: {[why for row in rows for why in row['unscored']] or 'none'}")
    print(f"right: {sum(row['extracted'] == row['gold'] for row in rows)}")
    return not over


if __name__ == "__main__":
    raise SystemExit(main())
