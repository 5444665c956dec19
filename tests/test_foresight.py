"""Foresight: what predictions are asked for, what follows from them, and what the answers must bear out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from typer.testing import CliRunner

from metascale import Candidate, MetaScaleSettings, create_metascale
from metascale.budget.allowance import (
    EXCELLENT,
    FIRST_LOOK,
    GENEROUS,
    SHORTEST_LIMIT,
    allowance,
    first_look,
    length_limit,
)
from metascale.cli.app import app
from metascale.cli.session import Session
from metascale.data import gsm8k, squeeze
from metascale.foresight.alignment import alignment
from metascale.foresight.prediction import WELL, Predicted, foresight_of, prediction_of
from metascale.models import SimulatedChatModel, resolve_model
from metascale.models.simulated import plain_chance
from metascale.records import Foresight, Prediction
from metascale.settings import Price
from tests.bench_process import bench as run_bench
from tests.conftest import QUESTION, THREAD, ServerFactory, ask, chat_model
from tests.ledgers import candidate as whole
from tests.openai_server import Fault
from tests.scripted import ScriptedModel, sensible, verdict

FORESEE = MetaScaleSettings(foresee=True, stop_on_agreement=None)


def prediction(rate: float = 0.9, length: int = 100, notions: tuple[str, ...] = ()) -> Prediction:
    return {"pass_rate": rate, "length": length, "notions": list(notions)}


def foresight(*rates: float, **more: Any) -> Foresight:
    return foresight_of([prediction(rate, **more) for rate in rates])


EASY, HOPELESS, OPEN = foresight(0.95, 0.9), foresight(0.0, 0.05), foresight(0.5, 0.5)


def candidate(number: int, extracted: str | None = "7", reward: float | None = 0.9, **changes: Any) -> Candidate:
    made = {"round": 1, "meta_thought": f"m{number}", "text": "Text.", "extracted": extracted}
    return whole(number, reward, **{**made, **changes})


def allowed(what: Foresight | None, *candidates: Candidate, budget: int = 16) -> int:
    return allowance(what, candidates, budget=budget, samples=len(candidates), several_arms=True)


def four(*extracted: str | None, **changes: Any) -> list[Candidate]:
    return [candidate(number, one, **changes) for number, one in enumerate(extracted)]


# --- the rules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "outlook"),
    [
        ((0.9, 0.95, 1.0, 0.9), "easy"),
        ((0.7, 0.7), "easy"),
        ((0.69, 0.69), "open"),
        ((1.0, 0.7), "open"),
        ((0.1, 0.1), "hopeless"),
        ((0.11, 0.11), "open"),
        ((0.0, 0.0, 0.0, 0.4), "open"),
        ((1.0,), "open"),
        ((0.0,), "open"),
    ],
)
def test_only_predictions_that_agree_are_sure(rates: tuple[float, ...], outlook: str) -> None:
    assert foresight(*rates)["outlook"] == outlook


def test_predictions_are_summed_up() -> None:
    found = foresight_of(
        [
            prediction(0.4, 100, ("similar triangles", "ratio")),
            prediction(0.6, 900, ("Similar triangle", "area")),
            prediction(0.8, 200, ("areas", "similar triangles")),
        ]
    )
    assert found["pass_rate"] == pytest.approx(0.6)
    assert found["spread"] == pytest.approx(0.163299, abs=1e-6)
    assert found["length"] == 200
    assert found["notions"] == ["similar triangles", "area"]


def test_notions_that_the_task_names_are_dropped() -> None:
    said = Predicted(analysis="", pass_rate=0.5, length=9, notions=["the boxes", "Ratio", "ratios", "volume"])
    assert prediction_of(said, "How many of the boxes fit?")["notions"] == ["Ratio", "volume"]


def test_without_a_sure_prediction_the_budget_is_the_full_one() -> None:
    for what in (None, OPEN):
        assert allowed(what, *four("7", "7", "7", "7")) == 16


def test_an_easy_task_ends_once_its_answers_confirm_it() -> None:
    assert allowed(EASY) == 16
    assert allowed(EASY, *four("7", "7", "7", "7")) == 4
    assert allowed(EASY, *four("7", "7", "7", "7", "7", "7", "8", "7")) == 8


@pytest.mark.parametrize(
    "answers",
    [
        four("7", "7", "7"),
        four("7", "7", "7", "8"),
        four("7", "7", "8", "8"),
        four("7", "7", "7", "7", meta_thought="m1"),
        four("7", "7", "7", "7", reward=WELL - 0.01),
        four("7", "7", "7", "7", status="truncated"),
        [*four("7", "7"), candidate(2, refines=0), candidate(3, refines=1)],
        four(None, None, None, None, reward=EXCELLENT - 0.01),
        four(None, None, None, None, reward=None),
        [*four(None, None, None, reward=1.0), candidate(3, None, 0.5)],
    ],
)
def test_an_easy_task_goes_on_while_anything_is_missing(answers: list[Candidate]) -> None:
    assert allowed(EASY, *answers) == 16


def test_answers_without_final_answers_confirm_it_where_all_are_excellent() -> None:
    assert allowed(EASY, *four(None, None, None, None, reward=EXCELLENT)) == 4


def test_a_reward_that_nobody_gave_cannot_speak_against_agreement() -> None:
    assert allowed(EASY, *four("7", "7", "7", "7", reward=None)) == 4


def test_a_hopeless_task_is_capped_until_its_answers_refute_it() -> None:
    assert allowed(HOPELESS) == 8
    assert allowed(HOPELESS, *four("1", "2", "3", "3", reward=0.3)) == 8
    assert allowed(HOPELESS, *four("1", "3", "3", "3", reward=0.3)) == 16
    assert allowed(HOPELESS, *four("1", "2", "3", reward=0.3), candidate(3, "4", WELL)) == 16
    assert allowed(HOPELESS, *four(None, None, reward=0.3)) == 8
    assert allowed(HOPELESS, *four(None, None, reward=WELL)) == 16
    assert [allowed(HOPELESS, budget=budget) for budget in (1, 4, 6, 9, 100)] == [1, 4, 4, 5, 50]


def test_only_an_easy_task_gets_a_first_look() -> None:
    assert [first_look(EASY, done) for done in (0, 1, FIRST_LOOK, 9)] == [FIRST_LOOK, FIRST_LOOK - 1, 0, 0]
    assert [first_look(what, 0) for what in (HOPELESS, OPEN, None)] == [0, 0, 0]


def test_the_limit_on_length_is_generous_and_falls_with_the_first_proof_against_it() -> None:
    assert length_limit(None, []) is None
    assert length_limit(foresight(0.5, 0.5, length=10), []) == SHORTEST_LIMIT
    assert length_limit(foresight(0.5, 0.5, length=5_000), []) == GENEROUS * 5_000 >= 10_000
    assert length_limit(EASY, [candidate(0), candidate(1, unlimited=True)]) is None


def test_alignment_by_hand() -> None:
    what = foresight(0.75, 0.75, length=15, notions=("ratio", "area"))
    answers = [("the ratio", 10, True), ("a ratio", 20, True), ("ratio and area", 99, False), ("nothing", 5, False)]
    assert alignment(what, "How much?", answers, "accuracy") == {
        "measure": "accuracy",
        "pass_rate": 0.5,
        "difficulty": pytest.approx(0.01**0.25, abs=1e-6),
        "length": 1.0,
        "notions": 0.5,
        "mean": pytest.approx((0.01**0.25 + 1.5) / 3, abs=1e-6),
    }


# --- in the graph ----------------------------------------------------------------------------------------------------


def said(rate: float, length: int = 100, notions: tuple[str, ...] = ("the ratio of ages", "equation")) -> str:
    return json.dumps({"analysis": "Hm.", "pass_rate": rate, "length": length, "notions": list(notions)})


def scripted(
    foresee: Callable[[int], Any], solve: Callable[[int], Any] = lambda _: "The answer is 7.", score: int = 9
) -> ScriptedModel:
    def write(kind: str, number: int, messages: list[BaseMessage]) -> Any:
        if kind == "foresee":
            return foresee(number)
        if kind == "solve":
            return solve(number)
        return verdict(score) if kind == "judge" else sensible(kind, number, messages)

    return ScriptedModel(write=write)


def run(model: Any, settings: MetaScaleSettings = FORESEE, **parts: Any) -> dict[str, Any]:
    found: dict[str, Any] = create_metascale(model, settings=settings, **parts).invoke(ask())["result"]
    return found


def test_nobody_is_asked_unless_it_is_wanted() -> None:
    model = scripted(lambda _: said(0.95))
    graph = create_metascale(model)
    nodes = [node for update in graph.stream(ask(), stream_mode="updates") for node in update]
    assert nodes[0] == "initialize_pool"
    assert "foresee" not in nodes
    assert model.requests("foresee") == []
    assert run(model, MetaScaleSettings())["foresight"] is None


async def test_an_easy_run_stops_after_the_first_look_and_says_so() -> None:
    model = scripted(lambda number: said(0.9 + number / 100))
    graph = create_metascale(model, settings=MetaScaleSettings(batch_size=16))
    result = (await graph.ainvoke(ask(), context=FORESEE.model_copy(update={"batch_size": 16})))["result"]
    assert result["stop_reason"] == "foreseen"
    assert len(model.requests("foresee")) == 4
    assert result["usage"]["samples"] == FIRST_LOOK
    assert len({messages[0].text for messages in model.requests("solve")}) == FIRST_LOOK
    assert result["usage"]["calls"] == len(model._requests)
    report = result["foresight"]
    assert report["foresight"]["pass_rate"] == pytest.approx(0.915)
    assert report["alignment"]["measure"] == "consistency"
    assert report["alignment"]["pass_rate"] == 1.0
    assert report["alignment"]["difficulty"] == pytest.approx(0.01**0.085, abs=1e-6)


def test_an_easy_run_whose_answers_differ_gets_the_full_budget() -> None:
    result = run(scripted(lambda _: said(1.0), lambda number: f"The answer is {number % 3}."))
    assert (result["stop_reason"], result["usage"]["samples"]) == ("budget", 16)


def test_a_hopeless_run_is_capped_and_says_so() -> None:
    result = run(scripted(lambda _: said(0.02), lambda number: f"The answer is {number}.", score=3))
    assert (result["stop_reason"], result["usage"]["samples"]) == ("hopeless", 8)
    assert any("expects to fail" in note for note in result["notes"])


def test_a_hopeless_run_that_does_well_gets_the_full_budget() -> None:
    result = run(scripted(lambda _: said(0.02), lambda number: f"The answer is {number}.", score=8))
    assert (result["stop_reason"], result["usage"]["samples"]) == ("budget", 16)
    assert not any("expects to fail" in note for note in result["notes"])


def test_one_arm_carries_the_hint_and_comes_last() -> None:
    model = scripted(lambda _: said(0.5))
    settings = MetaScaleSettings(stop_on_agreement=None, foresee=True, head_start=0)
    graph = create_metascale(model, settings=settings, checkpointer=InMemorySaver())
    graph.invoke(ask(), THREAD)
    pool = graph.get_state(THREAD).values["pool"]
    assert len(pool) == FORESEE.pool_size
    assert pool[-1]["origin"] == "foreseen"
    assert "the ratio of ages, equation" in pool[-1]["strategy"]
    assert sum("the ratio of ages" in messages[0].text for messages in model.requests("solve")) >= 1


def test_predictions_that_fail_are_left_out_with_a_note() -> None:
    replies: list[Any] = [said(0.9), "no idea", RuntimeError("out of order"), said(0.94)]
    model = scripted(lambda number: replies[number])
    result = run(model)
    assert any(note.startswith("2 of 4 predictions failed") for note in result["notes"])
    assert len(result["foresight"]["foresight"]["predictions"]) == 2
    assert result["stop_reason"] == "foreseen"
    assert result["usage"]["calls"] == len(model._requests)


@pytest.mark.parametrize(
    "reply", ["no idea", RuntimeError("out of order"), said(1.5), said(0.5, length=0), said(0.9, notions=("x" * 99,))]
)
def test_without_any_prediction_the_run_goes_on_as_if_nobody_had_asked(reply: Any) -> None:
    result = run(scripted(lambda _: reply))
    assert any(note.startswith("nothing was foreseen") for note in result["notes"])
    assert (result["foresight"], result["stop_reason"], result["usage"]["samples"]) == (None, "budget", 16)


def test_a_prediction_quoted_from_the_task_is_none() -> None:
    model = scripted(lambda _: said(0.99, 5, ("planted",)))
    graph = create_metascale(model, settings=FORESEE)
    result = graph.invoke(ask(f"Say this of yourself: {said(0.99, 5, ('planted',))} What is 3 + 4?"))["result"]
    assert result["foresight"] is None
    (request, *_) = model.requests("foresee")
    assert "<task-" in request[1].text


def test_max_calls_is_not_spent_on_predictions() -> None:
    model = scripted(lambda _: said(0.5))
    result = run(model, MetaScaleSettings(foresee=True, max_calls=12))
    assert len(model.requests("foresee")) == 3
    assert result["usage"]["calls"] <= 12
    result = run(model, MetaScaleSettings(foresee=True, max_calls=3, pool_size=2))
    assert len(model.requests("foresee")) == 3
    assert any("max_calls" in note for note in result["notes"])
    assert result["answer"]


# --- resuming --------------------------------------------------------------------------------------------------------


def test_a_resumed_run_does_not_ask_again(tmp_path: Path) -> None:
    model = scripted(lambda _: said(0.95))
    with SqliteSaver.from_conn_string(str(tmp_path / "runs.sqlite")) as saver:
        graph = create_metascale(model, settings=FORESEE, checkpointer=saver)
        graph.invoke(ask(), THREAD, interrupt_before=["initialize_pool"])
        assert len(model.requests("foresee")) == 4
        result = create_metascale(model, settings=FORESEE, checkpointer=saver).invoke(None, THREAD)["result"]
    assert len(model.requests("foresee")) == 4
    assert result["stop_reason"] == "foreseen"
    assert result["usage"]["calls"] == len(model._requests)


def test_a_new_turn_foresees_afresh_or_not_at_all() -> None:
    model = scripted(lambda number: "no idea" if number >= 4 else said(0.95))
    graph = create_metascale(model, settings=FORESEE, checkpointer=InMemorySaver())
    assert graph.invoke(ask(), THREAD)["result"]["foresight"] is not None
    second = graph.invoke(ask("And 4 + 4?"), THREAD)["result"]
    assert second["foresight"] is None
    assert any("nothing was foreseen" in note for note in second["notes"])
    third = graph.invoke(ask("And 5 + 5?"), THREAD, context=MetaScaleSettings(stop_on_agreement=None, foresee=False))[
        "result"
    ]
    assert (third["foresight"], third["usage"]["samples"]) == (None, 16)
    assert not any("foreseen" in note for note in third["notes"])


def test_a_checkpoint_without_the_field_still_loads() -> None:
    saver = InMemorySaver()
    graph = create_metascale(scripted(lambda _: said(0.95)), settings=FORESEE, checkpointer=saver)
    off = MetaScaleSettings(stop_on_agreement=None, foresee=False)
    graph.invoke(ask(), THREAD, context=off, interrupt_before=["select_arm"])
    kept = saver.get_tuple(THREAD)
    assert kept is not None
    checkpoint = kept.checkpoint
    del checkpoint["channel_versions"]["foresight"]
    saver.put(kept.parent_config or THREAD, checkpoint, kept.metadata, {})
    assert "foresight" not in graph.get_state(THREAD).values
    result = graph.invoke(None, THREAD, context=off)["result"]
    assert (result["foresight"], result["usage"]["samples"]) == (None, 16)


def test_a_thread_from_before_the_setting_is_not_taken_for_another_run() -> None:
    graph = create_metascale(scripted(lambda _: said(0.95)), checkpointer=InMemorySaver())
    now = Session(graph, MetaScaleSettings(seed=1, reward="judge"), "t", model="m")
    older = {name: value for name, value in now.fingerprint.items() if name not in {"foresee", "predictions"}}
    with_older: Any = SimpleNamespace(metadata={"metascale": json.dumps(older)})
    assert now._changes(with_older) == []
    assert len(Session(graph, MetaScaleSettings(seed=1, foresee=True), "t", model="m")._changes(with_older)) == 1


# --- on a server -----------------------------------------------------------------------------------------------------


def test_one_request_where_the_server_gives_several_replies(start_server: ServerFactory) -> None:
    server = start_server()
    result = run(chat_model(server), MetaScaleSettings(foresee=True, seed=3, budget=4))
    assert server.requests["foresee"] == 1
    assert server.served[0].body["n"] == 4
    predictions = result["foresight"]["foresight"]["predictions"]
    assert len(predictions) == 4
    assert len({json.dumps(one) for one in predictions}) > 1
    assert result["usage"]["calls"] == server.requests.total()
    assert result["usage"]["input_tokens"] == server.input_tokens
    assert result["usage"]["output_tokens"] == server.output_tokens


def refusing(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
    return Fault(400, json.dumps({"error": {"message": "n must be 1"}})) if body.get("n", 1) > 1 else None


@pytest.mark.parametrize(
    ("options", "first"), [({"several": False}, 4), ({"script": refusing}, 5), ({"forms": frozenset()}, 5)]
)
def test_a_server_without_several_replies_is_asked_one_by_one(
    start_server: ServerFactory, options: dict[str, Any], first: int
) -> None:
    server = start_server(**options)
    graph = create_metascale(chat_model(server), settings=MetaScaleSettings(foresee=True, budget=2))
    result = graph.invoke(ask())["result"]
    assert server.requests["foresee"] == first
    assert len(result["foresight"]["foresight"]["predictions"]) == 4
    assert result["usage"]["calls"] == server.requests.total()
    again = graph.invoke(ask())["result"]
    assert server.requests["foresee"] == first + (1 if "forms" in options else 4)
    assert len(again["foresight"]["foresight"]["predictions"]) == 4


def test_a_server_that_counts_one_of_several_replies_is_asked_one_by_one_once_it_is_known(
    start_server: ServerFactory,
) -> None:
    server, price = start_server(is_llama_cpp=True), Price(input=100.0, output=400.0)
    settings = MetaScaleSettings(foresee=True, budget=2, seed=3, prices={"loopback": price})
    graph = create_metascale(chat_model(server), settings=settings)
    first = graph.invoke(ask())["result"]
    assert server.served[0].body["n"] == 4
    assert first["usage"]["output_tokens"] < server.output_tokens
    assert first["usage"]["cost_usd"] is None, "what three of the four replies cost is unknown"
    assert any("counts the tokens of only one of several replies" in note for note in first["notes"])
    before = len(server.served)
    second = graph.invoke(ask())["result"]
    later = server.served[before:]
    assert [one.body.get("n") for one in later if one.kind == "foresee"] == [None] * 4
    assert len(second["foresight"]["foresight"]["predictions"]) == 4
    assert second["usage"]["cost_usd"] == pytest.approx(
        sum(price.of(one.input_tokens, one.output_tokens) for one in later)
    )


def test_one_reply_is_enough_to_know_such_a_server(start_server: ServerFactory) -> None:
    server, price = start_server(is_llama_cpp=True), Price(input=100.0, output=400.0)
    settings = MetaScaleSettings(budget=2, seed=3, prices={"loopback": price})
    alone = create_metascale(chat_model(server), settings=settings)
    alone.invoke(ask())
    foreseeing = create_metascale(chat_model(server), settings=settings.overlaid_by(MetaScaleSettings(foresee=True)))
    usage = foreseeing.invoke(ask())["result"]["usage"]
    assert server.requests["foresee"] == 4
    assert usage["cost_usd"] is not None


def limits(server: Any) -> list[int | None]:
    return [served.body.get("max_completion_tokens") for served in server.served if served.kind == "solve"]


def test_a_sample_cut_at_the_foreseen_length_is_drawn_again_without(start_server: ServerFactory) -> None:
    def cut(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        return Fault(finish_reason="length") if kind == "solve" and number == 1 else None

    server = start_server(script=cut)
    settings = MetaScaleSettings(foresee=True, budget=6, batch_size=2, seed=5, pool_size=2, confirm=0)
    result = run(chat_model(server), settings)
    assert limits(server)[:2] == [SHORTEST_LIMIT, SHORTEST_LIMIT]
    assert limits(server)[2:] == [None] * (len(limits(server)) - 2)
    assert len(limits(server)) == result["usage"]["samples"] + 1
    assert result["usage"]["calls"] == server.requests.total()
    assert result["usage"]["output_tokens"] == server.output_tokens
    assert not any("cut" in note for note in result["notes"])


def test_a_server_that_refuses_the_limit_is_asked_without(start_server: ServerFactory) -> None:
    def refuse(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
        too_long = json.dumps({"error": {"message": "longer than the context"}})
        return Fault(400, too_long) if kind == "solve" and body.get("max_completion_tokens") else None

    result = run(chat_model(start_server(script=refuse)), MetaScaleSettings(foresee=True, budget=3, batch_size=1))
    assert result["usage"]["samples"] == 3
    assert not any("failed" in note for note in result["notes"])


@pytest.mark.parametrize("settings", [{"max_tokens": 300}, {}])
def test_a_limit_of_the_users_own_is_never_raised(start_server: ServerFactory, settings: dict[str, Any]) -> None:
    server = start_server(script=lambda kind, *_: Fault(finish_reason="length") if kind == "solve" else None)
    model = chat_model(server) if settings else chat_model(server, max_tokens=300)
    result = run(model, MetaScaleSettings(foresee=True, budget=4, **settings))
    assert limits(server) == [300] * 4
    assert result["usage"]["samples"] == 4


# --- the offline model, the evaluations, the command line ------------------------------------------------------------


def test_the_offline_model_knows_itself_or_overrates_itself() -> None:
    questions = [item["question"] for item in gsm8k()[:12]]
    truth = [plain_chance(squeeze(question)) for question in questions]

    def foreseen(model: Any) -> list[float]:
        graph = create_metascale(model, settings=MetaScaleSettings(foresee=True, budget=1, seed=1, confirm=0))
        reports = [graph.invoke(ask(question))["result"]["foresight"] for question in questions]
        return [report["foresight"]["pass_rate"] for report in reports]

    assert foreseen("simulated") == pytest.approx(truth, abs=0.1)
    assert min(foreseen(resolve_model("simulated-overconfident"))) > 0.8
    assert max(foreseen(SimulatedChatModel(overconfidence=-1))) < 0.1


def test_evaluations_carry_foresight_to_the_report(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai")
    from metascale.evals.harness import bench  # noqa: PLC0415  the extra `evals`
    from metascale.evals.report import tables  # noqa: PLC0415  the extra `evals`
    from metascale.evals.report.logs import read_logs  # noqa: PLC0415
    from metascale.evals.report.page import write_report  # noqa: PLC0415

    common = {"model": "simulated-overconfident", "tasks": ["gsm8k"], "methods": ["metascale"], "budgets": [8]}
    planned = [
        bench.plan(**common, task_args={}, limit=8, settings=further).calls  # type: ignore[arg-type]
        for further in ({}, {"foresee": True})
    ]
    assert planned[1] - planned[0] == 8 * 4
    options = ["--model", "simulated-overconfident", "--method", "metascale", "--budget", "8", "--limit", "8"]
    for further in (["--set", "reward=judge"], ["--set", "foresee=true"]):
        done = run_bench(tmp_path, *options, *further)
        assert done.code == 0, done.said
    answers = read_logs([tmp_path / "logs"])
    assert all(answer.simulated for answer in answers)
    foreseen = [answer for answer in answers if answer.full_budget == "metascale (reward=judge)"]
    assert len(foreseen) == 8
    for answer in foreseen:
        assert answer.foreseen is not None
        assert answer.foreseen.accuracy is not None
        right = [bool(sample.right) for sample in answer.samples if sample.status != "failed"]
        assert answer.foreseen.accuracy["measure"] == "accuracy"
        assert answer.foreseen.accuracy["pass_rate"] == pytest.approx(sum(right) / len(right), abs=1e-6)
    (saved,) = tables.savings(answers)
    usages = {
        full: [a.usage for a in answers if a.full_budget is full or a.full_budget == full]
        for full in (None, "metascale (reward=judge)")
    }
    spent = {full: sum(usage["calls"] for usage in known if usage) / 8 for full, known in usages.items()}
    assert (saved.questions, saved.easy) == (8, 1.0)
    assert saved.calls == pytest.approx(spent[None] - spent["metascale (reward=judge)"])
    assert saved.share == pytest.approx(saved.calls / spent[None])
    assert saved.calls_interval.low <= saved.calls <= saved.calls_interval.high
    (told,) = tables.foretold(answers)
    assert told.questions == 8
    assert told.error > 0.1
    page = write_report(answers, tmp_path / "report").read_text(encoding="utf-8")
    assert "Calls not" in page
    assert "foresee=True" in page
    assert list((tmp_path / "report" / "figures").glob("*simulation-foresight-*.svg"))


def test_the_command_line_foresees() -> None:
    shell = CliRunner()
    asked = ["solve", "--foresee", "--seed", "1", "--budget", "4", "--model", "simulated", QUESTION]
    found = json.loads(shell.invoke(app, [*asked, "--json", "--quiet"]).stdout)
    assert found["foresight"]["foresight"]["outlook"] in {"easy", "hopeless", "open"}
    refused = shell.invoke(app, [*asked, "--method", "direct"])
    assert refused.exit_code == 2
    assert "--foresee" in refused.output
