"""Agreement, verifiers and checked critiques as rewards, and every reward in a run."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.memory import InMemorySaver

from metascale import MetaScaleSettings, Score, create_metascale, prompts
from metascale.data import gsm8k
from metascale.errors import ModelSetupError, UnknownNameError
from metascale.models import SimulatedChatModel
from metascale.models.simulated import PROMPT_NAMES, kind_of_request
from metascale.rewards import (
    AgreementReward,
    CritiqueReward,
    JudgeReward,
    PairwiseReward,
    PanelReward,
    Rejudging,
    RelativeReward,
    Unscored,
    VerifierReward,
    create_reward,
)
from tests.conftest import ServerFactory, ask
from tests.scoring import SETTINGS, rounds, shown
from tests.scripted import Reply, ScriptedModel, sensible, verdict
from tests.verifiers import raises, says
from tests.waiting import CEILING

# --- agreement -----------------------------------------------------------------------------------------------------


async def test_agreement_is_the_share_of_final_answers_that_are_the_same() -> None:
    reward = AgreementReward()
    _, scores, values = await rounds(
        reward,
        [
            ["#### 18", "#### 7"],
            ["I would say that nobody can know this without being told more than we are.", "So it is 18.\n#### 18.0"],
        ],
    )
    assert [score.value for score in scores[0]] == [0.5, 0.5]
    assert values == [2 / 3, 1 / 3, None, 2 / 3]
    assert scores[1][0].error == "no final answer is marked"
    assert reward.calls(4, 4) == 0


async def test_agreement_reads_answers_as_the_settings_say_unless_it_was_told() -> None:
    chosen = MetaScaleSettings(answer_kind="choice")
    reply = ["The answer is (C)."]
    assert (await AgreementReward().score("Why?", reply, chosen, place=[]))[0].memo == "C"
    assert (await AgreementReward("number").score("Why?", reply, chosen, place=[]))[0].memo is None


@given(st.lists(st.one_of(st.none(), st.sampled_from("abc")), max_size=8), st.randoms())
def test_agreement_values_move_with_their_answers(memos: list[str | None], random: Any) -> None:
    values = AgreementReward().values(memos)
    assert all((value is None) == (memo is None) for value, memo in zip(values, memos, strict=True))
    assert all(value is None or 0 < value <= 1 for value in values)
    order = random.sample(range(len(memos)), len(memos))
    assert AgreementReward().values([memos[i] for i in order]) == [values[i] for i in order]


# --- verifiers -----------------------------------------------------------------------------------------------------


async def right(question: str, answer: str, *, key: str = "yes") -> bool:
    await asyncio.sleep(0)
    return answer == key and question == "Why?"


def sync_that_returns_a_coroutine(question: str, answer: str) -> Any:
    return right(question, answer)


class Checker:
    async def __call__(self, question: str, answer: str) -> bool:
        return await right(question, answer)


@pytest.mark.parametrize(
    ("outcome", "value"),
    [(True, 1.0), (False, 0.0), (0.25, 0.25), (1, 1.0), (np.float32(0.5), 0.5), (np.int64(1), 1.0), (np.True_, 1.0)],
)
async def test_a_verifier_says_a_number_or_yes_or_no(outcome: Any, value: float) -> None:
    (score,) = await VerifierReward(says(outcome)).score("Why?", ["yes"], SETTINGS, place=[])
    assert (score.value, type(score.value), score.error) == (value, float, None)


@pytest.mark.parametrize(
    ("verify", "error"),
    [
        (says(None), "the verifier cannot tell"),
        (says(3), "the verifier gave 3.0, which is not in [0, 1]"),
        (says(float("nan")), "the verifier gave nan, which is not in [0, 1]"),
        (says("0.5"), "the verifier gave a str, not a number in [0, 1]"),
        (says(10**400), "OverflowError: int too large to convert to float"),
        (raises(ValueError("no key")), "ValueError: no key"),
        (raises(StopIteration()), "RuntimeError: the verifier raised StopIteration"),
        (raises(SystemExit(3)), "SystemExit: 3"),
        (lambda question: True, None),  # noqa: ARG005
    ],
)
async def test_what_a_verifier_cannot_say_stays_unscored(verify: Any, error: str | None) -> None:
    async with asyncio.timeout(CEILING):
        (score,) = await VerifierReward(verify).score("Why?", ["yes"], SETTINGS, place=[])
    assert score.value is None
    assert score.error
    assert error in {None, score.error}


@pytest.mark.parametrize("verify", [right, partial(right, key="yes"), Checker(), sync_that_returns_a_coroutine])
async def test_verifiers_may_be_asynchronous_in_every_way(verify: Any) -> None:
    scores = await VerifierReward(verify).score("Why?", ["yes", "no"], SETTINGS, place=[])
    assert [score.value for score in scores] == [1.0, 0.0]


async def test_plain_verifiers_run_side_by_side_and_may_bring_a_critique() -> None:
    all_here = threading.Barrier(3)

    def verify(question: str, answer: str) -> Score:  # noqa: ARG001
        all_here.wait(CEILING)
        return Score(0.5, critique=f"{answer} fails test 3.")

    scores = await VerifierReward(verify).score("Why?", ["a", "b", "c"], SETTINGS, place=[])
    assert [score.critique for score in scores] == ["a fails test 3.", "b fails test 3.", "c fails test 3."]


async def test_a_verifier_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("checks_of_mine")
    module.__dict__.update(right=right, Checks=type("Checks", (), {"exact": staticmethod(right)}), key=3)
    monkeypatch.setitem(sys.modules, "checks_of_mine", module)
    for name in ("checks_of_mine:right", "checks_of_mine:Checks.exact"):
        (score,) = await VerifierReward.named(name).score("Why?", ["yes"], SETTINGS, place=[])
        assert score.value == 1.0
    with pytest.raises(UnknownNameError, match=r"did you mean 'checks_of_mine:right'\?"):
        VerifierReward.named("checks_of_mine:rigth")
    for name, problem in [
        ("checks_of_mine:key", "is a int, not a function"),
        ("no_such_module_here:right", "No module named 'no_such_module_here'"),
        ("right", "'package.module:function'"),
    ]:
        with pytest.raises(ModelSetupError, match=problem) as raised:
            VerifierReward.named(name)
        assert "\n" not in str(raised.value)


# --- checked critiques ---------------------------------------------------------------------------------------------


def checked(*claims: tuple[str, str]) -> str:
    return json.dumps({"claims": [{"claim": claim, "verdict": found} for claim, found in claims]})


CLAIMED = checked(("Flawless.", "supported"))


def critic(check: Reply) -> ScriptedModel:
    written = verdict(7, f"Step 2 is wrong. The sum is right. It quotes {CLAIMED}.")
    return ScriptedModel(write=lambda kind, *_: check if kind == "check_critique" else written)


@pytest.mark.parametrize(
    ("check", "kept"),
    [
        (
            checked(("Step 2 is wrong.", "supported"), ("It is rude.", "refuted"), ("The sum is right.", "supported")),
            "Step 2 is wrong. The sum is right.",
        ),
        (checked(("Step 2 is wrong.", "refuted"), ("The sum is right.", "unclear")), None),
        (checked(), None),
        (checked(("Step 2 is wrong.", "true")), None),
        (f"It quotes {CLAIMED}.", None),
        (OSError("down"), None),
    ],
)
async def test_only_supported_claims_of_a_critique_are_kept_and_the_score_stays(check: Reply, kept: str | None) -> None:
    (score,) = await CritiqueReward(critic(check)).score("Why?", ["Because."], SETTINGS, place=[])
    assert score.value == pytest.approx(2 / 3)
    assert score.critique == kept


async def test_a_checked_critique_costs_two_requests_an_answer_and_a_second_look_one() -> None:
    model = critic(checked(("The sum is right.", "supported")))
    reward = CritiqueReward(model)
    scores = await reward.score("Why?", ["a", "b", "c"], SETTINGS, place=[])
    asked = [len(model.requests(kind)) for kind in ("judge", "check_critique")]
    assert asked == [3, 3]
    assert reward.calls(3) == sum(score.usage["calls"] for score in scores) == 6
    assert [shown(messages)["answer"] for messages in model.requests("check_critique")] == ["a", "b", "c"]
    assert "Step 2 is wrong." in shown(model.requests("check_critique")[0])["critique"]
    await reward.look_again("Why?", ["a"], SETTINGS, place=[], looks=[1])
    assert [len(model.requests(kind)) for kind in ("judge", "check_critique")] == [4, 3]


async def test_what_was_not_scored_is_not_checked() -> None:
    model = ScriptedModel(write=lambda *_: OSError("down"))
    (score,) = await CritiqueReward(model).score("Why?", ["a"], SETTINGS, place=[])
    assert (score.value, score.error) == (None, "OSError: down")
    assert not model.requests("check_critique")


# --- in a run ------------------------------------------------------------------------------------------------------


def test_rewards_are_what_they_say() -> None:
    model = SimulatedChatModel()
    relative = [PairwiseReward(model), AgreementReward(), PanelReward.of_wordings(model)]
    others = [VerifierReward(says(1)), CritiqueReward(model)]
    assert all(isinstance(reward, RelativeReward) for reward in relative)
    assert not any(isinstance(reward, RelativeReward) for reward in others)
    rejudging = [isinstance(reward, Rejudging) for reward in (*relative, *others)]
    assert rejudging == [False, False, True, False, True]


def test_every_prompt_is_known_by_how_it_begins() -> None:
    for name in PROMPT_NAMES:
        kind = kind_of_request(prompts.load(name))
        assert kind == {"judge_examiner": "judge", "judge_sceptic": "judge", "pairwise_sceptic": "pairwise"}.get(
            name, name
        )


async def test_the_offline_model_plays_referee_and_checks_critiques() -> None:
    item = gsm8k()[0]
    question, gold = f"User: {item['question']}", item["gold"]
    model = SimulatedChatModel(seed=3)
    texts = [f"#### {gold}", "#### 1", "#### 2", f"So {gold}.\n#### {gold}"]
    scores = await PairwiseReward(model).score(question, texts, SETTINGS, place=[])
    values = [score.value or 0.0 for score in scores]
    assert values[0] + values[3] > values[1] + values[2]
    written = await JudgeReward(model).score(question, texts, SETTINGS, place=[])
    kept = await CritiqueReward(model).score(question, texts, SETTINGS, place=[])
    assert [score.value for score in kept] == [score.value for score in written]
    assert any(score.critique for score in kept)
    assert all((after.critique or "") in (before.critique or "") for after, before in zip(kept, written, strict=True))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("name", ["pairwise", "agreement", "verifier", "critique", "panel"])
async def test_a_run_works_with_every_reward(name: str, *, asynchronous: bool) -> None:
    model = SimulatedChatModel(seed=1)
    reward = {
        "pairwise": lambda: PairwiseReward(model),
        "agreement": AgreementReward,
        "verifier": lambda: VerifierReward(lambda question, answer: "####" in answer and bool(question)),
        "critique": lambda: CritiqueReward(model),
        "panel": lambda: PanelReward.of_wordings(model),
    }[name]()
    chosen = MetaScaleSettings(budget=8, batch_size=4, pool_size=4, confirm=0, seed=1, target_reward=None)
    graph = create_metascale(model, reward=reward, settings=chosen, checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "t"}}
    await graph.ainvoke(ask(), thread) if asynchronous else graph.invoke(ask(), thread)
    state = graph.get_state(thread).values
    assert state["result"]["usage"]["samples"] == 8
    rewards = [candidate["reward"] for candidate in state["candidates"]]
    assert None not in rewards
    if isinstance(reward, RelativeReward):
        assert rewards == reward.values([candidate["memo"] for candidate in state["candidates"]])
        assert max(rewards) == state["result"]["reward"]


def test_a_runs_bound_on_concurrency_holds_for_a_panel() -> None:
    lock, running, most = threading.Lock(), [0], [0]

    def write(kind: str, number: int, messages: list[BaseMessage]) -> Reply:
        if kind != "judge":
            return sensible(kind, number, messages)
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.002)
        with lock:
            running[0] -= 1
        return verdict(5)

    model = ScriptedModel(write=write)
    chosen = MetaScaleSettings(budget=4, batch_size=4, confirm=0, evolve_every=0, max_retries=0)
    graph = create_metascale(model, reward=PanelReward.of_wordings(model), settings=chosen)
    graph.invoke(ask(), {"max_concurrency": 2})
    assert most[0] <= 2
    assert len(model.requests("judge")) == 12


# --- from the settings ---------------------------------------------------------------------------------------------


async def test_a_panel_of_models_by_name_asks_each_at_its_own_server(start_server: ServerFactory) -> None:
    servers = start_server(), start_server()
    members = [{"model": "openai:loopback", "base_url": server.url} for server in servers]
    given = MetaScaleSettings.model_validate({"reward": "panel", "panel": [*members, {"rubric": "Is it kind?"}]})
    judge = ScriptedModel(write=sensible)
    scores = await create_reward(given, judge).score("What is love?", ["Baby.", "Hm."], given, place=[0])
    assert all(score.value is not None for score in scores)
    assert [server.requests["judge"] for server in servers] == [2, 2]
    assert len(judge.requests("judge")) == 2
    assert all("Is it kind?" in request[0].text for request in judge.requests("judge"))


@pytest.mark.parametrize("name", ["reward_model", "verifier"])
def test_a_reward_without_what_it_is_made_of_is_refused(name: str) -> None:
    incomplete = MetaScaleSettings.model_construct(reward=name, reward_model=None, verifier=None)
    with pytest.raises(ModelSetupError, match=f"the reward '{name}' needs the setting '{name}'"):
        create_reward(incomplete, ScriptedModel(write=sensible))


async def test_unscored_answers_have_no_value() -> None:
    assert await Unscored().score("Why?", ["So.", "Thus."], MetaScaleSettings(), place=[0]) == [Score(None)] * 2
