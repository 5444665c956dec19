"""P(True): the model's own probability that its answer is correct, from every server, and what it costs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from metascale import MetaScaleSettings, create_metascale, prompts
from metascale.data import gsm8k
from metascale.integrations import MetaScaleMiddleware
from metascale.models import RecordedChatModel, SimulatedChatModel
from metascale.models.probabilities import Token
from metascale.models.yes_no import first_word, probability_in, probability_of_yes
from metascale.result import troubles
from metascale.rewards import Drawn, JudgeReward, PTrueReward
from metascale.rewards.p_true import REPLIES, SHORT
from metascale.rewards.scorer import Scorer
from metascale.stats.reliability import auc
from tests.conftest import QUESTION, THREAD, ServerFactory, ask, chat_model
from tests.openai_server import Fault, OpenAIServer
from tests.scoring import SETTINGS
from tests.scripted import ScriptedModel, verdict

ASKED = prompts.load("p_true")


def token(text: str, chance: float, **others: float) -> Token:
    return Token(text, math.log(chance), {name: math.log(value) for name, value in others.items()})


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (Token("Yes", math.log(0.6), {"Yes": math.log(0.6), "No": math.log(0.2)}), 0.75),
        (Token("No", math.log(0.2), {"Yes": math.log(0.6)}), 0.75),
        (Token("The", math.log(0.9), {"yes": math.log(0.06), "NO": math.log(0.02)}), 0.75),
        (
            Token("Yes", -1.0, {" yes": math.log(0.3), "**Yes**": math.log(0.3), "Ġno": math.log(0.1), "▁No.": -2.0}),
            None,
        ),
        (Token("Yes", math.log(0.9), {}), 0.9),
        (Token("No", math.log(0.9), {}), 0.1),
        (Token("Yes", math.log(0.3), {}), 0.5),
        (Token("Yes", math.log(0.9), {"Yes": math.log(0.9), "Ja": math.log(0.04)}), 0.9 / 0.94),
        (Token("Yes", 0.0, {"Yes": 0.0, "No": -9999.0}), 1.0),
    ],
)
def test_yes_and_no_are_counted_in_every_spelling_and_normalised(read: Token, value: float | None) -> None:
    if value is None:
        yes, no = math.exp(-1) + 0.6, 0.1 + math.exp(-2)
        value = yes / (yes + no)
    assert probability_of_yes(read) == pytest.approx(value)


@pytest.mark.parametrize("text", ["Nothing", "Yesterday", "now", "y", "", "<think>", "0"])
def test_other_words_are_neither_yes_nor_no(text: str) -> None:
    assert probability_of_yes(token(text, 0.99)) is None
    assert probability_in([token(text, 0.99)]) is None
    assert first_word(text) is None


def test_the_first_word_of_a_longer_reply_decides() -> None:
    said = [
        token("**", 0.9),
        token("Answer", 0.5, Yes=0.4),
        token(":", 1.0),
        token(" No", 0.8, Yes=0.2),
        token("Yes", 1.0),
    ]
    assert probability_in(said) == pytest.approx(0.2)
    assert [first_word(text) for text in ("**No**, not yes.", "(yes)", "Know no-one")] == ["no", "yes", "no"]


def drawn(text: str, *conversation: BaseMessage) -> Drawn:
    return Drawn(text, "m1", None, conversation or [HumanMessage("Why?")])


def run(server: OpenAIServer, question: str = QUESTION, **settings: Any) -> dict[str, Any]:
    chosen = MetaScaleSettings.model_validate(
        {"reward": "p_true", "budget": 8, "batch_size": 4, "pool_size": 4, "evolution": "off", "seed": 1, **settings}
    )
    graph = create_metascale(chat_model(server), settings=chosen, checkpointer=InMemorySaver())
    graph.invoke({"messages": [("system", "Be brief."), ("user", question)]}, THREAD)
    return graph.get_state(THREAD).values


def of_kind(server: OpenAIServer, kind: str) -> list[list[dict[str, Any]]]:
    return [served.body["messages"] for served in server.served if served.kind == kind]


@pytest.mark.parametrize("settings", [{}, {"refine": True, "synthesize": True, "budget": 12}], ids=["plain", "refined"])
def test_a_samples_own_conversation_goes_on_so_that_the_cache_serves_all_but_the_question(
    start_server: ServerFactory, settings: Mapping[str, Any]
) -> None:
    server = start_server()
    state = run(server, **settings)
    samples = len(state["candidates"])
    assert all(candidate["reward"] is not None for candidate in state["candidates"])
    sent = [[*said, {"role": "assistant", "content": s.text}] for s in server.served for said in [s.body["messages"]]]
    asked = of_kind(server, "p_true")
    assert len(asked) == samples
    for *conversation, question in asked:
        assert question == {"role": "user", "content": ASKED}
        assert conversation in sent
    read = [served for served in server.served if served.kind == "p_true"]
    assert max(served.input_tokens - served.cached_tokens for served in read) <= len(ASKED) / 4 + 2 * 16
    assert {served.body["max_completion_tokens"] for served in read} == {1}
    assert sum(served.output_tokens for served in read) == samples


def test_p_true_costs_one_request_an_answer_and_keeps_to_max_calls(start_server: ServerFactory) -> None:
    server = start_server()
    result = run(server)["result"]
    assert server.count("p_true") == result["usage"]["samples"] == 8
    assert result["usage"]["calls"] == server.requests.total() == 8 + 8 + 1
    limited = run(start_server(), max_calls=12, stop_on_agreement=None)["result"]
    assert limited["stop_reason"] == "max_calls"
    assert limited["usage"]["calls"] <= 12


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("probabilities", ["refused", "ignored"])
def test_short_replies_stand_for_probabilities_that_a_server_does_not_tell(
    start_server: ServerFactory, probabilities: str, *, several: bool
) -> None:
    server = start_server(probabilities=probabilities, several=several)
    state = run(server)
    rewards = {candidate["reward"] for candidate in state["candidates"]}
    assert rewards <= {0.0, 0.25, 0.5, 0.75, 1.0}
    notes = [note for note in state["result"]["notes"] if "P(True)" in note]
    assert troubles(notes) == [f"without token probabilities, the share of Yes in {REPLIES} replies stands for P(True)"]
    shares = [served for served in server.served if served.body.get("max_completion_tokens") == SHORT]
    assert len(shares) == (8 if several else 8 * REPLIES)
    assert state["result"]["usage"]["calls"] == server.requests.total()


@pytest.mark.parametrize("cut", [5, 1])
def test_p_true_is_read_from_as_many_alternatives_as_there_are(start_server: ServerFactory, cut: int) -> None:
    whole, few = start_server(), start_server(probabilities=cut)
    states = [run(server) for server in (whole, few)]
    rewards = [[candidate["reward"] for candidate in state["candidates"]] for state in states]
    assert rewards[0] == pytest.approx(rewards[1])
    assert few.count("p_true") == 8
    assert [sum("alternatives" in note for note in state["result"]["notes"]) for state in states] == [0, 1]


async def test_another_judge_reads_question_and_answer_in_a_fresh_conversation(start_server: ServerFactory) -> None:
    server = start_server()
    reward = PTrueReward(chat_model(server))
    scores = await reward.score_samples("Why?", [drawn("So.", HumanMessage("Why?"))], SETTINGS, place=["judge", 1])
    ((system, material),) = of_kind(server, "p_true_judge")
    assert system["role"] == "system"
    assert dict(prompts.fenced(material["content"])) == {"question": "Why?", "answer": "So."}
    again = await reward.score("Why?", ["So."], SETTINGS, place=["judge", 1])
    assert scores[0].value == pytest.approx(again[0].value)


async def test_a_conversation_with_tool_calls_is_not_gone_on_with(start_server: ServerFactory) -> None:
    server = start_server()
    called = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}])
    told = ToolMessage("It rains.", tool_call_id="1")
    sample = drawn("Yes, it rains.", HumanMessage("Does it rain?"), called, told)
    reward = PTrueReward(chat_model(server), is_sampler=True)
    (score,) = await reward.score_samples("Does it rain?", [sample], SETTINGS, place=["judge", 1])
    assert score.value is not None
    assert (server.count("p_true"), server.count("p_true_judge")) == (0, 1)


async def test_a_longer_reply_is_read_where_the_first_token_tells_nothing(start_server: ServerFactory) -> None:
    reply = {"content": [{"token": t, "logprob": -0.1, "top_logprobs": []} for t in ("Answer", ":", " No")]}
    server = start_server(
        script=lambda kind, *_: Fault(text="Answer: No", logprobs=reply) if kind == "p_true" else None
    )
    reward = PTrueReward(chat_model(server), is_sampler=True)
    samples = [drawn("So."), drawn("Thus.")]
    for place in (1, 2):
        scores = await reward.score_samples("Why?", samples, SETTINGS, place=["judge", place])
        assert [score.value for score in scores] == pytest.approx([1 - math.exp(-0.1)] * 2)
    limits = [served.body["max_completion_tokens"] for served in server.served]
    assert sorted(limits) == [1, 1] + [SHORT] * 4
    assert limits[-2:] == [SHORT, SHORT]


async def test_a_limit_of_one_token_may_be_refused(start_server: ServerFactory) -> None:
    def script(_: str, __: int, body: dict[str, Any]) -> Fault | None:
        small = body.get("max_completion_tokens") == 1
        return Fault(400, '{"error": {"message": "max_output_tokens must be at least 16"}}') if small else None

    reward = PTrueReward(chat_model(start_server(script=script)), is_sampler=True)
    (score,) = await reward.score_samples("Why?", [drawn("So.")], SETTINGS, place=["judge", 1])
    assert score.value is not None
    assert score.usage["calls"] == 2


async def test_a_verdict_stands_for_p_true_where_no_yes_or_no_can_be_had() -> None:
    model = ScriptedModel(write=lambda kind, *_: verdict(7, "Hm.") if kind == "judge" else "It depends.")
    scorer = Scorer(PTrueReward(model, is_sampler=True))
    for place in (1, 2):
        scores, _ = await scorer.score(
            "Why?", ["So."], SETTINGS, place=["judge", place], samples=[drawn("So.", SystemMessage("Hi."))]
        )
        assert scores[0].value == pytest.approx(2 / 3)
        assert scores[0].critique == "Hm."
    assert len(model.requests("judge")) == 2
    assert len(model.requests("p_true")) == 1 + REPLIES
    assert scorer.calls(3) == 3


async def test_a_request_that_fails_leaves_its_answer_unscored_and_changes_nothing_else() -> None:
    def write(_: str, number: int, __: list[BaseMessage]) -> Any:
        told = {"content": [{"token": "Yes", "logprob": math.log(0.8), "top_logprobs": []}]}
        return OSError("down") if number == 0 else AIMessage("Yes", response_metadata={"logprobs": told})

    reward = PTrueReward(ScriptedModel(write=write), is_sampler=True)
    (lost,) = await reward.score_samples("Why?", [drawn("So.")], SETTINGS, place=["judge", 1])
    (found,) = await reward.score_samples("Why?", [drawn("So.")], SETTINGS, place=["judge", 2])
    assert (lost.value, lost.error, lost.usage["calls"]) == (None, "OSError: down", 1)
    assert found.value == pytest.approx(0.8)
    assert reward.calls(3) == 3


@pytest.mark.parametrize(("given", "rule"), [({}, "sum"), ({"final_choice": "best"}, "best")])
def test_probabilities_weigh_votes_unless_the_choice_is_set(given: dict[str, Any], rule: str) -> None:
    settings = MetaScaleSettings.model_validate(given)
    model = SimulatedChatModel()
    assert Scorer(PTrueReward(model)).settings_for(settings).final_choice == rule
    assert Scorer(JudgeReward(model)).settings_for(settings).final_choice == given.get("final_choice", "support")


async def test_the_offline_model_is_asked_in_both_ways_and_tells_right_from_wrong() -> None:
    model = SimulatedChatModel(seed=3)
    values, right = [], []
    for item in gsm8k()[:40]:
        for answer in (item["gold"], "1"):
            sample = drawn(f"#### {answer}", HumanMessage(item["question"]))
            one = [
                await PTrueReward(model, is_sampler=own).score_samples(item["question"], [sample], SETTINGS, place=[0])
                for own in (True, False)
            ]
            assert one[0][0].value == pytest.approx(one[1][0].value)
            values.append(one[0][0].value or 0.0)
            right.append(answer == item["gold"])
    area = auc(values, right)
    assert area is not None
    assert area > 0.7


def test_a_run_on_the_offline_model_asks_in_the_samples_own_conversation() -> None:
    settings = MetaScaleSettings(reward="p_true", budget=4, seed=1, evolution="off")
    result = create_metascale("simulated", settings=settings).invoke(ask())["result"]
    assert result["reward"] is not None
    assert troubles(result["notes"]) == []


async def test_a_recorded_probability_is_served_with_its_answer(tmp_path: Path) -> None:
    rows = [
        {"question": "How many?", "strategy": "cot", "sample": number, "output_text": text, **told}
        for number, (text, told) in enumerate(
            {"It is 7.": {"yes": 0.8}, "It is 8.": {"yes": 1}, "It is 9.": {}}.items()
        )
    ]
    path = tmp_path / "record.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    reward = PTrueReward(RecordedChatModel(path=path), is_sampler=True)
    samples = [drawn(row["output_text"], HumanMessage("How  many?")) for row in rows]
    seven, eight, nine = await reward.score_samples("How many?", samples, SETTINGS, place=["judge", 1])
    assert (seven.value, eight.value) == (pytest.approx(0.8), pytest.approx(0.9999))
    assert nine.value is None
    assert "does not hold the probability" in str(nine.error)


def test_an_agents_answer_is_asked_about_in_the_agents_conversation(start_server: ServerFactory) -> None:
    server = start_server()
    settings = MetaScaleSettings(reward="p_true", budget=4, evolution="off", seed=1)
    middleware = [MetaScaleMiddleware(settings=settings)]
    agent = create_agent(chat_model(server), tools=[], system_prompt="Be brief.", middleware=middleware)
    agent.invoke({"messages": [("user", QUESTION)]})
    read = [served for served in server.served if served.kind == "p_true"]
    assert [served.body["messages"][0]["content"] for served in read] == ["Be brief."] * 4
    assert max(served.input_tokens - served.cached_tokens for served in read) <= len(ASKED) / 4 + 2 * 16
