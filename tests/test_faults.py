"""A few cells of the fault matrix (`python -m benchmarks.faults` runs all of it), and what it found."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from benchmarks.faults import measure
from metascale import MetaScaleSettings, create_metascale
from metascale.errors import NoAnswerError
from metascale.result import troubles
from tests.conftest import ServerFactory, ask, chat_model
from tests.faults import BY_NAME, FAULTS, ROLES, Cell, Role, broken, run
from tests.openai_server import Fault

AT_ONCE = 6
BROKEN = ("reset connection", "no choices")


def held(cells: list[Cell]) -> list[str]:
    """What did not hold in the cells; at least one fault was drawn in each."""
    found = asyncio.run(measure(cells, AT_ONCE))
    assert len(found) == len(cells)
    assert all(run.faults for run, _ in found.values())
    return [f"{cell}: {problem}" for cell, (_, said) in found.items() for problem in said]


@pytest.mark.parametrize("role", ROLES)
def test_a_run_keeps_its_budget_and_bill_under_every_fault(role: Role) -> None:
    faults = [fault for fault in FAULTS if role in fault.roles and fault.name != "hang"]
    if role != "solver":
        faults = [fault for fault in faults if fault.is_answered or fault.name in BROKEN]
    assert held([Cell(fault, role, 1.0 if role == "evolution" else 0.5, budget=6) for fault in faults]) == []


def test_a_model_that_always_fails_is_reported_with_the_reason() -> None:
    always = [Cell(fault, "solver", 1.0, budget=2) for fault in FAULTS if "solver" in fault.roles]
    assert held([cell for cell in always if cell.fault.name != "hang"]) == []


def test_other_methods_and_rewards_keep_budget_and_bill_under_faults() -> None:
    invoked = [Cell(BY_NAME[name], "solver", 0.5, budget=8, is_synchronous=True) for name in BROKEN]
    methods = [
        Cell(BY_NAME[name], "solver", 0.5, method=method, budget=6)
        for name in ("500", "refusal")
        for method in ("best_of_n", "self_consistency")
    ]
    rewards = [
        Cell(BY_NAME[name], "judge", 0.3, reward=reward, budget=6)
        for name in ("no choices", "wrong JSON")
        for reward in ("pairwise", "panel", "critique")
    ]
    assert held([*invoked, *methods, *rewards]) == []


async def test_a_server_that_hangs_holds_nothing_up() -> None:
    cells = [Cell(BY_NAME["hang"], role, 0.3 if role != "evolution" else 1.0, seed=1, budget=4) for role in ROLES]
    for cell, found in zip(cells, await asyncio.gather(*map(run, cells)), strict=True):
        assert broken(cell, found) == []


async def test_a_server_that_only_hangs_ends_with_the_time() -> None:
    cell = Cell(BY_NAME["hang"], "solver", 1.0, budget=4, max_seconds=0.5)
    found = await run(cell)
    assert broken(cell, found) == []
    assert "max_seconds" in str(found.error)


async def test_the_checks_notice_a_wrong_bill_and_a_silent_failure() -> None:
    cell = Cell(BY_NAME["500"], "solver", 1.0, budget=4)
    found = await run(cell)
    assert isinstance(found.error, NoAnswerError)
    assert broken(cell, found) == []
    found.state["usage"]["calls"] += 1
    found.state["candidates"][0] = {**found.state["candidates"][0], "error": None}
    assert len(broken(cell, found)) == 2


def test_a_reply_without_choices_is_asked_for_again(start_server: ServerFactory) -> None:
    def script(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        return Fault(200, json.dumps({"object": "chat.completion", "choices": []})) if number == 0 else None

    server = start_server(script=script)
    settings = MetaScaleSettings(budget=4, foresee=True, max_retries=1, seed=1)
    model = chat_model(server, max_retries=0)
    result = create_metascale(model, settings=settings).invoke(ask())["result"]
    assert result["usage"]["samples"] == 4
    assert result["usage"]["calls"] == server.requests.total()
    assert troubles(result["notes"]) == []
    assert result["foresight"] is not None


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(text="", refusal="I can't help with that."), "(the model refused)"),
        (Fault(text='{"critique": "It', finish_reason="length"), "(it was cut off at the token limit)"),
    ],
    ids=["refused", "cut"],
)
def test_why_a_judgement_could_not_be_read_is_told(fault: Fault, says: str, start_server: ServerFactory) -> None:
    server = start_server(script=lambda kind, *_: fault if kind == "judge" else None)
    settings = MetaScaleSettings(budget=2, max_retries=0, reward="judge")
    result = create_metascale(chat_model(server, max_retries=0), settings=settings).invoke(ask())["result"]
    assert any(note.startswith("2 answers are not scored") and says in note for note in result["notes"])
    assert result["answer"]
