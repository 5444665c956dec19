"""How wide rounds are, and what is done beside the first one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from metascale import MetaScaleSettings, create_metascale
from metascale.budget.rounds import is_composed_beside, round_size, round_sizes
from metascale.graphs import create_best_of_n, create_direct
from metascale.pool.arms import fixed_arm
from metascale.usage import no_usage
from tests.conftest import THREAD, ask
from tests.runs import run
from tests.scripted import TimedModel, sensible
from tests.virtual_time import in_virtual_time

FIXED = [fixed_arm("chain_of_thought"), fixed_arm("no_strategy")]


def settings(**given: Any) -> MetaScaleSettings:
    return MetaScaleSettings.model_validate(given)


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({"budget": 1}, [1]),
        ({"budget": 4}, [4]),
        ({"budget": 7}, [4, 3]),
        ({"budget": 16}, [4, 4, 8]),
        ({"budget": 40}, [4, 4, 8, 16, 8]),
        ({"budget": 7, "batch_size": 3}, [3, 3, 1]),
    ],
)
def test_rounds_double_unless_their_size_is_set(given: dict[str, int], sizes: list[int]) -> None:
    assert round_sizes(settings(**given)) == sizes
    state, _ = run(sensible, settings={**given, "evolve_every": 0})
    drawn = [candidate["round"] for candidate in state["candidates"]]
    assert [drawn.count(number) for number in sorted(set(drawn))] == sizes


def test_no_round_is_wider_than_the_tokens_that_are_left() -> None:
    limited = settings(budget=64, max_tokens_total=10_000)
    spent = {**no_usage(), "samples": 16, "input_tokens": 5_000, "output_tokens": 3_000}
    assert round_size(limited, spent) == 4  # type: ignore[arg-type]
    assert round_size(limited, {**spent, "output_tokens": 5_000}) == 1  # type: ignore[arg-type, typeddict-item]
    assert round_size(settings(budget=64), spent) == 16  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [{"budget": 15}, {"batch_size": 5}, {"head_start": 0}, {"memory": "ours"}, {"review_pool": True}, {"pool_size": 2}],
    ids=str,
)
def test_the_pool_is_composed_first_where_the_first_round_needs_it(changes: dict[str, Any]) -> None:
    assert is_composed_beside(settings(), FIXED)
    assert not is_composed_beside(settings(**changes), FIXED)


def test_the_pool_is_composed_beside_the_first_round() -> None:
    state, model = run(sensible)
    first = [c["meta_thought"] for c in state["candidates"] if c["round"] == 1]
    assert set(first) == {"chain_of_thought", "no_strategy"}
    assert [t["origin"] for t in state["pool"]] == ["fixed"] * 2 + ["self_composed"] * 6
    assert len({c["meta_thought"] for c in state["candidates"]}) == 8
    assert len(model.requests("compose")) == 1
    assert all("prior" in thought for thought in state["pool"])
    usage = state["result"]["usage"]
    assert usage["calls"] == len(model._requests)


def test_a_default_run_waits_for_six_requests_one_after_another_and_its_looks() -> None:
    model = TimedModel(write=sensible, takes=lambda *_: 1.0)
    graph = create_metascale(model, settings=MetaScaleSettings(confirm=0))
    result = in_virtual_time(lambda: graph.ainvoke(ask()))["result"]
    assert result["usage"]["samples"] == 16
    assert result["usage"]["seconds"] == pytest.approx(6.0)


@pytest.mark.parametrize("max_calls", [2, 3, 9, 20, 30])
def test_max_calls_also_pays_for_what_is_composed_beside_the_first_round(max_calls: int) -> None:
    state, model = run(sensible, settings={"max_calls": max_calls, "final_choice": "best"})
    assert len(model._requests) <= max_calls
    assert state["result"]["usage"]["calls"] == len(model._requests)
    assert state["result"]["stop_reason"] == "max_calls"


async def test_what_was_drawn_is_not_paid_for_again_if_the_run_is_killed_while_it_composes() -> None:
    hangs = [True]
    model = TimedModel(write=sensible, takes=lambda kind, _: 3_600.0 if kind == "compose" and hangs[0] else 0.0)
    settings = MetaScaleSettings(reward="judge")
    graph = create_metascale(model, settings=settings, checkpointer=InMemorySaver())
    async with asyncio.TaskGroup() as group:
        killed = group.create_task(graph.ainvoke(ask(), THREAD))
        drawn = 0
        while drawn < 4:
            drawn = len([task for task in (await graph.aget_state(THREAD)).tasks if task.result is not None])
            await asyncio.sleep(0)
        killed.cancel()
    assert drawn == len(model.requests("solve")) == 4
    hangs[0] = False
    state = await graph.ainvoke(None, THREAD)
    assert len(model.requests("solve")) == state["result"]["usage"]["samples"] == 16
    pool = (await graph.aget_state(THREAD)).values["pool"]
    assert [thought["origin"] for thought in pool] == ["fixed"] * 2 + ["self_composed"] * 6


@pytest.mark.parametrize("create", [create_best_of_n, create_direct])
def test_methods_without_a_pool_reserve_nothing_for_composing_it(create: Any) -> None:
    state, model = run(sensible, create=create, settings={"batch_size": 1, "max_calls": 31})
    assert len(model._requests) == state["result"]["usage"]["calls"] <= 31
