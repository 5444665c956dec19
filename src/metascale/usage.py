"""The bill of a run, and how bills are added."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NotRequired, TypeGuard

from typing_extensions import TypedDict


class PartBill(TypedDict):
    """What one node of the graph, or one model, cost."""

    calls: int
    """Model requests of every kind."""
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """US dollars; null if the price of any request is unknown."""


class Usage(TypedDict):
    """The bill of one request, one node or a whole run."""

    samples: int
    """Answers generated; the budget counts these."""
    calls: int
    """Model requests of every kind: samples, judgements, meta calls, repairs and retries."""
    input_tokens: int
    """Prompt tokens, as servers reported them, and an estimate of those of embedders, whose requests are no calls."""
    cached_input_tokens: int
    """Prompt tokens that a server had in its cache, if the server reports them; part of `input_tokens`."""
    output_tokens: int
    """Completion tokens, as the servers reported them."""
    seconds: float
    """Wall-clock seconds at work: the union of all working spans. Parallel calls count once; the time between a crash
    and its resumption does not count."""
    cost_usd: float | None
    """US dollars; null if the price of any request is unknown."""
    by_node: NotRequired[dict[str, PartBill]]
    """The parts of the nodes that asked a model, by name."""
    by_model: NotRequired[dict[str, PartBill]]
    """The parts of the models that were asked, by the names that candidates show."""
    charged_usd: NotRequired[float]
    """US dollars that count towards `max_cost_usd`: the known costs, and estimates of the others."""
    until: float
    """When the last working span ended, in seconds since the epoch; 0 if there was none."""


MOST_TOKENS = 10**12
"""The most tokens that one request can plausibly cost: more than any model reads, and still safe to store."""


def is_believable(tokens: object) -> TypeGuard[int]:
    """Whether a token count that a server reports is plausible."""
    return isinstance(tokens, int) and 0 <= tokens <= MOST_TOKENS


def cached_tokens(usage: Usage) -> int:
    """The cached prompt tokens of a bill; 0 in bills of earlier versions, which did not count them."""
    return usage.get("cached_input_tokens", 0)


def charged(usage: Usage) -> float:
    """US dollars that count towards `max_cost_usd`; of bills of earlier versions, what is known."""
    return max(usage.get("charged_usd", 0.0), usage["cost_usd"] or 0.0)


def no_usage() -> Usage:
    """An empty bill."""
    return {
        "samples": 0,
        "calls": 0,
        "input_tokens": 0,
        "cached_input_tokens": 0,
        "output_tokens": 0,
        "seconds": 0.0,
        "cost_usd": 0.0,
        "charged_usd": 0.0,
        "by_node": {},
        "by_model": {},
        "until": 0.0,
    }


def working_since(start: float) -> Usage:
    """A bill of time only: the span from `start`, in seconds since the epoch, to now."""
    now = time.time()
    return no_usage() | {"seconds": max(0.0, now - start), "until": now}


def add_usage(total: Usage, part: Usage) -> Usage:
    """The sum of two bills. Overlapping working time counts once.

    Time is exact if parts are added in the order in which their spans started, as those of a superstep are.
    """
    total = total or no_usage()
    overlap_free = part["until"] - max(total["until"], part["until"] - part["seconds"])
    costs = (total["cost_usd"], part["cost_usd"])
    return {
        "samples": total["samples"] + part["samples"],
        "calls": total["calls"] + part["calls"],
        "input_tokens": total["input_tokens"] + part["input_tokens"],
        "cached_input_tokens": cached_tokens(total) + cached_tokens(part),
        "output_tokens": total["output_tokens"] + part["output_tokens"],
        "seconds": total["seconds"] + max(0.0, overlap_free),
        "cost_usd": None if costs[0] is None or costs[1] is None else costs[0] + costs[1],
        "charged_usd": charged(total) + charged(part),
        "by_node": _added(total.get("by_node", {}), part.get("by_node", {})),
        "by_model": _added(total.get("by_model", {}), part.get("by_model", {})),
        "until": max(total["until"], part["until"]),
    }


def of_node(usage: Usage, node: str) -> Usage:
    """The bill with all of it as the part of one node."""
    return {**usage, "by_node": {node: _whole(usage)}} if _is_paid(usage) else usage


def of_model(usage: Usage, model: str) -> Usage:
    """The bill with all of it as the part of one model."""
    return {**usage, "by_model": {model: _whole(usage)}} if _is_paid(usage) else usage


def _is_paid(usage: Usage) -> bool:
    return bool(usage["calls"] or usage["input_tokens"])


def _whole(usage: Usage) -> PartBill:
    return {
        "calls": usage["calls"],
        "input_tokens": usage["input_tokens"],
        "output_tokens": usage["output_tokens"],
        "cost_usd": usage["cost_usd"],
    }


def _added(total: Mapping[str, PartBill], parts: Mapping[str, PartBill]) -> dict[str, PartBill]:
    found = dict(total)
    for name, more in parts.items():
        before = found.get(name)
        if before is None:
            found[name] = more
            continue
        costs = (before["cost_usd"], more["cost_usd"])
        found[name] = {
            "calls": before["calls"] + more["calls"],
            "input_tokens": before["input_tokens"] + more["input_tokens"],
            "output_tokens": before["output_tokens"] + more["output_tokens"],
            "cost_usd": None if costs[0] is None or costs[1] is None else costs[0] + costs[1],
        }
    return found
