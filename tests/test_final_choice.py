"""From many scored answers to one: second looks, early stopping and synthesis, through whole runs."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from metascale import MetaScaleSettings, Score, create_metascale, prompts
from metascale.choice.ranking import choose, field_of
from metascale.errors import SettingError
from metascale.graphs import METHODS, create_best_of_n
from metascale.records import Candidate
from metascale.rewards import AgreementReward
from metascale.rewards.judge import LOOK_TEMPERATURE, WAYS
from tests.conftest import THREAD, ServerFactory, ask, chat_model
from tests.openai_server import Fault
from tests.runs import plain, run
from tests.scripted import Reply, ScriptedModel, TimedModel, discovering, sensible, verdict
from tests.virtual_time import in_virtual_time

STRATEGY = "Work in this way"
SMALL = {"max_retries": 0, "pool_size": 2, "evolve_every": 0, "answer_kind": "choice"}
"""Texts such as "Answer 5." mark no choice, so they are free texts."""
NUMBERS = {"answer_kind": "number"}
JUDGED = [name for name, method in METHODS.items() if method.judged]

Judge = Callable[[str, int], Reply]


def shown(messages: Sequence[BaseMessage]) -> str:
    """The answer that a judge is shown."""
    return dict(prompts.fenced(messages[1].text))["answer"]


def playing(judge: Judge, answer: Callable[[int], Reply] = "Answer {}.".format) -> Any:
    """A model that answers by `answer(number)` and judges by `judge(text, times judged before)`."""
    judged: Counter[str] = Counter()

    def write(kind: str, number: int, messages: list[BaseMessage]) -> Reply:
        if kind == "solve":
            return answer(number)
        if kind == "judge":
            text = shown(messages)
            judged[text] += 1
            return judge(text, judged[text] - 1)
        return discovering(kind, number, messages)

    return write


def pick(
    write: Any,
    *,
    create: Any = create_metascale,
    reward: Any = None,
    config: dict[str, Any] | None = None,
    **settings: Any,
) -> tuple[dict[str, Any], ScriptedModel]:
    """A small run that looks twice: its final state, and the model."""
    given = {"reward": reward} if reward is not None else {}
    return run(write, create=create, settings=SMALL | settings, config=config, **given)


def looks(state: dict[str, Any]) -> list[float | None]:
    return [look["value"] for candidate in state["candidates"] for look in candidate["looks"]]


# --- second looks --------------------------------------------------------------------------------------------------


def lucky(text: str, times: int) -> Reply:
    """The wrong answer is praised at first sight only."""
    if text == "Answer 3.":
        return verdict(9 if times == 0 else 3)
    return verdict(8 if text == "Answer 5." else 3 + sum(map(ord, text)) % 4)


def test_the_luckiest_score_loses_after_fresh_looks() -> None:
    state, model = pick(playing(lucky), budget=8, batch_size=1)
    result = state["result"]
    assert result["answer"] == "Answer 5."
    assert result["reward"] == pytest.approx(7 / 9)
    made = looks(state)
    assert 0 < len(made) <= 4
    assert result["usage"]["calls"] == 8 + 8 + len(made) == len(model._requests)


def test_without_second_looks_the_highest_single_score_wins_as_in_the_paper() -> None:
    for rule in ("support", "sum", "best"):
        state, _ = pick(playing(lucky), budget=8, batch_size=1, confirm=0, final_choice=rule)
        result = state["result"]
        assert result["answer"] == "Answer 3."
        assert result["usage"]["calls"] == 16
        assert result["finalists"] == looks(state) == []
        assert 0 < result["confidence"] < 1
        assert result["notes"][-1] == "the confidence rests on 8 scores of 8 free texts"


def test_finalists_and_confidence_tell_what_the_choice_rests_on() -> None:
    state, _ = pick(playing(lucky), budget=8, batch_size=1)
    result = state["result"]
    looked_at = {c["id"]: c for c in state["candidates"] if c["looks"]}
    assert result["finalists"][0]["candidate"] == result["candidate"]
    assert {finalist["candidate"] for finalist in result["finalists"]} == set(looked_at)
    for finalist in result["finalists"]:
        candidate = looked_at[finalist["candidate"]]
        assert finalist["looks"] == [look["value"] for look in candidate["looks"]]
        assert finalist["reward"] == candidate["reward"]
        assert finalist["meta_thought"] == candidate["meta_thought"]
        assert finalist["support"] == 1
    estimates = [finalist["estimate"] for finalist in result["finalists"]]
    assert estimates == sorted(estimates, reverse=True)
    assert 0 < result["confidence"] < 1
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_looks_end_once_one_answer_is_clearly_ahead() -> None:
    state, _ = pick(playing(lambda text, _: verdict(9 if text == "Answer 5." else 3)), budget=16, confirm=100)
    assert looks(state) == []
    assert state["result"]["answer"] == "Answer 5."

    def close_at_first(text: str, times: int) -> Reply:
        return verdict(8 if text == "Answer 5." or (text == "Answer 3." and not times) else 3)

    state, _ = pick(playing(close_at_first), budget=16, confirm=100)
    assert 0 < len(looks(state)) <= 6
    assert state["result"]["answer"] == "Answer 5."


def unsteady(text: str, times: int) -> Reply:
    """A judge without an opinion."""
    return verdict((7, 3, 9, 5, 8, 2, 6)[(sum(map(ord, text)) + 3 * times) % 7])


def serving_script(write: Any) -> Any:
    """The script by which a loopback server replies what `write` says."""

    def script(kind: str, number: int, body: dict[str, Any]) -> Fault:
        messages: list[Any] = [HumanMessage(message["content"]) for message in body["messages"]]
        return Fault(text=write(kind, number, messages))

    return script


def test_the_server_counts_what_the_bill_says(start_server: ServerFactory) -> None:
    server = start_server(script=serving_script(playing(unsteady)))
    graph = create_metascale(chat_model(server), settings=MetaScaleSettings(budget=12, confirm=7, synthesize=True))
    result = graph.invoke(ask())["result"]
    usage = result["usage"]
    made = sum(len(finalist["looks"]) for finalist in result["finalists"])
    assert 0 < made <= 7
    assert server.count("judge") == 12 + made
    assert usage["samples"] == server.count("solve") + server.count("synthesize") == 12
    assert usage["calls"] == server.requests.total()
    assert (usage["input_tokens"], usage["output_tokens"]) == (server.input_tokens, server.output_tokens)


@pytest.mark.parametrize("name", JUDGED)
@pytest.mark.parametrize("synthesize", [False, True])
@pytest.mark.parametrize("target", [None, 0.8])
def test_max_calls_holds_and_no_sample_is_left_over(name: str, target: float | None, *, synthesize: bool) -> None:
    for budget, batch_size, confirm, max_calls in [
        *((6, 4, confirm, max_calls) for confirm, max_calls in ((None, 8), (0, 13), (9, 13), (9, 60))),
        *((24, 5, confirm, max_calls) for confirm, max_calls in ((None, 47), (20, 47), (20, 200))),
        *((budget, 3, None, max_calls) for budget, max_calls in ((1, 8), (2, None), (3, 8))),
        (16, 1, None, 31),
    ]:
        state, model = pick(
            playing(unsteady),
            create=METHODS[name].create,
            budget=budget,
            batch_size=batch_size,
            confirm=confirm,
            max_calls=max_calls,
            synthesize=synthesize,
            target_reward=target,
            evolve_every=1,
            evolution="always",
            pool_size=4,
        )
        case = (budget, batch_size, confirm, max_calls)
        usage = state["result"]["usage"]
        assert usage["calls"] == len(model._requests), case
        assert max_calls is None or usage["calls"] <= max_calls, case
        assert usage["samples"] == len(state["candidates"]) <= budget, case
        assert len(looks(state)) <= (budget // 2 if confirm is None else confirm), case
        if state["result"]["stop_reason"] != "target_reward":
            assert usage["samples"] == budget or max_calls - usage["calls"] < 2, case
        if max_calls in {None, 60, 200} and target is None:
            assert usage["samples"] == budget, case


@pytest.mark.parametrize("limit", [{"max_tokens_total": 9_000}, {"max_seconds": 0.4}])
def test_second_looks_end_where_tokens_or_time_end(start_server: ServerFactory, limit: dict[str, Any]) -> None:
    settings = MetaScaleSettings.model_validate({"budget": 4, "batch_size": 4, "confirm": 500, **SMALL, **limit})
    if "max_seconds" in limit:
        graph = create_metascale(TimedModel(write=playing(unsteady), takes=lambda *_: 0.04), settings=settings)
        result = in_virtual_time(lambda: graph.ainvoke(ask()))["result"]
    else:
        server = start_server(script=serving_script(playing(unsteady)))
        result = create_metascale(chat_model(server), settings=settings).invoke(ask())["result"]
    made = sum(len(finalist["looks"]) for finalist in result["finalists"])
    assert result["stop_reason"] == "budget"
    assert 0 < made < 40
    free, _ = pick(playing(unsteady), budget=4, batch_size=4, confirm=60)
    assert len(looks(free)) == 60


def test_fresh_looks_are_asked_in_other_words_and_orders_and_are_free_to_differ(start_server: ServerFactory) -> None:
    server = start_server(script=serving_script(playing(unsteady)))
    settings = MetaScaleSettings.model_validate(SMALL | {"budget": 4, "batch_size": 4, "confirm": 40})
    graph = create_metascale(chat_model(server, temperature=0.25), settings=settings, checkpointer=InMemorySaver())
    graph.invoke(ask(), THREAD)
    ways: dict[str, list[tuple[str, bool]]] = {}
    temperatures: dict[str, list[float]] = {}
    seeds = []
    for served in server.served:
        if served.kind != "judge":
            continue
        system, material = (message["content"] for message in served.body["messages"][:2])
        fences = prompts.fenced(material)
        text = dict(fences)["answer"]
        ways.setdefault(text, []).append((system.split("\n")[0], fences[0][0] == "question"))
        temperatures.setdefault(text, []).append(served.body["temperature"])
        seeds.append(served.body.get("seed"))
    assert sum(len(asked) for asked in ways.values()) > 30
    for text, asked in ways.items():
        assert len(set(asked[:WAYS])) == len(asked[:WAYS])
        assert temperatures[text] == [0.25] + [LOOK_TEMPERATURE] * (len(asked) - 1)
    wordings = [
        look["wording"] for candidate in graph.get_state(THREAD).values["candidates"] for look in candidate["looks"]
    ]
    assert len(set(wordings)) >= 4


def test_several_answers_are_judged_in_one_request_in_random_order() -> None:
    orders = []

    def write(kind: str, number: int, messages: list[BaseMessage]) -> Reply:
        if kind == "solve":
            return f"Answer {number}."
        if kind == "judge_list":
            answers = [(label, text) for label, text in prompts.fenced(messages[1].text) if label != "question"]
            orders.append([text for _, text in answers])
            said = [
                {"answer": int(label.split("_")[1]), "critique": text, "score": 1 + int(text[7:-1])}
                for label, text in answers
            ]
            return json.dumps({"verdicts": said})
        return sensible(kind, number, messages)

    state, model = pick(write, budget=8, batch_size=4, judge_at_once=4, confirm=0, seed=2)
    assert len(model.requests("judge_list")) == 2
    assert not model.requests("judge")
    assert state["result"]["usage"]["calls"] == 8 + 2
    assert any(order != sorted(order) for order in orders)
    assert orders[0] != [text.replace("4", "0") for text in orders[1]]
    for candidate in state["candidates"]:
        assert candidate["critique"] == candidate["text"]
        assert candidate["reward"] == pytest.approx(int(candidate["text"][7:-1]) / 9)


# --- which answer --------------------------------------------------------------------------------------------------


def sample(number: int, reward: float | None, answer: str | None = None, **other: Any) -> Candidate:
    return {
        "id": number,
        "round": 1,
        "meta_thought": "no_strategy",
        "status": "ok",
        "text": f"Text {number}.",
        "error": None,
        "reward": reward,
        "critique": None,
        "wording": "",
        "memo": None,
        "looks": [],
        "extracted": answer,
        "input_tokens": 1,
        "output_tokens": 1,
        **other,
    }


@pytest.mark.parametrize(("rule", "winner"), [("best", "x"), ("support", "y"), ("sum", "z")])
def test_each_rule_counts_equal_answers_together_as_it_says(rule: Any, winner: str) -> None:
    rewards = {"x": [0.97], "y": [0.95, 0.8, 0.7, 0.85], "z": [0.6, 0.4, 0.5, 0.7, 0.45, 0.55, 0.5, 0.6], "w": [0.2]}
    candidates = [
        sample(number, reward, answer)
        for number, (answer, reward) in enumerate((a, r) for a, found in rewards.items() for r in found)
    ]
    ranked = choose(candidates, MetaScaleSettings(final_choice=rule)).ranked
    assert ranked[0]["extracted"] == winner
    assert len(ranked) == len(candidates)
    first_of_the_winner = max(rewards[winner])
    assert ranked[0]["reward"] == first_of_the_winner
    assert choose(candidates, MetaScaleSettings(final_choice=rule, confirm=0)).ranked[0]["extracted"] == "x"


def test_answers_are_grouped_only_where_half_of_them_are_marked() -> None:
    rare = [sample(0, 0.5, "a"), sample(1, 0.5, "a"), *(sample(n, 0.5) for n in range(2, 6))]
    assert len(field_of(rare, "support").groups) == 6
    half = [sample(0, 0.5, "a"), sample(1, 0.5, "a"), sample(2, 0.5), sample(3, 0.4)]
    assert [len(group) for group in field_of(half, "support").groups] == [2, 1, 1]
    assert len(field_of(half, "best").groups) == 4


def test_what_is_not_scored_does_not_contend_but_remains_in_reserve() -> None:
    candidates = [sample(0, None, "a"), sample(1, 0.1, "b"), sample(2, None, "a", status="failed", text="")]
    assert [c["id"] for c in choose(candidates, MetaScaleSettings()).ranked] == [1, 0]
    assert [len(one.scores) for one in field_of(candidates, "support").contenders] == [1, 0]
    free = [sample(0, None), sample(1, 0.1)]
    assert len(field_of(free, "support").contenders) == 1


def test_identical_texts_are_one_contender() -> None:
    def answer(number: int) -> str:
        return "It depends.\nOn many things." if number % 2 else f"Perhaps {number}.\nWho knows?"

    state, _ = pick(playing(unsteady, answer), budget=8, batch_size=1)
    field = field_of(state["candidates"], "support")
    assert all(c["extracted"] is None for c in state["candidates"])
    assert sorted(len(group) for group in field.groups) == [1, 1, 1, 1, 4]


def test_a_tie_goes_to_the_answer_that_more_meta_thoughts_gave() -> None:
    given = {"chain_of_thought": iter("221"), "no_strategy": iter("413")}

    def write(kind: str, number: int, messages: list[BaseMessage]) -> Reply:
        if kind == "solve":
            return f"#### {next(given['chain_of_thought' if STRATEGY in messages[-1].text else 'no_strategy'])}"
        return playing(lambda *_: verdict(7))(kind, number, messages)

    state, _ = pick(write, budget=6, batch_size=1, policy="round_robin", confirm=4, answer_kind="number")
    answers = [c["extracted"] for c in state["candidates"]]
    assert answers.count("1") == answers.count("2") == 2
    assert answers.index("2") < answers.index("1")
    assert state["result"]["answer"] == "#### 1"


# --- synthesis -----------------------------------------------------------------------------------------------------


def synthesising(reply: Reply, score: float) -> Any:
    """Ordinary answers earn 3 to 6; the synthesis is `reply`, and earns `score`."""
    play = playing(lambda text, _: verdict(score if text == reply else 3 + sum(map(ord, text)) % 4))
    return lambda kind, *rest: reply if kind == "synthesize" else play(kind, *rest)


@pytest.mark.parametrize("max_calls", [None, 18, 40])
@pytest.mark.parametrize(("score", "wins"), [(10, True), (2, False)])
def test_a_synthesis_is_a_sample_that_must_win_its_place(score: int, max_calls: int | None, *, wins: bool) -> None:
    state, model = pick(synthesising("All in all.", score), budget=6, synthesize=True, max_calls=max_calls)
    *others, last = state["candidates"]
    assert len(others) == 5
    assert last["meta_thought"] == "synthesis"
    assert last["text"] == "All in all."
    assert last["reward"] == pytest.approx((score - 1) / 9)
    assert len(model.requests("synthesize")) == 1
    result = state["result"]
    assert result["usage"]["samples"] == 6
    assert result["usage"]["calls"] == 12 + len(looks(state)) == len(model._requests)
    assert result["stop_reason"] == "budget"
    assert (result["answer"] == "All in all.") is wins
    thought = next(t for t in state["pool"] if t["id"] == "synthesis")
    assert thought["origin"] == "synthesis"
    assert thought["generation"] == 1
    best = sorted(others, key=lambda c: -c["reward"])[:3]
    assert set(thought["parents"]) == {c["meta_thought"] for c in best}
    material = dict(prompts.fenced(model.requests("synthesize")[0][1].text))
    assert sorted(material[f"answer_{n}"].split("\n")[0] for n in (1, 2, 3)) == sorted(c["text"] for c in best)
    assert not wins or result["meta_thought"] == thought


@pytest.mark.parametrize("reply", [ValueError("no pen"), ""])
def test_a_synthesis_that_fails_leaves_the_result_alone(reply: Reply) -> None:
    state, model = pick(synthesising(reply, 1), budget=6, synthesize=True)
    result = state["result"]
    assert result["answer"].startswith("Answer")
    assert result["stop_reason"] == "budget"
    assert len(model.requests("synthesize")) == 1
    assert len(model.requests("solve")) == 5
    assert sum(c["meta_thought"] == "synthesis" for c in state["candidates"]) == 1
    if isinstance(reply, Exception):
        assert any("1 sample failed: ValueError: no pen" in note for note in result["notes"])


def test_a_synthesis_ends_the_search_for_the_reason_for_which_it_stopped() -> None:
    def write(kind: str, number: int, messages: list[BaseMessage]) -> Reply:
        if kind == "synthesize":
            return "#### 6"
        return playing(lambda *_: verdict(5), lambda _: "#### 5")(kind, number, messages)

    state, model = pick(
        write, create=create_best_of_n, budget=16, batch_size=1, synthesize=True, stop_on_agreement=0.9, **NUMBERS
    )
    assert state["result"]["stop_reason"] == "agreement"
    assert len(model.requests("solve")) == 3
    assert len(model.requests("synthesize")) == 1


def test_the_arm_of_a_synthesis_is_never_pulled() -> None:
    """With few calls, looks that find the judge exact would send the search on to further samples."""

    def exact(text: str, _: int) -> Reply:
        return verdict(10 if text == "All in all." else 2 + sum(map(ord, text)) % 5)

    for max_calls in range(24, 40):
        play = playing(exact)
        state, model = pick(
            lambda kind, *rest, play=play: "All in all." if kind == "synthesize" else play(kind, *rest),
            budget=64,
            batch_size=2,
            confirm=32,
            synthesize=True,
            max_calls=max_calls,
        )
        assert sum(c["meta_thought"] == "synthesis" for c in state["candidates"]) == 1
        assert len(model._requests) <= max_calls


def test_one_answer_is_not_enough_for_a_synthesis() -> None:
    state, model = pick(
        playing(lambda *_: verdict(10)), budget=8, batch_size=1, synthesize=True, target_reward=0.9, confirm=4
    )
    assert state["result"]["stop_reason"] == "target_reward"
    assert state["result"]["usage"]["samples"] == 1
    assert not model.requests("synthesize")


# --- early stopping ------------------------------------------------------------------------------------------------


def test_a_target_that_fresh_looks_do_not_confirm_does_not_stop_the_search() -> None:
    state, _ = pick(
        playing(
            lambda text, times: verdict(10 if text == "Answer 0." and not times else 2 if text == "Answer 0." else 6)
        ),
        budget=12,
        target_reward=0.9,
        confirm=6,
    )
    assert state["result"]["stop_reason"] == "budget"
    assert state["result"]["usage"]["samples"] == 12
    assert next(len(c["looks"]) for c in state["candidates"] if c["text"] == "Answer 0.") >= 2
    assert state["result"]["answer"] != "Answer 0."


def test_a_confirmed_target_stops_the_search() -> None:
    state, model = pick(
        playing(lambda text, _: verdict(10 if text == "Answer 1." else 3)), budget=12, batch_size=4, target_reward=0.9
    )
    result = state["result"]
    assert result["stop_reason"] == "target_reward"
    assert result["usage"]["samples"] == 4
    assert result["answer"] == "Answer 1."
    reached = next(c for c in state["candidates"] if c["text"] == "Answer 1.")
    assert [look["value"] for look in reached["looks"]] == [1.0, 1.0]
    assert len(model.requests("judge")) == 4 + len(looks(state))


def test_a_target_without_second_looks_stops_at_the_first_sight() -> None:
    state, _ = pick(playing(lambda _, times: verdict(10 if not times else 1)), budget=12, target_reward=0.9, confirm=0)
    assert state["result"]["stop_reason"] == "target_reward"
    assert state["result"]["usage"]["calls"] == 8


def test_agreement_needs_two_ways_of_thinking() -> None:
    def five(_: int) -> str:
        return "#### 5"

    same = playing(lambda *_: verdict(5), five)
    state, _ = pick(same, budget=16, batch_size=1, stop_on_agreement=0.99, **NUMBERS)
    assert state["result"]["stop_reason"] == "agreement"
    assert state["result"]["usage"]["samples"] == 16 - state["result"]["saved"] == 3

    def only_one_marks(kind: str, number: int, messages: list[BaseMessage]) -> Reply:
        if kind == "solve" and STRATEGY not in messages[-1].text:
            return f"Let me think {number}.\nHm."
        return same(kind, number, messages)

    state, _ = pick(only_one_marks, budget=16, batch_size=1, stop_on_agreement=0.99, **NUMBERS)
    assert {c["meta_thought"] for c in state["candidates"] if c["extracted"]} == {"chain_of_thought"}
    assert state["result"]["stop_reason"] == "budget"


def test_one_way_of_thinking_agrees_where_there_is_but_one() -> None:
    write = playing(lambda *_: verdict(5), lambda _: "#### 5")
    state, _ = pick(write, create=create_best_of_n, budget=16, batch_size=1, stop_on_agreement=0.9, **NUMBERS)
    assert state["result"]["stop_reason"] == "agreement"
    assert state["result"]["usage"]["samples"] == 3
    state, _ = pick(write, create=create_best_of_n, budget=16, batch_size=1, stop_on_agreement=None, **NUMBERS)
    assert state["result"]["usage"]["samples"] == 16
    assert state["result"]["saved"] == 0


def test_the_search_stops_where_no_progress_is_to_be_expected() -> None:
    state, _ = pick(playing(lambda *_: verdict(10)), budget=64, batch_size=4, min_progress=0.01)
    assert state["result"]["stop_reason"] == "no_progress"
    assert state["result"]["usage"]["samples"] == 8
    state, _ = pick(playing(unsteady), budget=24, batch_size=1, min_progress=0.01)
    assert state["result"]["stop_reason"] == "budget"


# --- judges that fail ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [ValueError("out of order"), "I cannot tell.", verdict(11)])
def test_without_any_score_the_answer_is_what_most_samples_agree_on(reply: Reply) -> None:
    given = ["#### 7", "#### 4", "#### 7", "#### 9", "#### 4", "#### 4", "#### 1", "#### 4"]
    state, model = pick(playing(lambda *_: reply, given.__getitem__), budget=8, synthesize=False, **NUMBERS)
    result = state["result"]
    assert result["answer"] == "#### 4"
    assert result["reward"] is None
    assert result["finalists"] == []
    assert 0.3 < result["confidence"] < 0.8
    assert result["notes"][-1] == "the confidence rests on 8 votes for 4 final answers"
    assert "nothing was scored, so the most frequent answer was chosen" in result["notes"]
    assert len(model.requests("solve")) == 8


@pytest.mark.parametrize("reply", [ValueError("gone"), "I cannot tell."])
@pytest.mark.parametrize(("budget", "confirm"), [(8, None), (8, 500), (64, None)])
def test_a_judge_that_dies_before_the_second_looks_costs_little(reply: Reply, budget: int, confirm: int | None) -> None:
    write = playing(lambda text, times: reply if times else verdict(3 + sum(map(ord, text)) % 5))
    state, _ = pick(write, budget=budget, confirm=confirm)
    result = state["result"]
    made = looks(state)
    assert made
    assert set(made) == {None}
    assert len(made) <= 10
    assert result["reward"] == max(c["reward"] for c in state["candidates"])
    assert f"{len(made)} of {len(made)} second looks failed" in result["notes"]
    assert result["stop_reason"] == "budget"
    assert all(finalist["looks"] == [] for finalist in result["finalists"])


class Own:
    """A reward of a user: answers are worth their number in tenths, and a second look says `fresh`."""

    calls_per_look = 0

    def __init__(self, fresh: Any = None) -> None:
        self.fresh = fresh
        if fresh is not None:
            self.look_again = self._look_again

    def calls(self, new: int, earlier: int = 0) -> int:  # noqa: ARG002
        return 0

    async def score(self, question: str, answers: Sequence[str], settings: Any, *, place: Any) -> list[Score]:  # noqa: ARG002
        return [Score(int(answer[7:-1]) / 10) for answer in answers]

    async def _look_again(
        self,
        question: str,  # noqa: ARG002
        answers: Sequence[str],  # noqa: ARG002
        settings: Any,  # noqa: ARG002
        *,
        place: Any,  # noqa: ARG002
        looks: Sequence[int],
    ) -> list[Score]:
        if isinstance(self.fresh, Exception):
            raise self.fresh
        if self.fresh == "too few":
            return []
        return [Score(self.fresh, wording=f"look {look}") for look in looks]


class WithoutSecondOpinion:
    """A reward of a user that scores once."""

    def calls(self, new: int, earlier: int = 0) -> int:  # noqa: ARG002
        return 0

    async def score(self, question: str, answers: Sequence[str], settings: Any, *, place: Any) -> list[Score]:  # noqa: ARG002
        return [Score(int(answer[7:-1]) / 10) for answer in answers]


def test_a_reward_without_a_second_opinion_is_not_asked_for_one() -> None:
    state, model = pick(sensible, reward=WithoutSecondOpinion(), budget=8, confirm=8, target_reward=0.3)
    result = state["result"]
    assert result["answer"] == "Answer 3."
    assert result["stop_reason"] == "target_reward"
    assert result["finalists"] == looks(state) == []
    assert result["usage"]["calls"] == len(model._requests) == 4


@pytest.mark.parametrize("fresh", [math.nan, 7.0, -0.5, math.inf, "high", "too few", RuntimeError("my bug")])
def test_a_look_that_makes_no_sense_is_ignored(fresh: Any) -> None:
    state, _ = pick(sensible, reward=Own(fresh), budget=8)
    made = looks(state)
    assert made
    assert set(made) == {None}
    assert state["result"]["answer"] == "Answer 7."
    assert any("second looks failed" in note for note in state["result"]["notes"])


def test_a_look_of_a_users_reward_counts() -> None:
    state, _ = pick(sensible, reward=Own(0.0), budget=8, confirm=3, final_choice="best")
    assert state["result"]["finalists"]
    assert all(set(finalist["looks"]) == {0.0} for finalist in state["result"]["finalists"])


def test_answers_scored_earlier_keep_up_with_a_relative_reward() -> None:
    given = ["#### 1", "#### 2", "#### 2", "#### 2", "#### 1", "#### 2", "#### 3", "#### 2"]
    state, _ = pick(
        playing(unsteady, given.__getitem__),
        reward=AgreementReward(),
        budget=8,
        batch_size=2,
        stop_on_agreement=None,
        **NUMBERS,
    )
    assert [c["reward"] for c in state["candidates"]] == [given.count(c["text"]) / 8 for c in state["candidates"]]
    assert state["result"]["answer"] == "#### 2"


class Moody(AgreementReward):
    """A relative reward whose values of earlier answers make no sense later on."""

    def __init__(self, earlier: Any) -> None:
        super().__init__()
        self.earlier = earlier

    async def score(self, *args: Any, **options: Any) -> list[Score]:
        return await AgreementReward().score(*args, **options)

    def values(self, memos: Sequence[Any]) -> list[float | None]:
        found = super().values(memos)
        if self.earlier == "too few":
            return found[:-1]
        return [self.earlier if len(memos) > 4 and i == 0 else value for i, value in enumerate(found)]


@pytest.mark.parametrize("earlier", [math.nan, 7.0, "high"])
def test_a_value_that_makes_no_sense_does_not_replace_an_earlier_one(earlier: Any) -> None:
    write = playing(unsteady, lambda _: "#### 1")
    state, _ = pick(write, reward=Moody(earlier), budget=8, batch_size=4, stop_on_agreement=None, **NUMBERS)
    assert [c["reward"] for c in state["candidates"]] == [1.0] * 8


def test_a_relative_reward_that_forgets_an_answer_leaves_the_round_unscored() -> None:
    state, _ = pick(playing(unsteady, lambda _: "#### 1"), reward=Moody("too few"), budget=4)
    assert all(c["reward"] is None for c in state["candidates"])
    assert any("values for 4 answers" in note for note in state["result"]["notes"])
    assert state["result"]["answer"] == "#### 1"


# --- steps, seeds and settings -------------------------------------------------------------------------------------


def test_a_tight_recursion_limit_ends_with_a_result_also_while_looking_again() -> None:
    made = []
    for limit in range(8, 30):
        state, _ = pick(playing(unsteady), budget=4, batch_size=4, confirm=200, config={"recursion_limit": limit})
        assert state["result"]["answer"]
        made.append(len(looks(state)))
    assert made == sorted(made)
    assert made[0] < made[5] < made[-1]
    for limit in range(12, 30, 3):
        state, _ = pick(playing(unsteady), budget=40, batch_size=1, synthesize=True, config={"recursion_limit": limit})
        assert state["result"]["stop_reason"] == "step_limit"


async def test_the_same_seed_gives_the_same_choice_whether_or_not_it_was_interrupted(tmp_path: Path) -> None:
    settings = MetaScaleSettings(
        budget=12,
        batch_size=6,
        evolve_every=0,
        confirm=40,
        final_choice="best",
        seed=1,
        stop_on_agreement=None,
    )
    with SqliteSaver.from_conn_string(str(tmp_path / "runs.sqlite")) as saver:
        graph = create_metascale("simulated", settings=settings, checkpointer=saver)

        def thread(name: str) -> Any:
            return {"configurable": {"thread_id": name}}

        steps = [node for update in graph.stream(ask(), thread("whole"), stream_mode="updates") for node in update]
        expected = plain(graph.get_state(thread("whole")).values)
        looking = steps.count("confirm")
        assert looking >= 2
        assert [f["looks"] for f in expected["result"]["finalists"]]
        for cut in range(len(steps) - looking, len(steps)):
            config = thread(f"cut {cut}")
            stream = graph.stream(ask(), config, stream_mode="updates", durability="sync")
            for _ in range(cut):
                next(stream)
            stream.close()
            before = graph.get_state(config).values
            assert not before.get("result")
            graph.invoke(None, config)
            assert plain(graph.get_state(config).values) == expected
    asynchronous = create_metascale("simulated", settings=settings, checkpointer=InMemorySaver())
    await asynchronous.ainvoke(ask(), THREAD)
    assert plain(asynchronous.get_state(THREAD).values) == expected


class PulledPlug(BaseException):
    """The process ends."""


@pytest.mark.parametrize("dies_at", [1, 2, 3, 5])
def test_looks_that_were_made_are_not_made_again(dies_at: int) -> None:
    alive = [False]
    seen: list[str] = []

    def judge(text: str, times: int) -> Reply:
        if times:
            if len(seen) == dies_at and not alive[0]:
                raise PulledPlug
            seen.append(text)
        return unsteady(text, times)

    chosen = MetaScaleSettings.model_validate(SMALL | {"budget": 8, "batch_size": 4, "confirm": 20})
    graph = create_metascale(ScriptedModel(write=playing(judge)), settings=chosen, checkpointer=InMemorySaver())
    with pytest.raises(PulledPlug):
        graph.invoke(ask(), {**THREAD, "max_concurrency": 1})
    saved = graph.get_state(THREAD).values
    kept = {c["id"]: c["looks"] for c in saved["candidates"]}
    in_flight = len(seen) - len(looks(saved))
    assert 0 <= in_flight <= 4
    assert len(saved["candidates"]) == 8
    alive[0] = True
    graph.invoke(None, {**THREAD, "max_concurrency": 1})
    state = graph.get_state(THREAD).values
    assert len(seen) == len(looks(state)) + in_flight
    assert all(c["looks"][: len(kept[c["id"]])] == kept[c["id"]] for c in state["candidates"])
    assert state["result"]["usage"]["calls"] == 16 + len(looks(state))


@pytest.mark.parametrize(
    "context",
    [
        {"panel": [{"rubric": "Praise everything."}]},
        {"reward_model": {"api": "tei", "model": "m", "url": "http://localhost:1"}},
        {"verifier": "os:system"},
    ],
)
def test_a_run_cannot_say_what_is_loaded_or_asked(context: dict[str, Any]) -> None:
    model = ScriptedModel(write=sensible)
    with pytest.raises(SettingError, match=f"{next(iter(context))!r} belongs to the graph"):
        create_metascale(model).invoke(ask(), context=MetaScaleSettings.model_validate(context))
    assert not model._requests


def test_a_run_may_choose_its_reward_by_name_and_its_second_looks() -> None:
    model = ScriptedModel(write=playing(unsteady))
    graph = create_metascale(model, settings=MetaScaleSettings.model_validate(SMALL | {"budget": 6}))
    judged = graph.invoke(ask())["result"]
    assert judged["finalists"]
    asked = len(model.requests("judge"))
    once = graph.invoke(ask(), context={"confirm": 0})["result"]
    assert once["finalists"] == []
    assert len(model.requests("judge")) == asked + 6
    agreed = graph.invoke(ask(), context={"reward": "agreement"})["result"]
    assert agreed["usage"]["calls"] == 6
    assert agreed["finalists"] == []
