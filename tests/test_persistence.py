"""Checkpoints: small, plain, and enough to go on from."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Send
from typer.testing import CliRunner

from metascale import MetaScaleSettings, create_metascale
from metascale.cli.app import app
from metascale.cli.session import Session
from metascale.errors import ThreadError
from metascale.events import Event, follow
from metascale.graphs.routes import to_samples
from metascale.interrupts import Grant
from metascale.state import State, empty_state, fold
from tests.command_line import end_of, errors_in, start_solving, wait_for
from tests.conftest import QUESTION, THREAD, ServerFactory, ask
from tests.openai_server import Fault
from tests.runs import kept_in, plain
from tests.scripted import ScriptedModel, sensible
from tests.waiting import wait_until

DATA = Path(__file__).parent / "data"
BEGUN_WITH = {"budget": 12, "batch_size": 4, "seed": 1}
"""The settings of the runs that `tests/data/make_checkpoint.py` began."""


def begun_by(commit: str, folder: Path) -> Path:
    """A database in which an earlier commit began a run."""
    path = folder / "runs.sqlite"
    path.write_bytes(gzip.decompress((DATA / f"begun_by_{commit}.sqlite.gz").read_bytes()))
    return path


def test_a_run_that_an_earlier_version_began_goes_on(tmp_path: Path) -> None:
    path = begun_by("1e5626b", tmp_path)
    kept = kept_in(path)
    options = [
        "--budget",
        "12",
        "--set",
        "stop_on_agreement=null",
        "--batch-size",
        "4",
        "--seed",
        "1",
        "--model",
        "simulated",
        "--json",
    ]
    done = CliRunner().invoke(app, ["solve", QUESTION, *options, "--db", str(path), "--thread", "t"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(kept) == 4
    assert kept.items() <= {c["id"]: c["text"] for c in found["candidates"]}.items()
    assert found["usage"]["samples"] == 12


def test_a_run_that_cannot_go_on_is_refused_in_one_line(tmp_path: Path) -> None:
    path = begun_by("9a9ea57", tmp_path)
    done = CliRunner().invoke(app, ["solve", QUESTION, "--policy", "upper_tail", "--db", str(path), "--thread", "t"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 2)  # the other line says that this is a simulation
    assert "policy was 'ucb' and is now 'upper_tail'" in done.stderr
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graph = create_metascale("simulated", settings=MetaScaleSettings(**BEGUN_WITH), checkpointer=saver)
        with pytest.raises(ThreadError, match="an earlier version of metascale started this run"):
            graph.invoke(None, THREAD)
        assert len(graph.get_state(THREAD).values["candidates"]) == 4


class CutError(Exception):
    """The process ends."""


class CutSaver(InMemorySaver):
    """A process ends right after it saved what a run is given, before anything was done with it."""

    is_cut = True

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        saved = await super().aput(config, checkpoint, metadata, new_versions)
        if self.is_cut and metadata["source"] == "input":
            raise CutError
        return saved


async def test_a_run_cut_off_before_its_first_step_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = MetaScaleSettings(budget=2, seed=1)
    session = Session(create_metascale("simulated", settings=settings, checkpointer=CutSaver()), settings, "t")
    for number, question in enumerate(("What is 1 + 1?", QUESTION), 1):
        monkeypatch.setattr(CutSaver, "is_cut", True)  # LangGraph may use a copy of the saver
        with pytest.raises(CutError):
            await session.solve(question, lambda _: None)
        with pytest.raises(ThreadError, match="has not finished"):
            await session.solve(question, lambda _: None, more=Grant(samples=4))
        monkeypatch.setattr(CutSaver, "is_cut", False)
        ended = await session.solve(question, lambda _: None)
        assert ended.result["usage"]["samples"] == 2
        assert [message.type for message in ended.state["messages"] if message.type == "human"] == ["human"] * number


def saved_bytes(path: Path) -> int:
    with sqlite3.connect(path) as db:
        sizes = db.execute(
            "select (select sum(length(checkpoint) + length(metadata)) from checkpoints)"
            " + (select sum(length(value)) from writes)"
        ).fetchone()
    db.close()
    return int(sizes[0])


def test_checkpoint_bytes_grow_linearly(tmp_path: Path) -> None:
    def long_winded(kind: str, number: int, messages: Any) -> Any:
        return f"Answer {number}. {'Because. ' * 160}" if kind == "solve" else sensible(kind, number, messages)

    bytes_a_sample = {}
    for budget in (32, 128, 512):
        path = tmp_path / f"{budget}.sqlite"
        settings = MetaScaleSettings(budget=budget, batch_size=4, evolution="always", evolve_every=4)
        with SqliteSaver.from_conn_string(str(path)) as saver:
            graph = create_metascale(ScriptedModel(write=long_winded), settings=settings, checkpointer=saver)
            graph.invoke(ask(), THREAD)
        bytes_a_sample[budget] = saved_bytes(path) / budget
    for budget in (128, 512):
        assert bytes_a_sample[budget] == pytest.approx(bytes_a_sample[32], rel=0.2), bytes_a_sample


IMAGE = base64.b64encode(random.Random(0).randbytes(600_000)).decode()
CONVERSATIONS: dict[str, list[Any]] = {
    "an image": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": IMAGE}}],
    "a document": [{"type": "text", "text": f"{'Lorem ipsum dolor. ' * 4_700} What is 2 + 2?"}],
}


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("content", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_checkpoint_holds_the_conversation_once(content: list[Any], batch: int, tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    settings = MetaScaleSettings(budget=16, batch_size=batch, seed=1)
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graph = create_metascale("simulated", settings=settings, checkpointer=saver)
        graph.invoke({"messages": [{"role": "user", "content": content}]}, THREAD)
        checkpoints = len(list(saver.list(THREAD)))
    conversation = len(json.dumps(content))
    rest = 20_000 * checkpoints
    assert conversation * checkpoints < saved_bytes(path) < conversation * (checkpoints + 1) + rest


def as_before(state: State) -> Any:
    """The samples of a round in checkpoints of earlier versions: each with the conversation."""
    return [Send(one.node, {**one.arg, "messages": state["messages"]}) for one in to_samples(state)]


@pytest.mark.parametrize("plan", [to_samples, as_before])
def test_a_round_that_was_cut_off_goes_on_with_the_same_question(
    plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(kind: str, number: int, messages: Any) -> Any:
        if kind == "solve" and number >= 2:
            raise KeyboardInterrupt
        return sensible(kind, number, messages)

    settings = MetaScaleSettings(budget=4, batch_size=4)
    config: Any = {**THREAD, "max_concurrency": 1}
    with SqliteSaver.from_conn_string(str(tmp_path / "runs.sqlite")) as saver:
        with monkeypatch.context() as earlier:
            earlier.setattr("metascale.graphs.routes.to_samples", plan)
            graph = create_metascale(ScriptedModel(write=cut), settings=settings, checkpointer=saver)
        with pytest.raises(KeyboardInterrupt):
            graph.invoke(ask(), config, durability="sync")
        model = ScriptedModel(write=sensible)
        create_metascale(model, settings=settings, checkpointer=saver).invoke(None, config)
    asked = model.requests("solve")
    assert len(asked) == 2
    assert all(QUESTION in messages[-1].text for messages in asked)


def test_the_same_seed_gives_the_same_run_parallel_sequential_and_resumed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    settings = MetaScaleSettings(stop_on_agreement=None, budget=16, evolution="always", seed=5)
    with SqliteSaver.from_conn_string(str(tmp_path / "runs.sqlite")) as saver:
        graph = create_metascale("simulated", settings=settings, checkpointer=saver)

        def thread(name: str) -> Any:
            return {"configurable": {"thread_id": name}}

        graph.invoke(ask(), thread("parallel"))
        expected = plain(graph.get_state(thread("parallel")).values)
        graph.invoke(ask(), {**thread("sequential"), "max_concurrency": 1})
        assert plain(graph.get_state(thread("sequential")).values) == expected
        for cut in range(1, 24, 3):
            config = thread(f"cut {cut}")
            stream = graph.stream(ask(), config, stream_mode="updates", durability="sync")
            for _ in range(cut):
                next(stream)
            stream.close()
            assert not graph.get_state(config).values.get("result")
            graph.invoke(None, config)
            assert plain(graph.get_state(config).values) == expected
        other = create_metascale("simulated", settings=settings.model_copy(update={"seed": 6}), checkpointer=saver)
        other.invoke(ask(), thread("other"))
        assert plain(other.get_state(thread("other")).values) != expected
    assert not caplog.records


def test_state_is_plain_data(tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "runs.sqlite")) as saver:
        graph = create_metascale("simulated", settings=MetaScaleSettings(budget=8), checkpointer=saver)
        graph.invoke(ask(), THREAD)
        values = graph.get_state(THREAD).values
    del values["messages"]
    assert json.loads(json.dumps(values, allow_nan=False)) == values


@pytest.mark.parametrize(("seed", "happens"), [(2, "looked"), (14, "retired")])
def test_followed_events_equal_the_state(seed: int, happens: str) -> None:
    chosen = {
        "stop_on_agreement": None,
        "batch_size": 4,
        "budget": 40,
        "evolution": "always",
        "evolve_every": 1,
        "max_pool": 9,
        "synthesize": True,
    }
    settings = MetaScaleSettings.model_validate({**chosen, "final_choice": "best", "seed": seed})
    graph = create_metascale("simulated", settings=settings, checkpointer=InMemorySaver())
    state = empty_state()
    happened = set()
    for event in graph.stream(ask(), THREAD, stream_mode="custom"):
        state = follow(state, cast("Event", event))
        happened |= {event["event"]} | ({"retired"} if event.get("retired") else set())
    assert {"pool", "pulled", "sampled", "scored", "evolved", "chosen", happens} <= happened
    values = graph.get_state(THREAD).values
    state["candidates"].sort(key=lambda candidate: candidate["id"])
    unseen = ("memo", "wording")
    for seen, held in zip(state["candidates"], values["candidates"], strict=True):
        assert {k: v for k, v in seen.items() if k not in unseen} == {k: v for k, v in held.items() if k not in unseen}
    for key in ("samples", "calls", "input_tokens", "output_tokens"):
        assert state["usage"][key] == values["usage"][key]  # type: ignore[literal-required]
    for key in ("pool", "result", "round"):
        assert state[key] == values[key]  # type: ignore[literal-required]


async def test_a_state_is_edited_wherever_a_run_stood_and_the_fork_goes_on_from_there() -> None:
    settings = MetaScaleSettings(
        budget=24, batch_size=4, evolution="always", evolve_every=2, head_start=0, confirm=0, stop_on_agreement=None
    )
    graph = create_metascale(ScriptedModel(write=sensible), settings=settings, checkpointer=InMemorySaver())
    first = graph.invoke(ask(), THREAD)["result"]
    end = cast("Any", graph.get_state(THREAD).config)
    stops = [s for s in graph.get_state_history(THREAD) if s.next in {("select_arm",), ("evolve",), ("finalize",)}]
    assert len({s.next for s in stops}) == 3
    for stop in stops:
        edited = graph.update_state(stop.config, {"notes": ["edited"]})
        assert graph.get_state(edited).next == stop.next
    middle = next(s for s in reversed(stops) if s.next == ("select_arm",) and s.values["round"] == 3)
    best = first["meta_thought"]["id"]
    before = sum(c["meta_thought"] == best for c in middle.values["candidates"])
    assert before < sum(c["meta_thought"] == best for c in graph.get_state(end).values["candidates"])
    for edit in ("sync", "async"):
        retire = {"pool": [{"id": best, "retired": True}]}
        if edit == "sync":
            fork = graph.update_state(middle.config, retire)
            result = graph.invoke(None, cast("Any", fork), context=MetaScaleSettings(budget=32))["result"]
        else:
            fork = await graph.aupdate_state(middle.config, retire)
            result = (await graph.ainvoke(None, cast("Any", fork), context=MetaScaleSettings(budget=32)))["result"]
        candidates = graph.get_state(THREAD).values["candidates"]
        assert [c["id"] for c in candidates] == list(range(32))
        assert candidates[:12] == middle.values["candidates"]
        assert sum(c["meta_thought"] == best for c in candidates) == before
        assert (result["usage"]["samples"], result["stop_reason"]) == (32, "budget")
    assert graph.get_state(end).values["result"] == first, "the run that was forked keeps its end"


def test_a_fork_of_a_search_that_is_about_to_end_goes_on_with_a_larger_budget() -> None:
    for confirm in (0, None):
        settings = MetaScaleSettings(budget=8, confirm=confirm)
        graph = create_metascale(ScriptedModel(write=sensible), settings=settings, checkpointer=InMemorySaver())
        first = graph.invoke(ask(), THREAD)["result"]
        assert (first["usage"]["samples"], first["stop_reason"]) == (8, "budget")
        for stop in [s for s in graph.get_state_history(THREAD) if s.next == ("finalize",)]:
            result = graph.invoke(None, stop.config, context=MetaScaleSettings(budget=12))["result"]
            assert (result["usage"]["samples"], result["stop_reason"]) == (12, "budget")


def test_folded_updates_equal_the_state() -> None:
    graph = create_metascale(
        "simulated", settings=MetaScaleSettings(budget=16, evolution="always", seed=3), checkpointer=InMemorySaver()
    )
    state = empty_state()
    for updates in graph.stream(ask(), THREAD, stream_mode="updates"):
        state = fold(state, updates)
    values = graph.get_state(THREAD).values
    state["candidates"].sort(key=lambda candidate: candidate["id"])
    for key in ("pool", "candidates", "notes", "result", "round", "evolved_at"):
        assert state[key] == values[key]  # type: ignore[literal-required]


def test_kill_and_resume_repeats_no_finished_sample_and_keeps_the_budget(
    tmp_path: Path, start_server: ServerFactory
) -> None:
    path = str(tmp_path / "runs.sqlite")
    search = (
        "--budget",
        "24",
        "--batch-size",
        "4",
        "--seed",
        "5",
        "--set",
        "evolution=always",
        "--set",
        "operators=combine",
        "--set",
        "stragglers=wait",
        "--set",
        "stop_on_agreement=null",
    )
    options = (*search, "--db", path, "--thread", "t")
    server = start_server(latency=0.05)
    kept: dict[int, str] = {}
    kills = ((2, "solve"), (5, "judge"), (11, "solve"), (1, "evolve"), (22, "solve"))
    for count, kind in kills:
        process = start_solving(server, *options)
        wait_for(server, kind, count, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        finished = kept_in(path)
        assert kept.items() <= finished.items()
        kept = finished
    process = start_solving(server, *options)
    out, err = end_of(process)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert found["usage"]["samples"] == len(found["candidates"]) == 24
    assert [c["id"] for c in found["candidates"]] == list(range(24))
    assert kept.items() <= {c["id"]: c["text"] for c in found["candidates"]}.items()
    assert server.count("solve") <= 24 + 4 * len(kills)

    fresh = start_server()
    process = start_solving(fresh, *search)
    undisturbed = json.loads(end_of(process)[0])
    for run in (found, undisturbed):
        del run["usage"]["seconds"], run["usage"]["cached_input_tokens"]
    assert found == undisturbed

    served = server.requests.total()
    again, notice = end_of(start_solving(server, *options))
    assert json.loads(again)["answer"] == found["answer"]
    assert "nothing was spent" in notice
    assert server.requests.total() == served


def test_a_thread_whose_settings_or_question_changed_is_left_alone(tmp_path: Path, start_server: ServerFactory) -> None:
    place = ("--db", str(tmp_path / "runs.sqlite"), "--thread", "t")
    server = start_server(ready=lambda kind, number: kind != "solve" or number < 4)
    process = start_solving(server, "--budget", "16", "--set", "stop_on_agreement=null", *place)
    wait_for(server, "solve", 3, process)
    process.kill()
    process.communicate()
    server.ready = None
    changed = start_solving(server, "--budget", "20", "--set", "stop_on_agreement=null", *place)
    _, complaint = end_of(changed)
    assert changed.returncode == 2
    assert errors_in(complaint).count("\n") == 1
    assert "budget was 16 and is now 20" in complaint
    command = [sys.executable, "-m", "metascale.cli", "solve", "Another?", "--model", "simulated", *place]
    other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert other.returncode == 2
    assert "has not finished another question" in other.stderr
    rest = start_solving(server, "--budget", "16", "--set", "stop_on_agreement=null", *place)
    assert json.loads(end_of(rest)[0])["usage"]["samples"] == 16


def test_a_thread_without_any_answer_can_be_tried_again(tmp_path: Path, start_server: ServerFactory) -> None:
    place = ("--db", str(tmp_path / "runs.sqlite"), "--thread", "t", "--budget", "4", "--set", "max_failures=2")
    dead = start_server(forms=frozenset(), script=lambda *_: _refuse())
    process = start_solving(dead, *place)
    _, complaint = end_of(process)
    assert process.returncode == 1
    assert "no answer after 3 requests" in complaint
    assert errors_in(complaint).count("\n") == 1
    dead.script = None
    process = start_solving(dead, *place)
    out, err = end_of(process)
    assert process.returncode == 0, err
    assert json.loads(out)["usage"]["samples"] == 4


def _refuse() -> Any:
    return Fault(401, '{"error": {"message": "Incorrect API key provided"}}')


def test_ctrl_c_returns_the_best_answer_so_far(start_server: ServerFactory) -> None:
    server = start_server(ready=lambda kind, number: kind != "solve" or number < 24)
    process = start_solving(server, "--budget", "64", "--set", "stop_on_agreement=null")
    wait_for(server, "judge", 6, process)
    process.send_signal(signal.SIGINT)
    out, err = end_of(process)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert found["stop_reason"] == "interrupted"
    assert 6 <= found["usage"]["samples"] < 64
    assert found["answer"]
    assert "Traceback" not in err


def test_ctrl_c_before_the_first_answer_says_so(start_server: ServerFactory) -> None:
    server = start_server(ready=lambda *_: False)
    process = start_solving(server)
    wait_until(lambda: server.requests["compose"] > 0, process)
    process.send_signal(signal.SIGINT)
    out, err = end_of(process)
    assert (process.returncode, out) == (1, "")
    assert errors_in(err) == "metascale: interrupted before the first answer\n"
