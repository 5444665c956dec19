"""What judging costs on a real server: the same run with several rewards, in requests and tokens.

    python -m benchmarks.judging http://localhost:8080/v1 --model NAME --budget 16 --questions 4

The pool has the two fixed arms, and nothing is bred. Prompt tokens that the server had in its cache are counted apart.
Every run has a system message of its own, so that no run finds the conversations of another in the cache.
"""

from __future__ import annotations

import argparse
from typing import Any

from langchain_openai import ChatOpenAI

from metascale import MetaScaleSettings, create_metascale
from metascale.answers import extract
from metascale.data import gsm8k

REWARDS: dict[str, dict[str, Any]] = {
    "agreement": {"reward": "agreement"},
    "judge": {"reward": "judge"},
    "judge, expected_score": {"reward": "judge", "expected_score": True},
    "p_true": {"reward": "p_true"},
    "certainty": {"reward": "certainty"},
}
"""`agreement` asks nobody: what it costs are the samples."""
COUNTED = ("calls", "input_tokens", "cached_input_tokens", "output_tokens")


def main() -> None:
    """Run, and print a table of means over the questions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--model", default="model")
    parser.add_argument("--budget", type=int, default=16)
    parser.add_argument("--questions", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--reward", action="append", choices=REWARDS, help="may be repeated; by default all")
    given = parser.parse_args()
    model = ChatOpenAI(model=given.model, base_url=given.url, api_key="none", timeout=3600)
    shared = {
        "budget": given.budget,
        "batch_size": given.budget,
        "max_tokens": given.max_tokens,
        "pool_size": 2,  # the fixed arms, so that nothing is composed
        "evolution": "off",
        "confirm": 0,
        "call_timeout": None,
        "seed": 1,
    }
    print("| reward | requests | new prompt tokens | cached prompt tokens | output tokens | right |")
    print("|---|---|---|---|---|---|")
    for name in given.reward or REWARDS:
        chosen = REWARDS[name]
        graph = create_metascale(model, settings=MetaScaleSettings.model_validate({**shared, **chosen}))
        right, total, notes = 0, dict.fromkeys(COUNTED, 0), []
        for row in gsm8k()[: given.questions]:
            conversation = [("system", f"This is a run with {name}."), ("user", row["question"])]
            result = graph.invoke({"messages": conversation})["result"]
            notes += [note for note in result["notes"] if note not in notes]
            right += _is_right(result["answer"], row["gold"])
            for key in COUNTED:
                total[key] += result["usage"][key]
        calls, read, cached, written = (total[key] / given.questions for key in COUNTED)
        print(f"| {name} | {calls:.0f} | {read - cached:.0f} | {cached:.0f} | {written:.0f} | {right} |", flush=True)
        for note in notes:
            print(f"<!-- {name}: {note} -->", flush=True)


def _is_right(answer: str, gold: str) -> bool:
    return extract(answer, "number") == gold.replace(",", "")


if __name__ == "__main__":
    main()
