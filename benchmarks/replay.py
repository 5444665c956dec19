"""Replays methods on recorded answers of a real model: accuracy, answers served, and where the record ran out.

The answers are real, each served once. They are not scored by a model, but by an oracle that knows which are right, or
by a simulated judge with a given error rate; the table names both. Self-Discover and Meta-Reasoning Prompting are not
replayed, because their plans and ratings were not recorded.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metascale import MetaScaleError, MetaScaleSettings, Score
from metascale.data import read_rows, squeeze
from metascale.graphs import METHODS
from metascale.models import RecordedChatModel
from metascale.models.recorded import FIXED_ARMS, OTHER_NAMES

REPLAYABLE = ("direct", "chain_of_thought", "best_of_n", "cot_best_of_n", "self_consistency", "metascale")


class SimulatedJudge:
    """Knows which recorded answers are right, and takes right for wrong and wrong for right at a stated rate."""

    def calls(self, new: int, earlier: int = 0) -> int:  # noqa: ARG002
        """Nothing is asked of anybody."""
        return 0

    def __init__(self, right: dict[tuple[str, str], bool], error_rate: float, seed: int) -> None:
        """Judge (question, answer) by `right`, erring at `error_rate`, once and for all for each answer."""
        rng = np.random.default_rng(seed)
        self.verdicts = {key: known != (rng.random() < error_rate) for key, known in right.items()}

    async def score(
        self,
        question: str,
        answers: Sequence[str],
        settings: MetaScaleSettings,  # noqa: ARG002
        *,
        place: Sequence[int | str],  # noqa: ARG002
    ) -> list[Score]:
        """1 for what it takes for right, 0 for the rest."""
        return [Score(float(self.verdicts[squeeze(question), answer])) for answer in answers]


async def replay(name: str, path: Path, budget: int, error_rate: float, seed: int) -> str:
    """One line of the table."""
    rows = read_rows(path, ("question", "output_text", "correct"), renamed=OTHER_NAMES)
    right = {(squeeze(row["question"]), row["output_text"].strip()): bool(row["correct"]) for row in rows}
    model = RecordedChatModel(path=path)
    judge = {"reward": SimulatedJudge(right, error_rate, seed)} if METHODS[name].judged else {}
    settings = MetaScaleSettings(
        budget=budget, batch_size=1, max_retries=0, max_failures=4, evolve_every=0, duplicate_similarity=1.0, seed=seed
    )
    graph = METHODS[name].create(model, settings=settings, **judge)
    questions = list(dict.fromkeys(row["question"] for row in rows))
    hits = answered = 0
    for question in questions:
        try:
            result = (await graph.ainvoke({"messages": [{"role": "user", "content": question}]}))["result"]
        except MetaScaleError:
            continue
        answered += 1
        hits += right[squeeze(question), result["answer"]]
    served = sum(model.served.values())
    dry = ", ".join(f"{strategy} {count}" for strategy, count in model.dry.most_common()) or "nowhere"
    return (
        f"{name:18} {hits / len(questions):6.1%} of {len(questions)} ({answered} answered)  "
        f"served {served:4} ({served / len(questions):.2f} a question)  ran dry: {dry}"
    )


def main() -> None:
    """Print the table for an oracle and for a judge that errs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "record", type=Path, help="JSONL with question, strategy (or arm), output_text (or text) and correct"
    )
    parser.add_argument("--budget", type=int, default=7)
    parser.add_argument("--error-rate", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    strategies = RecordedChatModel(path=options.record).strategies
    print(f"{options.record.name}: {', '.join(strategies)}; budget {options.budget}")
    for arm, names in FIXED_ARMS.items():
        print(f"{arm}: {next((name for name in names if name in strategies), 'not recorded')}")
    for title, rate in (
        ("an oracle scores", 0.0),
        (f"a SIMULATED judge errs at {options.error_rate:.0%}", options.error_rate),
    ):
        print(f"\n{title}")
        for name in REPLAYABLE:
            print(asyncio.run(replay(name, options.record, options.budget, rate, options.seed)), flush=True)


if __name__ == "__main__":
    main()
