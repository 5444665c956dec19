"""The opponents: what each draws, what it costs, what it answers."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from metascale import MetaScaleSettings, NoAnswerError, QuestionError, create_metascale
from metascale.graphs import METHODS, create_best_of_n, create_direct, create_self_consistency
from metascale.graphs.self_discover_best_of_n import create_self_discover_best_of_n
from metascale.result import troubles
from tests.command_line import metascale
from tests.conftest import ServerFactory, ask, chat_model
from tests.runs import run
from tests.scripted import DISCOVERY, ScriptedModel, discovering, sensible, verdict


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("budget", [1, 7])
def test_every_method_keeps_its_budget_and_an_honest_bill(start_server: ServerFactory, name: str, budget: int) -> None:
    server = start_server()
    method = METHODS[name]
    graph = method.create(
        chat_model(server),
        settings=MetaScaleSettings(budget=budget, batch_size=3, stop_on_agreement=None, reward="judge"),
    )
    out = graph.invoke(ask())
    usage = out["result"]["usage"]
    samples = 1 if method.one_pass else budget
    assert usage["samples"] == server.count("solve") == samples
    assert usage["calls"] == server.requests.total()
    looks = sum(len(finalist["looks"]) for finalist in out["result"]["finalists"])
    if method.judged:
        assert looks < server.count("judge") <= samples + looks
    else:
        assert server.count("judge") == 0
    assert looks <= budget // 2
    assert (usage["input_tokens"], usage["output_tokens"]) == (server.input_tokens, server.output_tokens)
    assert out["result"]["stop_reason"] == "budget"
    assert out["messages"][-1].content == out["result"]["answer"]
    assert (out["result"]["reward"] is not None) == (name not in {"direct", "chain_of_thought", "mrp"})
    assert troubles(out["result"]["notes"]) == []


@pytest.mark.parametrize("name", METHODS)
async def test_every_method_runs_asynchronously_and_refuses_an_empty_question(name: str) -> None:
    graph = METHODS[name].create("simulated", settings=MetaScaleSettings(budget=3))
    assert (await graph.ainvoke(ask()))["result"]["answer"]
    with pytest.raises(QuestionError, match="empty"):
        await graph.ainvoke(ask(""))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_up_without_an_answer(name: str) -> None:
    model = ScriptedModel(write=lambda kind, *rest: ValueError("no") if kind == "solve" else discovering(kind, *rest))
    with pytest.raises(NoAnswerError, match="ValueError: no"):
        METHODS[name].create(model, settings=MetaScaleSettings(max_retries=0)).invoke(ask())


def method(create: Any, write: Any, **settings: Any) -> tuple[dict[str, Any], ScriptedModel]:
    return run(write, create=create, settings=settings)


def test_best_of_n_is_plain_and_takes_the_best() -> None:
    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
        if kind == "judge":
            return verdict(9 if "Answer 5." in messages[1].text else 2)
        return sensible(kind, number, messages)

    state, model = method(create_best_of_n, write, budget=9)
    assert state["result"]["answer"] == "Answer 5."
    assert all(len(messages) == 1 for messages in model.requests("solve"))
    assert {kind for kind, _ in model._requests} == {"solve", "judge"}


def test_cot_methods_think_step_by_step() -> None:
    for name in ("chain_of_thought", "cot_best_of_n", "self_consistency"):
        _, model = method(METHODS[name].create, sensible, budget=2)
        assert all("step by step" in messages[0].text for messages in model.requests("solve"))


def test_self_consistency_takes_the_majority_and_its_share() -> None:
    replies = ["I am lost.", "#### 7", "So the answer is 5.", "#### 5.0", "The answer is $5", "#### 7", "Hm", "5 or 6"]
    state, model = method(
        create_self_consistency,
        lambda _, number, __: replies[number],
        budget=8,
        batch_size=1,
        answer_kind="number",
    )
    assert [c["extracted"] for c in state["candidates"]] == [None, "7", "5", "5", "5", "7", None, None]
    assert state["result"]["answer"] == "So the answer is 5."
    assert state["result"]["reward"] == 3 / 8
    assert state["result"]["rivals"] == []
    assert not model.requests("judge")


def test_self_consistency_without_marked_answers_says_so() -> None:
    state, _ = method(create_self_consistency, lambda *_: "It depends.\nOn many things.", budget=3)
    assert state["result"]["answer"].startswith("It depends.")
    assert state["result"]["reward"] is None
    assert any("nothing to vote on" in note for note in state["result"]["notes"])


def test_self_discover_samples_under_its_plan() -> None:
    state, model = method(create_self_discover_best_of_n, discovering, budget=3, confirm=0)
    assert [t["id"] for t in state["pool"]] == ["self_discovered"]
    assert all("1. Count. 2. Sell." in messages[0].text for messages in model.requests("solve"))
    assert "Think step by step." in model.requests("self_discover_adapt")[0][1].text
    assert "Count the eggs" in model.requests("self_discover_compose")[0][1].text
    assert state["result"]["usage"]["calls"] == 3 + 3 + 3


@pytest.mark.parametrize("step", DISCOVERY)
@pytest.mark.parametrize("reply", ["nonsense", ValueError("boom")])
def test_self_discover_falls_back_to_chain_of_thought_and_says_so(step: str, reply: Any) -> None:
    state, _ = method(
        create_self_discover_best_of_n, lambda kind, *r: reply if kind == step else discovering(kind, *r), budget=2
    )
    assert [t["id"] for t in state["pool"]] == ["chain_of_thought"]
    assert any(f"failed at step '{step.removeprefix('self_discover_')}'" in note for note in state["result"]["notes"])
    assert state["result"]["usage"]["samples"] == 2


def test_ablations_are_settings() -> None:
    state, model = method(create_metascale, sensible, budget=16, evolve_every=0, policy="round_robin")
    assert not model.requests("evolve")
    pulls = [sum(c["meta_thought"] == t["id"] for c in state["candidates"]) for t in state["pool"]]
    assert pulls == [2] * 8


def test_a_method_refuses_what_it_does_not_use() -> None:
    with pytest.raises(TypeError, match="unexpected arguments: reward"):
        create_direct("simulated", reward=None)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected arguments: retriever"):
        create_best_of_n("simulated", retriever=None)  # type: ignore[call-arg]


def test_a_run_cannot_talk_a_one_pass_method_into_more() -> None:
    out = create_direct("simulated").invoke(ask(), context=MetaScaleSettings(budget=9))
    assert out["result"]["usage"]["samples"] == 1


def test_methods_on_the_command_line() -> None:
    question = ask()["messages"][0]["content"]
    done = metascale(
        "solve", question, "--model", "simulated", "--method", "self_consistency", "--budget", "5", "--json"
    )
    assert done.returncode == 0
    assert '"extracted": "' in done.stdout
    wrong = metascale("solve", question, "--model", "simulated", "--method", "bestofn")
    assert (wrong.returncode, wrong.stderr) == (2, "metascale: unknown method 'bestofn'; did you mean 'best_of_n'?\n")
    judged = metascale("solve", question, "--model", "simulated", "--method", "direct", "--judge-model", "simulated")
    assert judged.returncode == 2
    assert "takes no --judge-model" in judged.stderr
    drawn = metascale("graph", "self_discover_best_of_n").stdout
    assert "compose_plan --> select_arm" in drawn
