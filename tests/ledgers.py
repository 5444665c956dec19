"""Ledgers of runs that never ran."""

from __future__ import annotations

from typing import Any

from metascale import MetaScaleSettings
from metascale.budget.ledger import Costs, Ledger
from metascale.pool.arms import fixed_arm
from metascale.records import Candidate, Look
from metascale.usage import Usage, no_usage

POOL = [fixed_arm("chain_of_thought"), fixed_arm("no_strategy")]
JUDGED = Costs(lambda new, _: new, look=1)


def candidate(number: int, reward: float | None = 0.5, *, looks: tuple[float | None, ...] = (), **changes: Any) -> Any:
    judged: list[Look] = [{"value": value, "wording": "again"} for value in looks]
    made: Candidate = {
        "id": number,
        "round": 1 + number // 4,
        "meta_thought": POOL[number % 2]["id"],
        "refines": None,
        "status": "ok",
        "text": f"answer {number}",
        "error": None,
        "reward": reward,
        "critique": None,
        "wording": "",
        "memo": None,
        "looks": judged,
        "extracted": None,
        "input_tokens": 10,
        "output_tokens": 10,
    }
    return {**made, **changes}


def spent(samples: int, calls: int | None = None, **changes: Any) -> Usage:
    usage = no_usage()
    usage |= {"samples": samples, "calls": 2 * samples if calls is None else calls}
    return usage | changes  # type: ignore[return-value]


def ledger(samples: int = 0, costs: Costs = JUDGED, *, usage: Usage | None = None, **settings: Any) -> Ledger:
    """After `samples` scored samples, each of which cost two calls."""
    candidates = [candidate(number, 0.3 + 0.01 * number) for number in range(samples)]
    return Ledger(
        settings=MetaScaleSettings(**settings),
        costs=costs,
        usage=usage or spent(samples),
        pool=POOL,
        candidates=candidates,
        rounds=-(-samples // 4),
    )
