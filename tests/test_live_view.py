"""The live view: its phase and its clock, names that tell meta-thoughts apart, small terminals, and the end."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Mapping
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from rich.console import Console

from metascale import MetaScaleSettings, create_metascale
from metascale.cli.labels import labels
from metascale.cli.live import Frame, LiveView
from metascale.cli.phases import clock, phase
from metascale.cli.session import Ended, Session
from metascale.records import MetaThought
from metascale.state import State, empty_state
from tests.conftest import QUESTION


def thought(name: str, strategy: str, mindset: str = "") -> MetaThought:
    return {
        "id": name,
        "mindset": mindset,
        "strategy": strategy,
        "origin": "self_composed",
        "parents": [],
        "generation": 0,
    }


def solved(**settings: Any) -> tuple[Ended, list[Mapping[str, int]]]:
    """A run on the offline model, and the nodes at work at every change."""
    chosen = MetaScaleSettings.model_validate({"seed": 7, "budget": 8, **settings})
    session = Session(create_metascale("simulated", settings=chosen, checkpointer=InMemorySaver()), chosen, "t")
    seen: list[Mapping[str, int]] = []
    ended = asyncio.run(session.solve(QUESTION, lambda _: None, at_work=lambda running: seen.append(dict(running))))
    return ended, seen


ENDED, SEEN = solved(evolution="always", evolve_every=1, budget=16, batch_size=4)


def drawn(frame: Any, width: int = 80, height: int = 24, encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    console.print(frame)
    file.flush()
    return file.buffer.getvalue().decode(encoding).splitlines()  # type: ignore[attr-defined]


def frame(**parts: Any) -> Frame:
    return Frame(ENDED.state, MetaScaleSettings(budget=16), **parts)


def test_every_phase_is_seen_while_it_runs_and_ends() -> None:
    together = {name for running in SEEN for name, count in running.items() if count}
    assert {"initialize_pool", "select_arm", "generate", "score", "evolve", "finalize"} <= together
    assert max(running.get("generate", 0) for running in SEEN) == 4
    assert not any(SEEN[-1].values())


def test_the_clock_ticks_while_nothing_happens() -> None:
    now = [100.0]
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    live = LiveView(console, MetaScaleSettings(budget=16), now=lambda: now[0])
    live.watch(empty_state())
    live.at_work({"initialize_pool": 1})
    for seconds in (0.5, 12.0, 185.0):
        now[0] = 100.0 + seconds
        first, second = drawn(live)[:2]
        assert first[2:].startswith(f"preparing meta-thoughts, {clock(seconds)}")
        assert clock(seconds) in second
    with live.hidden():
        now[0] += 1_000
    live.at_work({"score": 1})
    now[0] += 2
    first, second = drawn(live)[:2]
    assert first[2:].startswith("scoring 0 answers, 2.0 s")
    assert "3:07" in second, "the time of a question to a person does not count"


@pytest.mark.parametrize(
    ("running", "planned", "says"),
    [
        ({"generate": 4}, 4, "sampling 4 answers"),
        ({"generate": 1}, 1, "sampling 1 answer"),
        ({"generate": 1}, 4, "sampling: 3 of 4 answers came"),
        ({"compose": 1, "generate": 4}, 4, "sampling 4 answers"),
        ({"compose": 1, "generate": 0}, 4, "writing meta-thoughts"),
        ({"confirm": 1, "score": 0}, 0, "judging the leaders again"),
        ({"some_new_node": 1}, 0, "some new node"),
    ],
)
def test_a_phase_is_said_in_words(running: dict[str, int], planned: int, says: str) -> None:
    state: State = {**empty_state(), "plan": [{"id": i, "meta_thought": "m1", "refines": None} for i in range(planned)]}
    assert phase(running, state) == says


def test_names_tell_meta_thoughts_apart() -> None:
    long = "List every quantity that is given and what is asked, before computing."
    pool = [
        thought("no_strategy", ""),
        thought("m1", long),
        thought("m2", f"{long} Track the unit of every number."),
        thought("m3", f"{long} Estimate the size of the answer."),
        thought("m4", "Draw it.", "You are a mule."),
        thought("m5", "Draw it.", "You are a carpenter."),
        thought("m6", "Line\nbreaks   and [red]markup[/red]"),
    ]
    for width in (24, 40, 200):
        named = labels(pool, width)
        assert len(set(named)) == len(pool), width
        assert all(0 < len(name) <= width and "\n" not in name for name in named)
    assert labels(pool, 40)[2:5] == [
        "… Track the unit of every number.",
        "… Estimate the size of the answer.",
        "You are a mule. Draw it.",
    ]


@pytest.mark.parametrize("parts", [{"running": {"generate": 2}}, {"result": ENDED.result}])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 16), (120, 30), (30, 24)])
def test_it_fits_the_terminal_with_the_leader_in_it(parts: dict[str, Any], width: int, height: int) -> None:
    more = [thought(f"m{number}", f"Way {number}.") for number in range(100, 130)]
    state: State = {**ENDED.state, "pool": [*ENDED.state["pool"], *more]}
    lines = drawn(Frame(state, MetaScaleSettings(budget=16), **parts, height=height - 1), width, height)
    assert all(len(line) <= width for line in lines)
    assert len(lines) < height
    assert sum(bool(re.search(r"\*[\w…]", line)) for line in lines) == 1, "the leader is marked"
    (hidden,) = (int(found[1]) for line in lines if (found := re.search(r"and (\d+) more", line)))
    assert 15 < hidden < len(state["pool"])


def test_the_end_says_the_answer_how_sure_why_and_what_it_cost() -> None:
    text = "\n".join(drawn(frame(result=ENDED.result, note="SIMULATION", height=23)))
    answer = ENDED.result["answer"].rpartition("#### ")[2]
    usage = ENDED.result["usage"]
    for row in (
        f"answer    {answer} ",
        "found by  ",
        "how sure  ",
        "stopped   the budget is spent",
        f"cost      16 samples, {usage['calls']} calls, {usage['input_tokens']:,} tokens in",
        "the end: SIMULATION",
    ):
        assert row in text
    notes = ["1 sample failed", "the confidence rests on 9 votes for 2 final answers"]
    stopped: Any = {**ENDED.result, "stop_reason": "interrupted", "confidence": 0.9, "notes": notes}
    text = "\n".join(drawn(frame(result=stopped, height=23)))
    assert "stopped by Ctrl-C; this is the best answer so far" in text
    assert "how sure  90%, which rests on 9 votes for 2 final answers" in text


def test_money_and_failures_are_shown() -> None:
    failed: Any = {**ENDED.state["candidates"][0], "id": 99, "status": "failed", "reward": None}
    state: Any = {**ENDED.state, "candidates": [*ENDED.state["candidates"], failed]}
    state["usage"] = {**state["usage"], "cost_usd": 0.0123}
    lines = drawn(Frame(state, MetaScaleSettings(budget=16)))
    assert "samples 16/16 · $0.0123 · 1 failed · calls" in lines[0]


def test_several_models_are_shown_with_their_samples_under_each_arm() -> None:
    candidates: Any = [
        {**c, "model": "small" if number else "openai:large"} for number, c in enumerate(ENDED.state["candidates"])
    ]
    state: Any = {**ENDED.state, "candidates": candidates}
    lines = drawn(Frame(state, MetaScaleSettings()))
    assert any("model" in line for line in lines)
    assert any("large 1" in line for line in lines)
    assert not any("model" in line for line in drawn(Frame(ENDED.state, MetaScaleSettings())))


@pytest.mark.parametrize("parts", [{"running": {"generate": 2}}, {"result": ENDED.result}])
def test_a_terminal_without_unicode_gets_plain_characters(parts: dict[str, Any]) -> None:
    text = "\n".join(drawn(frame(**parts, height=23), encoding="cp437"))
    assert text.isascii()
    assert set(re.findall(r"\\u....", text)) <= {"\\u2019"}, "the answer itself has one"
