"""Resolving model names, the offline model, and wrapping a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI

from metascale import MetaScaleSettings, ModelSetupError, UnknownNameError, create_metascale
from metascale.data import gsm8k
from metascale.models import MeteredModel, SimulatedChatModel, resolve_model
from metascale.models.simulated import MINDSETS, NOTICE, STRATEGIES, chance
from tests.conftest import QUESTION, ServerFactory, ask, chat_model
from tests.scripted import ScriptedModel, sensible


def test_names_become_models(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(resolve_model("simulated"), SimulatedChatModel)
    monkeypatch.setenv("METASCALE_MODEL", "simulated")
    assert isinstance(resolve_model(None), SimulatedChatModel)
    monkeypatch.setenv("OPENAI_API_KEY", "some-key")
    named = resolve_model("openai:gpt-4o-mini")
    assert isinstance(named, ChatOpenAI)
    assert named.model_name == "gpt-4o-mini"
    assert isinstance(resolve_model("gpt-4o-mini"), ChatOpenAI), "by init_chat_model"


def test_nobody_ships_a_simulation_or_is_billed_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "lies-around")
    with pytest.raises(ModelSetupError, match="no model is named"):
        create_metascale()


def test_unknown_names_name_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'simulated'"):
        resolve_model("simulate")
    with pytest.raises(ModelSetupError, match="no API key"):
        resolve_model("openai:gpt-4o")


def test_samples_differ_under_a_cache() -> None:
    model = ScriptedModel(write=sensible)
    set_llm_cache(InMemoryCache())
    try:
        create_metascale(model, settings=MetaScaleSettings(budget=6)).invoke(ask())
    finally:
        set_llm_cache(None)
    assert len(model.requests("solve")) == 6


def test_a_limit_that_the_model_cannot_keep_is_refused() -> None:
    with pytest.raises(ModelSetupError, match="ScriptedModel takes no such limit"):
        create_metascale(ScriptedModel(write=sensible), settings=MetaScaleSettings(max_tokens=9))


def test_the_users_model_stays_as_it_is(start_server: ServerFactory) -> None:
    server = start_server()
    model = chat_model(server, temperature=0.3, seed=11)
    before = model.model_dump()
    create_metascale(model, settings=MetaScaleSettings(budget=3, temperature=None)).invoke(ask())
    assert model.model_dump() == before
    samples = [served.body for served in server.served if served.kind == "solve"]
    assert {body["temperature"] for body in samples} == {0.3}
    assert len({body["seed"] for body in samples}) == 3


@pytest.mark.parametrize(
    ("own", "settings", "context", "sent"),
    [
        ({"temperature": 0.2}, {}, {}, 0.2),
        ({"temperature": 0.2}, {"temperature": 0.6}, {}, 0.6),
        ({"temperature": 0.2}, {"temperature": 1.0}, {}, 1.0),
        ({"temperature": 0.2}, {}, {"temperature": 0.7}, 0.7),
        ({"temperature": 0.0}, {}, {}, 0.0),
        ({}, {}, {}, 1.0),
        ({}, {"temperature": None}, {}, None),
    ],
)
def test_the_temperature_is_the_one_that_somebody_set(
    start_server: ServerFactory, own: Any, settings: Any, context: Any, sent: float | None
) -> None:
    server = start_server()
    graph = create_metascale(chat_model(server, **own), settings=MetaScaleSettings(budget=2, foresee=True, **settings))
    graph.invoke(ask(), context=context)
    sampled = [served.body for served in server.served if served.kind in {"solve", "foresee"}]
    assert len(sampled) >= 3
    assert {body.get("temperature") for body in sampled} == {sent}


def test_the_simulation_repeats_with_a_seed_and_varies_without() -> None:
    messages = [HumanMessage(gsm8k()[5]["question"])]
    seeded = {SimulatedChatModel(seed=4).invoke(messages).text for _ in range(5)}
    free = {SimulatedChatModel().invoke(messages).text for _ in range(40)}
    assert len(seeded) == 1
    assert len(free) > 1
    assert all(text.startswith(NOTICE) for text in seeded | free)


def test_the_simulated_judge_knows_the_question_behind_a_tools_reply() -> None:
    call = AIMessage("", tool_calls=[{"name": "look_up", "args": {"word": "bolt"}, "id": "c"}])
    conversation = [HumanMessage(gsm8k()[1]["question"]), call, ToolMessage("A unit.", tool_call_id="c")]
    graph = create_metascale("simulated", settings=MetaScaleSettings(budget=8, confirm=0, seed=1))
    assert graph.invoke({"messages": conversation})["result"]["reward"] > 0.6


def test_strategy_choice_truly_matters_in_the_simulation() -> None:
    thoughts = [f"{mindset}\n\n{strategy}" for mindset in MINDSETS[:4] for strategy in STRATEGIES[:6]]
    table = np.array([[chance(t, q["question"]) for t in thoughts] for q in gsm8k()[:200]])
    assert table.max(axis=1).mean() - table.mean() > 0.2
    best = table.mean(axis=0).max()
    assert table.max(axis=1).mean() - best > 0.1, "no one strategy is best for all"
    right = f"#### {gsm8k()[0]['gold']}"
    messages = [SystemMessage(thoughts[0]), HumanMessage(QUESTION)]
    rate = np.mean([SimulatedChatModel(seed=s).invoke(messages).text.endswith(right) for s in range(400)])
    assert rate == pytest.approx(chance(thoughts[0], " ".join(QUESTION.split())), abs=0.08)


def test_the_meter_names_the_model_for_its_price(start_server: ServerFactory) -> None:
    assert MeteredModel(chat_model(start_server())).name == "loopback"
    assert MeteredModel(SimulatedChatModel()).name == "simulated"
