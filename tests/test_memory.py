"""Strategy memory: what it learns, what it forgets, what a wrong one costs, and that nothing can break it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from typer.testing import CliRunner, Result

from metascale import MetaScaleSettings, create_metascale
from metascale.bandits import Arm, UpperTail
from metascale.cli.app import app
from metascale.errors import SettingError
from metascale.graphs import Graph
from metascale.memory.embeddings import HashedEmbeddings
from metascale.memory.explained import explain
from metascale.memory.levels import Evidence
from metascale.memory.recollection import (
    FADING,
    MOST_WEIGHT,
    Episode,
    Record,
    recollect,
    remembered_levels,
    worth_trying,
)
from metascale.memory.store import NAMESPACE, StrategyMemory
from metascale.pool.beliefs import Kept, key_of
from metascale.pool.parts import NEW, ArmKey
from tests.scripted import ScriptedModel
from tests.waiting import CEILING

SUM = "What is 12 + 7 * 3 - 4? Work it out and give the number."
SUMS = [f"What is {a} + {b} * {a + 3} - {b}? Work it out and give the number." for a, b in ((3, 5), (11, 2), (40, 9))]
SONNET = "Write a Shakespearean sonnet about the sea, with the words wind, salt and home in it."


def embedded(text: str) -> np.ndarray:
    return np.array(HashedEmbeddings().embed_query(text))


def episode(text: str, **means: float) -> Episode:
    return Episode(embedded(text), {name: Record(1, mean, 0.0) for name, mean in means.items()})


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


# --- embeddings ------------------------------------------------------------------------------------------------------


def test_tasks_worded_alike_are_near_and_others_are_not() -> None:
    first, second, other = embedded(SUM), embedded(SUMS[0]), embedded(SONNET)
    assert first @ second > 0.8
    assert first @ other < 0.3


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_has_a_place_on_the_sphere_and_always_the_same(text: str) -> None:
    vector = embedded(text)
    assert np.linalg.norm(vector) == pytest.approx(1)
    assert np.array_equal(vector, embedded(text))


def test_the_order_of_words_and_the_size_of_numbers_matter_as_they_should() -> None:
    assert embedded("add 5 apples") @ embedded("add 7000 apples") == pytest.approx(1)
    assert embedded("dog bites man") @ embedded("man bites dog") < 0.999


# --- what is believed ------------------------------------------------------------------------------------------------


def test_what_worked_on_similar_tasks_is_believed_there_and_less_elsewhere() -> None:
    sums = [episode(text, careful=0.9, quick=0.2) for text in SUMS * 4]
    sonnets = [episode(SONNET, careful=0.3, quick=0.8)] * 12
    on_sums, on_sonnets = (recollect(sums + sonnets, embedded(text)).known for text in (SUM, SONNET))
    assert on_sums["careful"].advantage > on_sums["quick"].advantage + 0.3
    assert on_sonnets["quick"].advantage > on_sonnets["careful"].advantage + 0.3


def test_distance_weakens_a_prior() -> None:
    sums = [episode(text, careful=0.9, quick=0.2) for text in SUMS * 4]
    near, far = recollect(sums, embedded(SUM)), recollect(sums, embedded(SONNET))
    assert near.known["careful"].weight > 3 * far.known["careful"].weight


@pytest.mark.parametrize("runs", [1, 10, 1_000])
def test_memory_never_counts_for_more_than_a_few_rewards(runs: int) -> None:
    beliefs = recollect([episode(SUM, careful=1.0, quick=0.0)] * runs, embedded(SUM))
    assert all(0 < prior.weight <= MOST_WEIGHT for prior in beliefs.known.values())
    assert beliefs.unknown is not None
    assert beliefs.unknown.weight <= MOST_WEIGHT


def test_old_runs_fade() -> None:
    old = [episode(SUM, careful=0.9, quick=0.2)] * 40
    new = [episode(SUM, other=0.5)] * int(2 * FADING)
    before, after = (recollect(runs, embedded(SUM), budget=64).known for runs in (old, old + new))
    assert (
        after["careful"].advantage - after["quick"].advantage < before["careful"].advantage - before["quick"].advantage
    )


def test_contradicted_runs_lose_weight() -> None:
    old, new = [episode(SUM, careful=0.9, quick=0.2)] * 60, [episode(SUM, careful=0.2, quick=0.9)] * 7
    assert 7 * 0.9 + 60 * 0.2 < 7 * 0.2 + 60 * 0.9
    known = recollect(old + new, embedded(SUM)).known
    assert known["quick"].advantage > known["careful"].advantage + 0.2


def test_a_wrong_memory_is_doubted_though_no_kind_of_task_has_much_of_it() -> None:
    """300 runs on 100 kinds were rewarded the wrong way round; then the second best arm is asked on all of them."""
    true, rng = np.array([0.9, 0.75, 0.4, 0.3]), np.random.default_rng(0)
    kinds = np.arange(600) % 100
    pulled = np.concatenate([rng.integers(4, size=300), np.ones(300, int)])
    right = np.where(rng.random(600) < true[pulled], 1.0, 0.0)
    arms = [ArmKey(str(arm)) for arm in range(4)]

    def believed(rewards: np.ndarray) -> np.ndarray:
        evidence = Evidence(arms, kinds, np.arange(600), pulled, np.ones(600), rewards, np.zeros(600))
        return remembered_levels(evidence, np.zeros(600)).everywhere.means

    wrong = believed(np.where(np.arange(600) < 300, 1 - right, right))
    assert wrong[0] > wrong.mean() - 0.1
    assert wrong[1] == wrong.max()
    assert list(np.argsort(-believed(right))) == [0, 1, 2, 3]


def test_a_wrong_memory_is_doubted_where_all_rewards_are_close_together() -> None:
    rng = np.random.default_rng(0)

    def runs(count: int, careful: float, quick: float) -> list[Episode]:
        noise = 0.03 * rng.standard_normal((count, 2))
        return [episode(SUM, careful=careful + a, quick=quick + b) for a, b in noise.tolist()]

    wrong, right = runs(40, 0.46, 0.54), runs(40, 0.54, 0.46)
    known, undisturbed = (recollect(told, embedded(SUM), budget=64).known for told in (wrong + right, right))
    gains = [one["careful"].advantage - one["quick"].advantage for one in (known, undisturbed)]
    assert gains[0] > 0.4 * gains[1] > 0


def test_a_memory_counts_as_much_where_all_rewards_are_close_together() -> None:
    runs = [episode(SUM, careful=0.9, quick=0.1), episode(SUM, careful=0.8, quick=0.3)] * 20
    close = [episode(SUM, careful=0.54, quick=0.46), episode(SUM, careful=0.53, quick=0.48)] * 20
    wide, narrow = (recollect(told, embedded(SUM), budget=8).known["careful"].weight for told in (runs, close))
    assert narrow > 0.8 * wide
    hoped = recollect(close, embedded(SUM), budget=8).known[NEW]
    assert hoped.advantage < 0.2


def test_what_is_little_known_is_hoped_for_most_where_samples_are_few() -> None:
    runs = [episode(SUM, careful=0.6)] * 30 + [episode(SUM, quick=0.6)]
    once, often = (recollect(runs, embedded(SUM), budget=budget) for budget in (1, 64))
    assert once.known["quick"].advantage > once.known["careful"].advantage
    assert once.unknown is not None
    assert often.unknown is not None
    assert once.unknown.advantage > 4 * often.unknown.advantage


def test_nothing_remembered_is_nothing_believed() -> None:
    assert recollect([], embedded(SUM)).about("", "") is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([SUM, SONNET, "", "?"]),
            st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(1, 500), st.floats(0, 1)), min_size=1),
        ),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 10_000),
)
def test_beliefs_are_always_usable(runs: list[tuple[str, dict[str, tuple[int, float]]]], budget: int) -> None:
    episodes = [
        Episode(embedded(text), {key: Record(n, mean, 0.01) for key, (n, mean) in records.items()})
        for text, records in runs
    ]
    beliefs = recollect(episodes, embedded(SUM), budget=budget)
    for prior in [*beliefs.known.values(), beliefs.unknown]:
        assert prior is not None
        assert -1 <= prior.advantage <= 1
        assert 0 < prior.weight <= MOST_WEIGHT


def test_a_wrong_memory_costs_a_bounded_number_of_samples() -> None:
    wrong = recollect([episode(SUM, best=0.0, worst=1.0, poor=0.9, fair=0.5)] * 500, embedded(SUM), budget=16).known
    true = {"best": 0.9, "worst": 0.1, "poor": 0.3, "fair": 0.5}
    rng, names = np.random.default_rng(0), list(true)

    def pulls_of_best(arms: list[Arm]) -> int:
        for left in range(24, 0, -1):
            (k,) = UpperTail().plan(arms, 1, rng, left=left)
            reward = float(np.clip(true[names[k]] + 0.1 * rng.standard_normal(), 0, 1))
            arms[k] = Arm(arms[k].pulls + 1, (*arms[k].rewards, reward), prior=arms[k].prior)
        return arms[0].pulls

    assert pulls_of_best([Arm(prior=wrong[name]) for name in names]) >= pulls_of_best([Arm() for _ in names]) - 12
    assert pulls_of_best([Arm(prior=wrong[name]) for name in names]) >= 6


def test_the_best_kept_meta_thoughts_of_the_nearest_tasks_are_tried() -> None:
    near, better, far = Kept("A", "near", 0.1, 4), Kept("B", "better", 0.3, 4), Kept("C", "far", 0.9, 4)
    runs = [Episode(embedded(SUMS[0]), {}, [near, better, near]), Episode(embedded(SONNET), {}, [far])]
    assert worth_trying(runs, embedded(SUM), 2) == [better, near]
    assert worth_trying(runs, embedded(SUM), 0) == []


def test_a_meta_thought_is_known_again_by_its_text() -> None:
    assert key_of("You  are\ncareful.", "Check.") == key_of("You are careful.", " Check.")
    assert key_of("ab", "c") != key_of("a", "bc")


# --- the store -------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(kind: str, tmp_path: Path) -> Iterator[BaseStore]:
    if kind == "memory":
        yield InMemoryStore()
        return
    options: Any = {"check_same_thread": False, "isolation_level": None}
    with closing(sqlite3.connect(tmp_path / "memory.db", **options)) as connection:
        store = SqliteStore(connection)
        store.setup()
        yield store


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_what_is_remembered_is_recalled(store: BaseStore) -> None:
    memory = StrategyMemory(store, "ann")
    kept = Kept("Careful", "Check twice.", 0.2, 3)
    for text in SUMS:
        run(memory.remember(text, {"a": Record(3, 0.9, 0.01), "b": Record(2, 0.4, 0.0)}, winner="a", kept=[kept]))
    found = run(memory.recall(SUM, budget=4, at_most=3))
    assert found.similar == 3
    assert found.kept == [kept]
    assert found.beliefs.known["a"].advantage > found.beliefs.known["b"].advantage
    assert run(StrategyMemory(memory.store, "bob").recall(SUM, budget=4)).similar == 0


def test_the_oldest_are_forgotten_and_the_same_run_is_remembered_once() -> None:
    memory = StrategyMemory(InMemoryStore(), most=5)
    for number in range(8):
        for _ in range(2):
            run(memory.remember(f"question {number}", {"a": Record(1, 0.5, 0.0)}))
    assert [one.task for one in run(memory.runs()).values()] == [f"question {number}" for number in range(3, 8)]


def test_one_run_or_all_can_be_forgotten() -> None:
    memory = StrategyMemory(InMemoryStore())
    for text in SUMS:
        run(memory.remember(text, {"a": Record(1, 0.5, 0.0)}))
    assert run(memory.forget(next(iter(run(memory.runs()))))) == 1
    assert run(memory.forget("no such run")) == 0
    assert run(memory.forget()) == 2
    assert run(memory.runs()) == {}


WRITER = """
import asyncio, sqlite3, sys
from langgraph.store.sqlite import SqliteStore
from metascale.memory.store import StrategyMemory
from metascale.memory.recollection import Record
store = SqliteStore(sqlite3.connect(sys.argv[1], timeout=240, isolation_level=None, check_same_thread=False))
store.setup()
async def write():
    for number in range(40):
        memory = StrategyMemory(store)
        await memory.remember(f"{sys.argv[2]} {number}", {"a": Record(1, 0.5, 0.0)})
asyncio.run(write())
"""


@pytest.mark.parametrize("kind", ["sqlite"])
def test_two_processes_at_once_lose_nothing(store: BaseStore, tmp_path: Path) -> None:
    path = str(tmp_path / "memory.db")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name]) for name in ("one", "two")]
    assert [writer.wait(CEILING) for writer in writers] == [0, 0]
    assert len(run(StrategyMemory(store).runs())) == 80


@pytest.mark.parametrize(
    "rubbish",
    [
        {},
        {"at": "now"},
        {"records": {"a": {"pulls": "many"}}},
        {"records": {"a": {"pulls": 1, "mean": 7.0, "variance": 0.0}}},
        {"records": {}},
        {"embedding": "not base64!"},
        {"kept": [{"mindset": "x"}]},
        {"embedding": ""},
    ],
)
def test_what_is_no_record_is_passed_over(rubbish: dict[str, Any]) -> None:
    store = InMemoryStore()
    memory = StrategyMemory(store)
    run(memory.remember(SUM, {"a": Record(1, 0.5, 0.0)}))
    good = next(iter(run(memory.runs()).values())).model_dump(mode="json")
    store.put((*NAMESPACE, "default"), "broken", {**good, **rubbish} if rubbish else {})
    found = run(memory.recall(SUM, budget=1))
    assert found.similar == 1


class Halves(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [float(len(text) % 2), 1.0]


def test_runs_of_another_embedder_are_not_compared() -> None:
    store = InMemoryStore()
    run(StrategyMemory(store).remember(SUM, {"a": Record(1, 0.9, 0.0)}))
    other = StrategyMemory(store, embeddings=Halves())
    assert run(other.recall(SUM, budget=1)).similar == 0
    run(other.remember(SUM, {"a": Record(1, 0.9, 0.0)}))
    assert run(other.recall(SUM, budget=1)).similar == 1


@pytest.mark.parametrize("name", ["", "a.b", "x" * 101, "new\nline"])
def test_a_name_that_no_store_takes_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match="name"):
        StrategyMemory(InMemoryStore(), name)


# --- in the graph ----------------------------------------------------------------------------------------------------


def draft(number: int) -> dict[str, str]:
    return {"mindset": f"Thinker number {number} of {number * 7919}.", "strategy": f"Use approach {number * 104729}."}


def write(kind: str, number: int, messages: list[BaseMessage]) -> str | Exception:
    """Meta-thoughts that differ from run to run; answers under the first composed one are the good ones."""
    if kind == "compose":
        return json.dumps({"meta_thoughts": [draft(10 * number + i) for i in range(1, 7)]})
    if kind == "judge":
        good = "GOOD" in messages[-1].text
        return json.dumps({"critique": "Seen.", "score": 9 if good else 3})
    return "GOOD: 42" if "approach 104729" in messages[0].text else "so so: 41"


def graph_with(store: BaseStore | None, **changes: Any) -> Graph:
    chosen = MetaScaleSettings.model_validate(
        {
            "budget": 12,
            "memory": "ann",
            "seed": 1,
            "evolution": "off",
            "confirm": 0,
            "head_start": 0,
            "stop_on_agreement": None,
            **changes,
        }
    )
    return create_metascale(ScriptedModel(write=write), settings=chosen, store=store)


def ask(graph: Graph, question: str = SUM) -> dict[str, Any]:
    return graph.invoke({"messages": [{"role": "user", "content": question}]})


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("how", ["sync", "async"])
def test_what_one_run_learns_the_next_one_uses(store: BaseStore, how: str) -> None:
    graph = graph_with(store)

    def answer(question: str) -> dict[str, Any]:
        given = {"messages": [{"role": "user", "content": question}]}
        return graph.invoke(given) if how == "sync" else run(graph.ainvoke(given))

    first = answer(SUMS[0])
    assert first["result"]["answer"] == "GOOD: 42"
    winner = first["result"]["meta_thought"]
    assert winner["origin"] == "self_composed"
    second = answer(SUMS[1])
    again = second["result"]["meta_thought"]
    assert (again["origin"], again["strategy"]) == ("remembered", winner["strategy"])
    assert again["prior"]["advantage"] > 0
    assert not any("nothing was" in note for note in second["result"]["notes"])


def test_what_is_believed_best_is_pulled_first() -> None:
    store = InMemoryStore()
    for number in range(4):
        ask(graph_with(store), f"{SUM} ({number})")
    state = graph_with(store, budget=1, batch_size=1)
    assert ask(state)["result"]["answer"] == "GOOD: 42"


def test_another_name_remembers_nothing_of_it_and_no_name_leaves_no_trace() -> None:
    store = InMemoryStore()
    ask(graph_with(store))
    assert "prior" not in ask(graph_with(store, memory="bob"))["result"]["meta_thought"]
    before = len(store.search(NAMESPACE))
    assert "prior" not in ask(graph_with(store, memory=None))["result"]["meta_thought"]
    assert len(store.search(NAMESPACE)) == before == 2


class Broken(InMemoryStore):
    def batch(self, ops: Any) -> Any:  # noqa: ARG002
        raise OSError("the disk is gone")

    async def abatch(self, ops: Any) -> Any:  # noqa: ARG002
        raise OSError("the disk is gone")


def test_a_store_that_fails_costs_no_answer() -> None:
    result = ask(graph_with(Broken()))["result"]
    assert result["answer"] == "GOOD: 42"
    told = [note for note in result["notes"] if "the disk is gone" in note]
    assert [note.split(":")[0] for note in told] == [
        "could not read the strategy memory",
        "could not write to the strategy memory",
    ]


def test_a_memory_without_a_store_is_a_clear_error() -> None:
    with pytest.raises(SettingError, match="store"):
        ask(graph_with(None))


def test_a_resumed_run_is_remembered_once() -> None:
    store, saver = InMemoryStore(), InMemorySaver()
    chosen = MetaScaleSettings(budget=4, memory="ann", seed=1)
    graph = create_metascale(ScriptedModel(write=write), settings=chosen, store=store, checkpointer=saver)
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    graph.invoke({"messages": [{"role": "user", "content": SUM}]}, config)
    before = next(snapshot for snapshot in graph.get_state_history(config) if snapshot.next == ("finalize",))
    graph.invoke(None, before.config)
    assert len(store.search(NAMESPACE)) == 1


# --- the command line ------------------------------------------------------------------------------------------------


def metascale(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_the_command_line_remembers_shows_exports_and_forgets(tmp_path: Path) -> None:
    path = str(tmp_path / "memory.db")
    for question in SUMS[:2]:
        asked = metascale("solve", question, "--model", "simulated", "--budget", "6", "--memory", path, "--json")
        assert asked.exit_code == 0, asked.stderr
    assert any("prior" in thought for thought in json.loads(asked.stdout)["pool"])
    shown = metascale("memory", "show", path)
    assert "2 runs" in shown.stdout
    assert "chain_of_thought" in shown.stdout
    exported = [json.loads(line) for line in metascale("memory", "export", path).stdout.splitlines()]
    assert [run["task"] for run in exported] == SUMS[:2]
    key = shown.stdout.split("│")[1].strip()
    assert metascale("memory", "forget", path, "--run", key, "--yes").exit_code == 0
    assert len(metascale("memory", "export", path).stdout.splitlines()) == 1
    assert metascale("memory", "forget", path, "--yes").exit_code == 0
    assert metascale("memory", "export", path).stdout == ""
    assert "nothing is remembered" in metascale("memory", "show", path).stdout


def test_wrong_usage_of_the_memory_commands(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database, but some text that is longer than a header of one " * 9)
    for arguments in (
        ("memory", "show", str(tmp_path / "missing.db")),
        ("memory", "show", str(tmp_path / "text.db")),
        ("memory", "export", str(tmp_path / "missing.db"), "--name", "a.b"),
        ("solve", SUM, "--memory", str(tmp_path / "text.db")),
        ("solve", SUM, "--memory", str(tmp_path / "m.db"), "--memory-name", "a.b"),
        ("solve", SUM, "--memory", str(tmp_path / "m.db"), "--method", "direct"),
        ("solve", SUM, "--set", "memory=ann"),
    ):
        done = metascale(*arguments)
        assert done.exit_code == 2, arguments
        assert "metascale:" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "missing.db").exists()


# --- late feedback, and what is believed -----------------------------------------------------------------------------


def test_a_late_verdict_outweighs_what_the_judge_said() -> None:
    memory = StrategyMemory(InMemoryStore())
    for number in range(6):
        run(
            memory.remember(
                SUMS[number % 3] + " " * number, {"a": Record(2, 0.9, 0.0), "b": Record(2, 0.6, 0.0)}, winner="a"
            )
        )
    before = run(memory.recall(SUM, budget=10_000)).beliefs.known
    assert before["a"].advantage > before["b"].advantage
    for key in run(memory.runs()):
        run(memory.feedback(key, 0.5))
        assert run(memory.feedback(key[:12], 0.0)) == key
    after = run(memory.recall(SUM, budget=10_000)).beliefs.known
    assert after["a"].advantage < after["b"].advantage


def test_a_run_without_rewards_learns_from_its_verdict_alone() -> None:
    memory = StrategyMemory(InMemoryStore())
    run(memory.remember(SUM, {}, winner="a"))
    assert run(memory.recall(SUM, budget=1)).similar == 0
    run(memory.feedback(next(iter(run(memory.runs()))), 1.0))
    assert "a" in run(memory.recall(SUM, budget=1)).beliefs.known


def test_a_verdict_needs_a_run_and_a_score() -> None:
    memory = StrategyMemory(InMemoryStore())
    run(memory.remember(SUM, {"a": Record(1, 0.5, 0.0)}))
    key = next(iter(run(memory.runs())))
    for name, score, why in (
        ("", 1.0, "match"),
        ("zz", 1.0, "match"),
        (key, 1.5, "from 0 to 1"),
        (key, 1.0, "no answer"),
    ):
        with pytest.raises(SettingError, match=why):
            run(memory.feedback(name, score))


def test_kinds_are_told_apart_and_named_by_their_words() -> None:
    memory = StrategyMemory(InMemoryStore())
    for number in range(8):
        run(memory.remember(f"{SUM} ({number})", {"a": Record(1, 0.9, 0.0), "b": Record(1, 0.2, 0.0)}))
        run(memory.remember(f"{SONNET} ({number})", {"a": Record(1, 0.2, 0.0), "b": Record(1, 0.9, 0.0)}))
    found = run(memory.runs()).values()
    told = explain([one.task for one in found], [one.episode() for one in found])
    assert [kind.runs for kind in told.kinds] == [8, 8]
    best = {kind.arms[0].arm: kind for kind in told.kinds}
    assert "sonnet" in best["b"].words
    assert "sonnet" not in best["a"].words
    assert all(one.low < one.mean < one.high or one.high == 1 for one in told.everywhere)
    assert best["a"].arms[0].low > best["a"].arms[1].high
    assert told == explain([one.task for one in found], [one.episode() for one in found])


def test_the_command_line_takes_a_verdict_on_a_run(tmp_path: Path) -> None:
    path = str(tmp_path / "memory.db")
    asked = metascale("solve", SUM, "--model", "simulated", "--budget", "2", "--memory", path, "--json")
    key = json.loads(asked.stdout)["memory_run"]
    assert metascale("memory", "feedback", path, key, "0").exit_code == 0
    (exported,) = [json.loads(line) for line in metascale("memory", "export", path).stdout.splitlines()]
    assert exported["verdict"] == 0
    assert metascale("memory", "feedback", path, "zz", "1").exit_code == 2
    assert metascale("memory", "feedback", path, key, "2").exit_code == 2
