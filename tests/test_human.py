"""People in the loop: the pool is reviewed, and more budget is granted."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from typer.testing import CliRunner, Result

from metascale import MetaScaleError, MetaScaleSettings, SettingError, ThreadError, create_metascale, grant
from metascale.cli.app import app
from metascale.interrupts import AnswerError, edited_pool, granted_samples
from metascale.memory.store import StrategyMemory
from metascale.records import MetaThought
from tests.command_line import end_of, start_solving, wait_for
from tests.conftest import QUESTION, THREAD, ServerFactory, ask
from tests.scripted import ScriptedModel, sensible

EDITS = {
    "drop": ["m2", "no_strategy"],
    "change": [{"id": "m1", "strategy": "Count on your fingers."}],
    "add": [{"mindset": "You are a mule.", "strategy": "Refuse the first answer."}],
}


def build(**settings: Any) -> tuple[Any, ScriptedModel]:
    model = ScriptedModel(write=sensible)
    chosen = MetaScaleSettings.model_validate(
        {"budget": 8, "seed": 1, "confirm": 0, "stop_on_agreement": None, **settings}
    )
    return create_metascale(model, settings=chosen, checkpointer=InMemorySaver()), model


def question_of(out: dict[str, Any]) -> dict[str, Any]:
    (asked,) = out["__interrupt__"]
    assert json.loads(json.dumps(asked.value, allow_nan=False)) == asked.value
    return dict(asked.value)


def test_the_pool_is_reviewed_before_any_sample_and_paid_for_once() -> None:
    graph, model = build(review_pool=True)
    asked = question_of(graph.invoke(ask(), THREAD))
    assert asked["asks"] == "review_pool"
    assert asked["question"] == QUESTION
    assert [set(thought) for thought in asked["pool"]] == [{"id", "mindset", "strategy", "origin"}] * 8
    assert not model.requests("solve")
    again = question_of(graph.invoke(Command(resume={"drop": ["m9"]}), THREAD))
    assert again == {**asked, "problem": again["problem"]}
    assert "there is no meta-thought 'm9'" in again["problem"]
    out = graph.invoke(Command(resume=EDITS), THREAD)
    state = graph.get_state(THREAD).values
    assert [t["id"] for t in state["pool"][:7]] == ["chain_of_thought", "m1", "m3", "m4", "m5", "m6", "m7"]
    changed, added = state["pool"][1], state["pool"][6]
    assert (changed["strategy"], changed["origin"]) == ("Count on your fingers.", "human")
    assert (added["mindset"], added["origin"]) == ("You are a mule.", "human")
    assert out["result"]["usage"]["samples"] == len(model.requests("solve")) == 8
    assert len(model.requests("compose")) == 1
    assert out["result"]["usage"]["calls"] == len(model._requests)
    asked_systems = " ".join(messages[0].text for messages in model.requests("solve"))
    assert "Refuse the first answer." in asked_systems
    assert "Count on your fingers." in asked_systems


@pytest.mark.parametrize("answer", [True, "accept"])
async def test_a_pool_that_is_accepted_makes_the_run_that_nobody_reviewed(answer: Any) -> None:
    reviewed, _ = build(review_pool=True, batch_size=1)  # answers are numbered as they are asked for, in threads
    await reviewed.ainvoke(ask(), THREAD)
    await reviewed.ainvoke(Command(resume=answer), THREAD)
    plain, _ = build(batch_size=1)
    await plain.ainvoke(ask(), THREAD)
    one, other = reviewed.get_state(THREAD).values, plain.get_state(THREAD).values
    assert one["pool"] == other["pool"]
    assert [c["text"] for c in one["candidates"]] == [c["text"] for c in other["candidates"]]


def test_children_never_take_the_id_of_another_meta_thought() -> None:
    graph, _ = build(review_pool=True, budget=24, evolution="always")
    graph.invoke(ask(), THREAD)
    graph.invoke(Command(resume={"drop": ["m1", "m2"]}), THREAD)
    ids = [t["id"] for t in graph.get_state(THREAD).values["pool"]]
    assert len(ids) == len(set(ids)) > 6
    assert ids[:6] == ["chain_of_thought", "no_strategy", "m3", "m4", "m5", "m6"]


def thought(name: str, strategy: str, origin: Any = "self_composed") -> MetaThought:
    return {"id": name, "mindset": "", "strategy": strategy, "origin": origin, "parents": [], "generation": 0}


POOL = [thought("chain_of_thought", "Step by step.", "fixed"), thought("m1", "Draw it."), thought("m2", "Guess first.")]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("yes please", "PoolEdits"),
        ({"drpo": ["m1"]}, "drpo"),
        ({"drop": ["m1", "m1"]}, "more than once"),
        ({"drop": ["m1"], "change": [{"id": "m1", "strategy": "Halve it."}]}, "more than once"),
        ({"drop": ["chain_of_thought", "m1", "m2"]}, "no meta-thought would be left"),
        ({"change": [{"id": "chain_of_thought", "strategy": "Leap."}]}, "cannot be changed"),
        ({"change": [{"id": "m1", "strategy": " "}]}, "needs a mindset or a strategy"),
        ({"change": [{"id": "m1", "strategy": "guess  FIRST."}]}, "nearly the same as 'm2'"),
        ({"add": [{}]}, "needs a mindset or a strategy"),
        ({"add": [{"strategy": "Draw it."}]}, "'m3' says nearly the same as 'm1'"),
        ({"add": [{"strategy": "x" * 5_000}]}, "at most 4000"),
        ({"add": [{"strategy": "abc"}, {"strategy": "def"}]}, "5 meta-thoughts are more than max_pool allows"),
    ],
)
def test_edits_that_make_no_sense_are_refused_with_the_reason(answer: Any, complaint: str) -> None:
    with pytest.raises(AnswerError, match=complaint):
        edited_pool(POOL, answer, MetaScaleSettings(max_pool=4))


@pytest.mark.parametrize("answer", [-1, 1.5, True, "many", 200_000, [4]])
def test_grants_that_make_no_sense_are_refused(answer: Any) -> None:
    with pytest.raises(AnswerError, match="a number from 0 to 100,000"):
        granted_samples(answer)
    assert granted_samples(None) == 0
    assert granted_samples("8") == 8


def test_the_budget_question_goes_on_or_ends_the_run() -> None:
    graph, model = build(ask_for_budget=True)
    asked = question_of(graph.invoke(ask(), THREAD))
    assert (asked["asks"], asked["budget"], asked["stop_reason"]) == ("grant_budget", 8, "budget")
    assert asked["usage"]["samples"] == 8
    assert asked["answer"].startswith("Answer ")
    assert "not 'some'" in question_of(graph.invoke(Command(resume="some"), THREAD))["problem"]
    asked = question_of(graph.invoke(Command(resume=5), THREAD))
    assert (asked["budget"], asked["usage"]["samples"]) == (13, 13)
    out = graph.invoke(Command(resume=0), THREAD)
    assert out["result"]["stop_reason"] == "budget"
    assert out["result"]["usage"]["samples"] == len(model.requests("solve")) == 13
    assert out["result"]["usage"]["calls"] == len(model._requests)


def test_nobody_is_asked_for_a_budget_that_would_not_help() -> None:
    graph, _ = build(ask_for_budget=True, max_calls=9, budget=64)
    assert graph.invoke(ask(), THREAD)["result"]["stop_reason"] == "max_calls"


def test_the_granted_budget_is_seen_by_the_policy_and_the_second_look() -> None:
    seen: list[int] = []

    class Watching:
        def plan(self, arms: Any, size: int, rng: Any, *, left: int) -> list[int]:  # noqa: ARG002
            seen.append(left)
            return [0] * size

    settings = MetaScaleSettings(budget=4, ask_for_budget=True, batch_size=4, seed=1)
    graph = create_metascale("simulated", settings=settings, policy=Watching(), checkpointer=InMemorySaver())
    graph.invoke(ask(), THREAD)
    graph.invoke(Command(resume=12), THREAD)
    assert seen == [4, 12, 8, 4]
    looks = sum(len(f["looks"]) for f in graph.invoke(Command(resume=0), THREAD)["result"]["finalists"])
    assert looks <= 8


@pytest.mark.parametrize("name", ["review_pool", "ask_for_budget"])
def test_without_a_checkpointer_it_says_so_before_it_spends_anything(name: str) -> None:
    model = ScriptedModel(write=sensible)
    graph = create_metascale(model, settings=MetaScaleSettings.model_validate({name: True}))
    for config in (None, THREAD):
        with pytest.raises(SettingError, match=f"'{name}' needs a checkpointer"):
            graph.invoke(ask(), config)
    assert not model._requests


async def test_a_finished_thread_goes_on_with_what_it_is_granted(tmp_path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "runs.sqlite")) as saver:
        model = ScriptedModel(write=sensible)
        settings = MetaScaleSettings(budget=8, seed=1)
        graph = create_metascale(model, settings=settings, checkpointer=saver)
        await graph.ainvoke(ask(), THREAD)
        before = (await graph.aget_state(THREAD)).values
        calls = len(model._requests)
        nodes = [node async for update in graph.astream(grant(6), THREAD, stream_mode="updates") for node in update]
        assert nodes[:2] == ["grant_budget", "select_arm"]
        assert nodes.count("generate") == 6
        after = (await graph.aget_state(THREAD)).values
        assert [m.type for m in after["messages"]] == ["human", "ai"]
        assert after["messages"][-1].text == after["result"]["answer"]
        assert after["pool"][:8] == before["pool"]
        assert [c["text"] for c in after["candidates"][:8]] == [c["text"] for c in before["candidates"]]
        assert after["result"]["usage"]["samples"] == len(after["candidates"]) == len(model.requests("solve")) == 14
        assert after["result"]["usage"]["calls"] == len(model._requests) > calls
        assert all(messages[-1].text.startswith(QUESTION) for messages in model.requests("solve"))
        assert not any("Assistant:" in messages[1].text for messages in model.requests("judge"))
        await graph.ainvoke(grant(2), THREAD)
        assert (await graph.aget_state(THREAD)).values["result"]["usage"]["samples"] == 16


def test_a_granted_run_that_is_cut_off_remembers_the_grant(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "runs.sqlite")) as saver:
        graph = create_metascale(
            "simulated", settings=MetaScaleSettings(stop_on_agreement=None, budget=4, seed=1), checkpointer=saver
        )
        whole: RunnableConfig = {"configurable": {"thread_id": "whole"}}
        for config in (whole, THREAD):
            graph.invoke(ask(), config)
        graph.invoke(grant(8), whole)
        stream = graph.stream(grant(8), THREAD, stream_mode="updates", durability="sync")
        for _ in range(4):
            next(stream)
        stream.close()
        graph.invoke(None, THREAD)
        one, other = (graph.get_state(config).values for config in (whole, THREAD))
        assert one["candidates"] == other["candidates"]
        assert len(one["candidates"]) == 12


def test_a_grant_that_cannot_help_or_has_no_run_says_so() -> None:
    settings = MetaScaleSettings(stop_on_agreement=None, budget=16, max_calls=9, seed=1)
    graph = create_metascale("simulated", settings=settings, checkpointer=InMemorySaver())
    spent = graph.invoke(ask(), THREAD)["result"]["usage"]["samples"]
    result = graph.invoke(grant(4), THREAD)["result"]
    assert result["usage"]["samples"] == spent
    assert "more samples were granted, but 'max_calls' still ends the search" in result["notes"]
    graph.update_state(THREAD, {"messages": [{"role": "user", "content": "And then?"}]}, as_node="finalize")
    with pytest.raises(ThreadError, match="does not end with the answer"):
        graph.invoke(grant(4), THREAD)
    with pytest.raises(MetaScaleError):
        graph.invoke(grant(4), {"configurable": {"thread_id": "empty"}})
    for useless in (0, -3, "x"):
        with pytest.raises(AnswerError):
            grant(useless)  # type: ignore[arg-type]


def test_a_synthesis_ends_the_search_once_a_grant() -> None:
    graph, _ = build(synthesize=True, confirm=None)
    graph.invoke(ask(), THREAD)
    out = graph.invoke(grant(6), THREAD)
    state = graph.get_state(THREAD).values
    assert out["result"]["usage"]["samples"] == len(state["candidates"]) == 14
    written = [c["id"] for c in state["candidates"] if c["meta_thought"] == "synthesis"]
    assert written == [7, 13]


async def test_a_granted_run_is_remembered_once() -> None:
    store = InMemoryStore()
    settings = MetaScaleSettings(budget=6, seed=1, memory="m")
    graph = create_metascale("simulated", settings=settings, checkpointer=InMemorySaver(), store=store)
    await graph.ainvoke(ask(), THREAD)
    await graph.ainvoke(grant(4), THREAD)
    (run,) = (await StrategyMemory(store, "m").runs()).values()
    assert sum(record.pulls for record in run.records.values()) == 10


def inside(graph: Any, form: str) -> Any:
    """Somebody else's graph around ours: as a node, or called by one."""

    async def think(state: MessagesState) -> dict[str, Any]:
        out = await graph.ainvoke({"messages": state["messages"]}, {"recursion_limit": 500})
        return {"messages": out["messages"][-1:]}

    parent = StateGraph(MessagesState)
    parent.add_node("think", graph if form == "node" else think)
    parent.add_edge(START, "think")
    return parent.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("form", ["node", "call"])
async def test_interrupts_reach_a_parents_caller_and_answers_come_back(form: str) -> None:
    model = ScriptedModel(write=sensible)
    settings = MetaScaleSettings(budget=4, review_pool=True, ask_for_budget=True, seed=1, confirm=0)
    parent = inside(create_metascale(model, settings=settings), form)
    assert question_of(await parent.ainvoke(ask(), THREAD))["asks"] == "review_pool"
    asked = question_of(await parent.ainvoke(Command(resume={"drop": ["m1"]}), THREAD))
    assert (asked["asks"], asked["usage"]["samples"]) == ("grant_budget", 4)
    asked = question_of(await parent.ainvoke(Command(resume=3), THREAD))
    assert (asked["budget"], asked["usage"]["samples"]) == (7, 7)
    out = await parent.ainvoke(Command(resume=0), THREAD)
    assert set(out) == {"messages"}
    assert [m.type for m in out["messages"]] == ["human", "ai"]
    assert len(model.requests("compose")) == 1
    assert len(model.requests("solve")) == 7


def test_interrupts_reach_a_parent_synchronously() -> None:
    parent = inside(create_metascale("simulated", settings=MetaScaleSettings(budget=2, review_pool=True)), "node")
    assert question_of(parent.invoke(ask(), THREAD))["asks"] == "review_pool"
    assert parent.invoke(Command(resume=True), THREAD)["messages"][-1].type == "ai"


def metascale(*options: str) -> Result:
    """The command line without a terminal, in this process: a dozen of them start sooner."""
    return CliRunner().invoke(app, ["solve", QUESTION, "--model", "simulated", *options])


def solve(tmp_path: Path, *options: str) -> Result:
    place = ("--db", str(tmp_path / "runs.sqlite"), "--thread", "t")
    return metascale("--seed", "3", "--budget", "4", "--set", "stop_on_agreement=null", *place, *options)


def test_the_command_line_waits_for_a_review_and_takes_it_from_a_file(tmp_path: Path) -> None:
    waits = solve(tmp_path, "--review-pool", "--json")
    assert waits.exit_code == 3
    asked = json.loads(waits.stdout)["waits_for"]
    assert (asked["asks"], len(asked["pool"])) == ("review_pool", 8)
    assert "the same command with --pool FILE goes on" in waits.stderr
    review = tmp_path / "review.json"
    review.write_text('{"drop": ["m77"]}')
    refused = solve(tmp_path, "--review-pool", "--pool", str(review))
    assert refused.exit_code == 2
    assert "--pool: there is no meta-thought 'm77'" in refused.stderr.splitlines()[-1]
    review.write_text(json.dumps({"drop": [t["id"] for t in asked["pool"][2:]], "add": [{"strategy": "Ask a mule."}]}))
    done = solve(tmp_path, "--review-pool", "--pool", str(review), "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert [arm["id"] for arm in found["pool"]] == ["chain_of_thought", "no_strategy", "m7"]
    assert found["pool"][2]["origin"] == "human"
    assert found["usage"]["samples"] == 4


def test_a_run_goes_on_whether_the_options_that_ask_people_are_repeated_or_not(tmp_path: Path) -> None:
    assert solve(tmp_path, "--review-pool").exit_code == 3
    assert solve(tmp_path).exit_code == 3, "it still waits for the review"
    review = tmp_path / "edits.json"
    review.write_text('{"add": [{"strategy": "Ask a mule."}]}')
    first = solve(tmp_path, "--pool", str(review), "--json")
    assert json.loads(first.stdout)["usage"]["samples"] == 4
    for number, options in enumerate([("--more", "16"), ("--more", "2", "--review-pool"), ("--more", "2")]):
        done = solve(tmp_path, *options, "--json")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["usage"]["samples"] == 20 + 2 * number
    assert any(arm["origin"] == "human" for arm in json.loads(done.stdout)["pool"])


def test_a_run_that_asks_for_budget_goes_on_without_the_option(tmp_path: Path) -> None:
    assert solve(tmp_path, "--ask-for-budget").exit_code == 3
    done = solve(tmp_path, "--more", "2", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["usage"]["samples"] == 6


def test_the_command_line_grants_more_to_a_finished_thread(tmp_path: Path) -> None:
    missing = solve(tmp_path, "--more", "4")
    assert (missing.exit_code, "no finished run" in missing.stderr) == (2, True)
    first = json.loads(solve(tmp_path, "--json").stdout)
    then = json.loads(solve(tmp_path, "--json", "--more", "4").stdout)
    assert then["usage"]["samples"] == 8
    assert then["usage"]["calls"] > first["usage"]["calls"]
    assert [c["text"] for c in then["candidates"][:4]] == [c["text"] for c in first["candidates"]]
    again = solve(tmp_path, "--json")
    assert json.loads(again.stdout)["usage"] == then["usage"]
    changed = solve(tmp_path, "--more", "4", "--set", "beta=2")
    assert changed.exit_code == 2
    assert "beta was 0.3 and is now 2.0" in changed.stderr


def test_a_grant_that_is_killed_goes_on_and_is_not_given_twice(tmp_path: Path, start_server: ServerFactory) -> None:
    server = start_server()
    place = ("--seed", "3", "--budget", "4", "--db", str(tmp_path / "runs.sqlite"), "--thread", "t")
    assert end_of(start_solving(server, *place))[0]
    server.ready = lambda kind, number: kind != "solve" or number < 4 + 6
    process = start_solving(server, *place, "--more", "8")
    wait_for(server, "solve", 4 + 5, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.ready = None
    found = json.loads(end_of(start_solving(server, *place, "--more", "8"))[0])
    assert found["usage"]["samples"] == len(found["candidates"]) == 12


def test_a_run_is_finished_before_it_is_granted_more(tmp_path: Path) -> None:
    assert solve(tmp_path, "--review-pool").exit_code == 3
    early = solve(tmp_path, "--review-pool", "--more", "4")
    assert (early.exit_code, early.stderr.count("\n")) == (2, 1)
    assert "continue it before it is granted more" in early.stderr


def test_the_command_line_waits_for_more_budget(tmp_path: Path) -> None:
    for option, code in ((), 3), (("--more", "3"), 3), (("--more", "0", "--json"), 0):
        done = solve(tmp_path, "--ask-for-budget", *option)
        assert done.exit_code == code, done.stderr
    assert json.loads(done.stdout)["usage"]["samples"] == 7
    assert solve(tmp_path, "--ask-for-budget", "--more", "2").exit_code == 3
    done = solve(tmp_path, "--ask-for-budget", "--more", "0", "--json")
    assert json.loads(done.stdout)["usage"]["samples"] == 9
    assert solve(tmp_path, "--ask-for-budget", "--more", "0").exit_code == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--review-pool",), "--review-pool needs a terminal"),
        (("--ask-for-budget",), "--ask-for-budget needs a terminal"),
        (("--more", "3"), "--more needs --db and --thread"),
        (("--pool", "/nonexistent"), "--pool: the file cannot be read"),
        (("--method", "direct", "--more", "3"), "only the method 'metascale'"),
    ],
)
def test_questions_that_nobody_could_answer_are_refused(options: tuple[str, ...], says: str) -> None:
    done = metascale(*options)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert says in done.stderr


class Terminal:
    """The command line on a terminal, and somebody who reads and types."""

    def __init__(self, *options: str, **environment: str) -> None:
        command = [sys.executable, "-m", "metascale.cli", "solve", QUESTION, "--model", "simulated", *options]
        settings = {**os.environ, "COLUMNS": "120", "TERM": "xterm", **environment}
        for name in {"EDITOR", "VISUAL"} - set(environment):
            settings.pop(name, None)
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, command, settings)
        self.shown = ""
        self.seen = 0

    def read(self, until: str) -> None:
        while until not in self.shown[self.seen :]:
            self.shown += os.read(self.file, 65_536).decode(errors="replace")
        self.seen = self.shown.index(until, self.seen) + len(until)

    def type(self, line: str) -> None:
        os.write(self.file, f"{line}\n".encode())

    def end(self) -> int:
        with contextlib.suppress(OSError):
            while chunk := os.read(self.file, 65_536):
                self.shown += chunk.decode(errors="replace")
        os.close(self.file)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def interrupt(self) -> int:
        """Press Ctrl-C, and again where nothing comes of it: Python's `input` may miss one as it begins to wait."""
        while True:
            os.kill(self.pid, signal.SIGINT)
            if select.select([self.file], [], [], 10)[0]:
                return self.end()


def test_a_pool_is_reviewed_on_a_terminal(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "# mindset\\nYou are a mule.\\n\\n# strategy\\nRefuse at first.\\n" > "$1"\n')
    editor.chmod(0o755)
    place = ("--db", str(tmp_path / "runs.sqlite"), "--thread", "t")
    terminal = Terminal(
        "--seed",
        "3",
        "--budget",
        "6",
        "--set",
        "stop_on_agreement=null",
        "--review-pool",
        "--ask-for-budget",
        *place,
        EDITOR=str(editor),
    )
    for line in ("drop m1 m2", "drop m99", "edit m3", "edit no_strategy", "add", ""):
        terminal.read("add: ")
        terminal.type(line)
    terminal.read("How many more samples? (Enter: none) ")
    terminal.type("2")
    terminal.read("samples 8/8")
    terminal.read("How many more samples? (Enter: none) ")
    terminal.type("")
    assert terminal.end() == 0, terminal.shown
    for expected in ("there is no meta-thought 'm99'", "'no_strategy' cannot be changed", "nearly the same as 'm3'"):
        assert expected in terminal.shown
    with SqliteSaver.from_conn_string(place[1]) as saver:
        state = create_metascale("simulated", checkpointer=saver).get_state(THREAD).values
    assert [t["id"] for t in state["pool"]] == ["chain_of_thought", "no_strategy", "m3", "m4", "m5", "m6"]
    assert (state["pool"][2]["mindset"], state["pool"][2]["origin"]) == ("You are a mule.", "human")
    assert state["result"]["usage"]["samples"] == 8


def test_ctrl_c_at_a_question_leaves_the_thread_to_go_on(tmp_path: Path) -> None:
    options = ("--seed", "3", "--budget", "4", "--set", "stop_on_agreement=null", "--review-pool", "--ask-for-budget")
    options += ("--db", str(tmp_path / "runs.sqlite"), "--thread", "t")
    terminal = Terminal(*options)
    terminal.read("add: ")
    assert terminal.interrupt() == 1
    assert "interrupted before the first answer" in terminal.shown
    terminal = Terminal(*options)
    terminal.read("add: ")
    terminal.type("add")
    terminal.read("mindset")
    terminal.type("You are a mule.")
    terminal.read("strategy (Enter")
    terminal.type("Refuse at first.")
    terminal.read("add: ")
    terminal.type("")
    terminal.read("How many more samples? (Enter: none) ")
    assert terminal.interrupt() == 0
    assert "Interrupted; the same command continues the run." in terminal.shown
    terminal = Terminal(*options)
    terminal.read("How many more samples?")
    terminal.type("")
    assert terminal.end() == 0
    done = metascale(*options, "--json")
    found = json.loads(done.stdout)
    assert found["usage"]["samples"] == 4
    assert found["pool"][-1]["mindset"] == "You are a mule."
