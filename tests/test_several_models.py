"""Several models in one run, against real servers: who answers, what each costs, and what happens when one fails."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Overwrite
from typer.testing import CliRunner

from metascale import ChatMetaScale, MetaScaleSettings, batch, create_metascale, prompts
from metascale.cli.app import app
from metascale.data import gsm8k
from metascale.errors import MetaScaleError, ModelSetupError, NoAnswerError, SettingError, UnknownNameError
from metascale.evals.report.logs import read_logs
from metascale.evals.report.tables.arms import pulls
from metascale.graphs import METHODS
from metascale.graphs.assembly import for_studio
from metascale.integrations.middleware import MetaScaleMiddleware
from metascale.memory.recollection import Episode, Record, worth_trying
from metascale.memory.store import StrategyMemory
from metascale.models import resolve_models
from metascale.models.lineup import label_of, names_in
from metascale.models.resolve import shown_name
from metascale.pool.beliefs import Kept
from metascale.pool.parts import ArmKey
from metascale.result import troubles
from metascale.rewards import JudgeReward
from metascale.runtime.databases import SERIALIZER, open_store
from metascale.server.errors import ApiError
from metascale.server.names import Names
from metascale.server.options import ServerOptions
from metascale.server.request import ChatRequest
from metascale.server.search import Searches, SearchOutcome
from tests.bench_process import bench
from tests.conftest import QUESTION, THREAD, ServerFactory, ask
from tests.openai_server import Fault, OpenAIServer, Script
from tests.scripted import ScriptedModel, sensible, verdict
from tests.waiting import wait_until

WRONG = "I do not know. The answer is 99999."
RIGHT = f"I added it up. The answer is {gsm8k()[0]['gold']}."
WHOLE = MetaScaleSettings(budget=12, stop_on_agreement=None, confirm=0, synthesize=False, seed=1)
"""Draws its whole budget, and judges each answer once."""


def model_at(server: OpenAIServer, name: str) -> ChatOpenAI:
    """The client of a model that a server has under this name; it does not retry by itself."""
    return ChatOpenAI(model=name, base_url=server.url, api_key="none", max_retries=0)


def always_wrong(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
    return Fault(text=WRONG) if kind == "solve" else None


def always_right(kind: str, number: int, body: dict[str, Any]) -> Fault | None:  # noqa: ARG001
    return Fault(text=RIGHT) if kind == "solve" else None


def failing(status: int, message: str) -> Script:
    """Every request fails."""
    return lambda *_: Fault(status, json.dumps({"error": {"message": message}}))


def solve(models: Sequence[ChatOpenAI], settings: MetaScaleSettings = WHOLE, **parts: Any) -> dict[str, Any]:
    """The final state of a run."""
    return create_metascale(models, settings=settings, **parts).invoke(ask(), output_keys=["result", "candidates"])


def answers_of(out: dict[str, Any], model: str) -> list[dict[str, Any]]:
    return [c for c in out["candidates"] if c["model"] == model]


# --- names ---------------------------------------------------------------------------------------------------------


def test_models_are_named_in_a_list_or_in_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    listed = resolve_models(["openai:a", "openai:b?effort=low&max_tokens=500&temperature=0.3", "simulated"])
    assert [label_of(model) for model in listed] == [
        "a",
        "b?effort=low&max_tokens=500&temperature=0.3",
        "simulated",
    ]
    assert isinstance(listed[1], ChatOpenAI)
    assert (listed[1].model_name, listed[1].reasoning_effort) == ("b", "low")
    assert (listed[1].max_tokens, listed[1].temperature) == (500, 0.3)
    text = "openai:a,openai:b?effort=low,simulated"
    assert [label_of(model) for model in resolve_models(text)] == ["a", "b?effort=low", "simulated"]
    monkeypatch.setenv("METASCALE_MODEL", "openai:a, openai:a")
    assert [label_of(model) for model in resolve_models(None)] == ["a", "a (2)"]
    assert names_in("gguf:/one, two.gguf,openai:a") == ["gguf:/one, two.gguf", "openai:a"]


def test_the_address_in_a_name_is_used_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    name = "openai:a?base_url=http://localhost:1234/v1&effort=high"
    (model,) = resolve_models([name])
    assert isinstance(model, ChatOpenAI)
    assert model.openai_api_base == "http://localhost:1234/v1"
    assert label_of(model) == "a?effort=high"
    assert shown_name(f"{name},openai:b") == "openai:a?effort=high,openai:b"


@pytest.mark.parametrize(
    ("models", "error", "line"),
    [
        (["openai:a?efort=low"], UnknownNameError, "unknown parameter of a model 'efort'; did you mean 'effort'?"),
        (["openai:a?zzz=1"], UnknownNameError, "known: base_url, effort, max_tokens, temperature"),
        (["openai:a?temperature=hot"], ModelSetupError, "temperature of a model is a number from 0 to 9, not 'hot'"),
        (["openai:a?max_tokens=0"], ModelSetupError, "max_tokens of a model is a whole number from 1, not '0'"),
        (["openai:a?effort"], ModelSetupError, "are not NAME=VALUE&NAME=VALUE"),
        (["simulated?effort=low"], ModelSetupError, "takes no 'effort'; leave it out of the model's name"),
        ([], ModelSetupError, "the list of models is empty"),
    ],
)
def test_a_wrong_name_says_what_is_known(
    monkeypatch: pytest.MonkeyPatch, models: list[str], error: type[MetaScaleError], line: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with pytest.raises(error, match=re.escape(line)):
        create_metascale(models)


# --- the search ----------------------------------------------------------------------------------------------------


def test_the_search_finds_the_better_model_and_the_bill_says_what_each_cost(start_server: ServerFactory) -> None:
    weak, strong = start_server(script=always_wrong), start_server(script=always_right)
    out = solve([model_at(weak, "weak"), model_at(strong, "strong")], WHOLE.model_copy(update={"budget": 16}))
    assert len(answers_of(out, "strong")) > len(answers_of(out, "weak")) > 0
    result = out["result"]
    assert result["model"] == "strong"
    for name, server in {"weak": weak, "strong": strong}.items():
        part = result["usage"]["by_model"][name]
        assert part["calls"] == len(server.served)
        assert (part["input_tokens"], part["output_tokens"]) == (server.input_tokens, server.output_tokens)
    assert sum(part["calls"] for part in result["usage"]["by_model"].values()) == result["usage"]["calls"]
    assert strong.count("judge") == 0, "the first model judges"
    assert weak.count("compose") > 0, "and composes"


def test_one_meta_thought_is_enough_for_several_models(start_server: ServerFactory) -> None:
    servers = {name: start_server(script=always_right if name == "b" else always_wrong) for name in "abc"}
    models = [model_at(server, name) for name, server in servers.items()]
    out = solve(models, WHOLE.model_copy(update={"pool_size": 2, "budget": 12}))
    assert {c["model"] for c in out["candidates"]} == set(servers)
    assert len(answers_of(out, "b")) > max(len(answers_of(out, "a")), len(answers_of(out, "c")))


def test_by_default_models_vote_under_chain_of_thought(start_server: ServerFactory) -> None:
    servers = {name: start_server(script=always_wrong if name == "a" else always_right) for name in "abc"}
    models = [model_at(server, name) for name, server in servers.items()]
    out = solve(models, MetaScaleSettings(budget=9, stop_on_agreement=None, seed=1))
    assert {c["model"] for c in out["candidates"]} == set(servers)
    assert {c["meta_thought"] for c in out["candidates"]} == {"chain_of_thought"}
    assert out["result"]["answer"] == RIGHT
    assert sum(server.requests.total() for server in servers.values()) == 9


def test_a_memory_of_several_models_judges_what_it_learns_from(start_server: ServerFactory) -> None:
    servers = [start_server(script=always_right) for _ in range(2)]
    models = [model_at(server, f"model-{number}") for number, server in enumerate(servers)]
    solve(models, MetaScaleSettings(budget=1, memory="mine"), store=InMemoryStore())
    assert sum(server.count("judge") for server in servers) == 1


def test_each_model_has_its_own_parameters(start_server: ServerFactory) -> None:
    one, two = start_server(), start_server()
    names = [f"openai:a?base_url={one.url}&temperature=0.2", f"openai:b?effort=low&max_tokens=321&base_url={two.url}"]
    create_metascale(names, settings=WHOLE.model_copy(update={"budget": 6})).invoke(ask())
    of_one = [s.body for s in one.served if s.kind == "solve"]
    of_two = [s.body for s in two.served if s.kind == "solve"]
    assert {body["temperature"] for body in of_one} == {0.2}
    assert not any("reasoning_effort" in body for body in of_one)
    assert {(body["reasoning_effort"], body["max_completion_tokens"]) for body in of_two} == {("low", 321)}


# --- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message"), [(500, "out of memory"), (401, "Incorrect API key provided"), (404, "model 'x' not found")]
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_model_that_fails_is_left_out_after_three_requests(
    start_server: ServerFactory, status: int, message: str, place: int
) -> None:
    broken, good = start_server(script=failing(status, message)), start_server()
    models = [model_at(good, "good")]
    models.insert(place, model_at(broken, "broken"))
    out = solve(models)
    result = out["result"]
    assert 1 <= sum(broken.requests.values()) <= 3
    assert result["usage"]["samples"] == 12
    assert result["model"] == "good"
    assert len(answers_of(out, "good")) == 12
    told = [note for note in troubles(result["notes"]) if message in note]
    assert len(told) == 1
    assert told[0].startswith("the model 'broken' is left out for the rest of the run: ")
    assert result["usage"]["by_model"]["broken"]["calls"] == sum(broken.requests.values())
    assert all(c["reward"] is not None for c in answers_of(out, "good")), "the other one judges"


def test_a_run_without_any_model_left_ends_as_with_one(start_server: ServerFactory) -> None:
    servers = [start_server(script=failing(401, "Incorrect API key provided")) for _ in range(2)]
    with pytest.raises(NoAnswerError, match="no further one can succeed"):
        solve([model_at(server, f"m{number}") for number, server in enumerate(servers)])
    assert min(sum(server.requests.values()) for server in servers) <= 3


def test_a_model_that_is_left_out_stays_out_when_the_run_continues(start_server: ServerFactory) -> None:
    broken, good = start_server(script=failing(401, "Incorrect API key provided")), start_server()
    saver = InMemorySaver(serde=SERIALIZER)
    models = [model_at(good, "good"), model_at(broken, "broken")]
    graph = create_metascale(models, settings=WHOLE, checkpointer=saver)
    for _ in graph.stream(ask(), THREAD, stream_mode="updates", interrupt_after=["score"]):
        pass
    asked = sum(broken.requests.values())
    assert asked >= 1
    assert set(graph.get_state(THREAD).values["left_out"]) == {"broken"}
    again = create_metascale(models, settings=WHOLE, checkpointer=saver)
    out = again.invoke(None, THREAD)
    assert out["result"]["usage"]["samples"] == 12
    assert sum(broken.requests.values()) == asked


def test_a_checkpoint_without_models_continues(start_server: ServerFactory) -> None:
    graph = create_metascale(
        model_at(start_server(), "only"), settings=WHOLE, checkpointer=InMemorySaver(serde=SERIALIZER)
    )
    for _ in graph.stream(ask(), THREAD, stream_mode="updates", interrupt_after=["score"]):
        pass
    drawn = graph.get_state(THREAD).values["candidates"]
    old = [{key: value for key, value in candidate.items() if key != "model"} for candidate in drawn]
    graph.update_state(THREAD, {"candidates": Overwrite(old)}, as_node="score")
    values = graph.invoke(None, THREAD, output_keys=["result", "candidates"])
    assert len(drawn) < len(values["candidates"]) == 12
    assert {c.get("model") for c in values["candidates"]} == {None, "only"}
    assert values["result"]["answer"]


# --- money ---------------------------------------------------------------------------------------------------------


def test_the_dear_model_waits_while_the_money_does_not_pay_for_it(start_server: ServerFactory) -> None:
    cheap, dear = start_server(script=always_wrong), start_server(script=always_right)
    models = [model_at(cheap, "cheap"), model_at(dear, "dear")]
    prices: Any = {"cheap": {"input": 0.1, "output": 0.4}, "dear": {"input": 20, "output": 80}}
    settings = WHOLE.model_copy(update={"prices": MetaScaleSettings(prices=prices).prices})
    free = solve(models, settings)
    cost = free["result"]["usage"]["cost_usd"]
    assert len(answers_of(free, "dear")) >= 6
    assert free["candidates"][0]["model"] == "cheap"
    short = solve(models, settings.model_copy(update={"max_cost_usd": cost / 20}))
    assert short["result"]["usage"]["samples"] == 12
    assert len(answers_of(short, "dear")) <= 1
    spent = short["result"]["usage"]
    assert spent["cost_usd"] <= cost / 20 * 1.5
    assert sum(part["cost_usd"] for part in spent["by_model"].values()) == pytest.approx(spent["cost_usd"])


def test_a_limit_of_money_needs_the_price_of_every_model(start_server: ServerFactory) -> None:
    models = [model_at(start_server(), name) for name in ("known", "unknown")]
    prices: Any = {"known": {"input": 1, "output": 1}}
    with pytest.raises(SettingError, match="no price of the model 'unknown' is known"):
        solve(models, MetaScaleSettings(budget=4, max_cost_usd=1.0, prices=prices))


# --- command line, server and other doors --------------------------------------------------------------------------


def test_the_command_line_asks_all_models_and_a_thread_remembers_them(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    one, two = start_server(script=always_wrong), start_server(script=always_right)
    named = [f"openai:one?base_url={one.url}", f"openai:two?effort=low&base_url={two.url}"]
    db = tmp_path / "runs.db"
    options = ["--budget", "12", "--set", "stop_on_agreement=null", "--db", str(db), "--thread", "t", "--quiet"]
    models = [part for name in named for part in ("--model", name)]

    done = CliRunner().invoke(app, ["solve", QUESTION, *models, *options, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["model"] == "two?effort=low"
    assert {c["model"] for c in told["candidates"]} == {"one", "two?effort=low"}
    assert set(told["usage"]["by_model"]) == {"one", "two?effort=low"}
    before = sum(one.requests.values()) + sum(two.requests.values())
    again = CliRunner().invoke(app, ["solve", *options, "--more", "4", "--json"], catch_exceptions=False)
    assert again.exit_code == 0, again.output
    more = json.loads(again.stdout)
    assert more["usage"]["samples"] == 16
    assert {c["model"] for c in more["candidates"]} == {"one", "two?effort=low"}
    assert sum(one.requests.values()) + sum(two.requests.values()) > before


def test_a_run_that_is_killed_goes_on_with_its_models(start_server: ServerFactory, tmp_path: Path) -> None:
    asked = [0, 0]

    def counting(place: int, script: Script) -> Script:
        def answer(kind: str, number: int, body: dict[str, Any]) -> Fault | None:
            asked[place] += kind == "solve"
            return script(kind, number, body)

        return answer

    one = start_server(script=counting(0, always_wrong))
    two = start_server(script=counting(1, always_right), latency=0.05)
    names = [f"openai:one?base_url={one.url}", f"openai:two?base_url={two.url}"]
    command = [sys.executable, "-W", "error", "-m", "metascale.cli", "solve", QUESTION, "--json"]
    command += [part for name in names for part in ("--model", name)]
    command += ["--db", str(tmp_path / "runs.db"), "--thread", "t", "--budget", "16", "--set", "stop_on_agreement=null"]
    command += ["--batch-size", "4", "--set", "synthesize=false"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: one.count("solve") + two.count("solve") >= 8, process)
    process.kill()
    process.communicate()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["usage"]["samples"] == 16
    assert [c["model"] in {"one", "two"} for c in told["candidates"]] == [True] * 16
    assert told["model"] == "two"
    assert set(told["usage"]["by_model"]) == {"one", "two"}
    assert sum(asked) < 16 + 8, "what was drawn before the kill is not drawn again"


def test_a_server_that_nobody_runs_is_left_out(start_server: ServerFactory) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        gone = ChatOpenAI(model="gone", base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
        out = solve([model_at(start_server(), "here"), gone])
    result = out["result"]
    assert result["usage"]["samples"] == 12
    assert result["usage"]["by_model"]["gone"]["calls"] <= 3
    (note,) = [note for note in result["notes"] if "'gone' is left out" in note]
    assert "is the server running?" in note


def test_a_chat_model_and_a_batch_take_several_models(start_server: ServerFactory) -> None:
    models = [model_at(start_server(script=s), n) for n, s in (("one", always_wrong), ("two", always_right))]
    chat = ChatMetaScale(model=models, settings=WHOLE)
    message = chat.invoke(QUESTION)
    assert message.response_metadata["metascale"]["model"] == "two"
    assert chat.model_name == "metascale/one+two"
    (row,) = batch([QUESTION], models, settings=WHOLE)
    assert row["answer"] == RIGHT
    assert set(row["usage"]["by_model"]) == {"one", "two"}


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a", "a", "a"], ["a", "a (2)", "a (3)"]),
        (["a", "a", "a (2)"], ["a", "a (3)", "a (2)"]),
        (["a (2)", "a", "a", "a (2)"], ["a (2)", "a", "a (3)", "a (2) (2)"]),
    ],
)
def test_every_model_has_a_label_of_its_own(names: list[str], labels: list[str]) -> None:
    models = resolve_models([ScriptedModel(name=name, write=sensible) for name in names])
    assert [label_of(model) for model in models] == labels
    assert [label_of(model) for model in resolve_models(models)] == labels


@pytest.mark.parametrize(("reward", "judged"), [("auto", False), ("judge", True)])
def test_a_batch_that_nobody_gave_a_memory_does_not_judge_what_votes_can_decide(
    reward: str,
    judged: bool,  # noqa: FBT001
) -> None:
    models = [
        ScriptedModel(name=name, write=lambda kind, *_: verdict(5) if kind == "judge" else "The answer is 4.")
        for name in ("one", "two")
    ]
    settings = MetaScaleSettings.model_validate({"budget": 4, "reward": reward, "stop_on_agreement": None})
    batch(["How many?", "How much?"], models, settings=settings)
    assert sum(len(model.requests("solve")) for model in models) == 8
    assert any(model.requests("judge") for model in models) is judged


def test_the_agents_middleware_asks_other_models_too(start_server: ServerFactory) -> None:
    one, two = start_server(script=always_wrong), start_server(script=always_right)
    middleware = MetaScaleMiddleware(others=[model_at(two, "two")], settings=WHOLE)
    agent = create_agent(model_at(one, "one"), middleware=[middleware])
    said = agent.invoke({"messages": [{"role": "user", "content": QUESTION}]})["messages"][-1]
    assert said.text == RIGHT
    about = said.response_metadata["metascale"]
    assert about["model"] == "two"
    drawn = one.count("solve") + two.count("solve")
    assert drawn == about["usage"]["samples"] == 12, "the agent's own answer is one of the samples"


def test_the_graph_of_studio_takes_the_models_of_the_environment(
    start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"openai:{name}?base_url={start_server().url}" for name in ("one", "two")]
    monkeypatch.setenv("METASCALE_MODEL", ",".join(names))
    graph = asyncio.run(for_studio(create_metascale)())
    out = graph.invoke(ask(), context=WHOLE)
    assert set(out["result"]["usage"]["by_model"]) == {"one", "two"}


def test_a_baseline_says_that_it_takes_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelSetupError, match="takes one model; a list of models needs the method 'metascale'"):
        METHODS["best_of_n"].create(["simulated", "simulated"])
    with pytest.raises(ModelSetupError, match="only one model can be used here"):
        JudgeReward("simulated,simulated")
    monkeypatch.setenv("METASCALE_MODEL", "simulated,simulated")
    done = CliRunner().invoke(app, ["solve", QUESTION, "--method", "direct"])
    assert done.exit_code == 2
    assert "takes one model" in done.output


def test_a_server_serves_every_model_and_searches_over_several() -> None:
    names = Names(["openai:a", "openai:b?effort=low", "gguf:/models/c.gguf"])
    listed = list(names)
    assert listed[:4] == ["metascale/a", "metascale/b-low", "metascale/c", "metascale/a+b-low+c"]
    assert not any("+" in name for name in listed if not name.startswith("metascale/"))
    assert names.find("a+b-low").model == "openai:a,openai:b?effort=low"
    assert names.find("metascale/c+a?budget=4").model == "gguf:/models/c.gguf,openai:a"
    assert names.find("b-low").model == "openai:b?effort=low"
    for unknown in ("best_of_n/a+c", "metascale/a+z", "a+"):
        with pytest.raises(ApiError, match="is not served here"):
            names.find(unknown)
    together = Names(["openai:a,openai:b"])
    assert list(together) == ["metascale/a+b"]
    assert together.find("metascale").model == "openai:a,openai:b"


@pytest.mark.parametrize("further", [{}, {"stop": ["END"]}], ids=["plain", "with parameters of samples"])
def test_a_served_search_over_several_models(start_server: ServerFactory, further: dict[str, Any]) -> None:
    scripts = {"a": always_wrong, "b": always_right}
    models = tuple(f"openai:{name}?base_url={start_server(script=s).url}" for name, s in scripts.items())
    request = {"model": "a+b", "messages": [{"role": "user", "content": QUESTION}], **further}

    async def ask_it() -> SearchOutcome:
        searches = Searches(ServerOptions(models=models), WHOLE)
        return await searches.prepare(ChatRequest.model_validate(request)).run()

    outcome = asyncio.run(ask_it())
    assert outcome.message.text == RIGHT
    assert outcome.result["model"] == "b"
    assert set(outcome.result["usage"]["by_model"]) == {"a", "b"}


def test_a_benchmark_asks_several_models_with_the_search_only(start_server: ServerFactory, tmp_path: Path) -> None:
    asked = [*("--model", "openai:a", "--model", "openai:b"), "--base-url", start_server().url]
    options = [*("--method", "metascale", "--method", "direct"), "--limit", "2", "--budget", "8", "--seed", "1"]
    ended = bench(tmp_path, *asked, *options, "--set", "stop_on_agreement=null")
    assert ended.code == 0, ended.said
    answers = {answer.method: answer for answer in read_logs([tmp_path / "logs"])}
    names = [f"openai-api/local/{name}" for name in "ab"]
    searched = next(answer for method, answer in answers.items() if method.startswith("metascale"))
    assert {sample.model for sample in searched.samples} == set(names)
    assert {sample.model for sample in answers["direct"].samples} == {names[0]}
    rows = {row.kind for row in pulls(list(answers.values()))}
    assert {f"model {name}" for name in names} <= rows


# --- memory --------------------------------------------------------------------------------------------------------


def test_a_memory_tells_the_models_apart(start_server: ServerFactory, tmp_path: Path) -> None:
    weak, strong = start_server(script=always_wrong), start_server(script=always_right)
    models = [model_at(weak, "weak"), model_at(strong, "strong")]
    file = tmp_path / "memory.db"

    async def run() -> None:
        async with open_store(str(file)) as store:
            graph = create_metascale(models, settings=WHOLE.model_copy(update={"memory": "default"}), store=store)
            for _ in range(3):
                await graph.ainvoke(ask())
            (first, *_) = (await StrategyMemory(store).runs()).values()
            keys = [ArmKey.of(key) for key in first.records]
            assert {key.model for key in keys} == {"weak", "strong"}
            assert first.winner is not None
            assert ArmKey.of(first.winner).model == "strong"
            beliefs = (await StrategyMemory(store).recall(QUESTION, budget=12)).beliefs
            mindset, strategy = prompts.BUILT_IN_META_THOUGHTS["chain_of_thought"]
            said = {name: beliefs.about(mindset, strategy, name) for name in ("weak", "strong", "new")}
            assert said["strong"] is not None
            assert said["new"] is not None
            assert said["weak"] is not None
            assert said["strong"].advantage > said["new"].advantage > said["weak"].advantage

    asyncio.run(run())
    shown = CliRunner().invoke(app, ["memory", "show", str(file)], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "strong: chain_of_thought" in shown.output
    assert "weak: chain_of_thought" in shown.output


def test_what_a_model_did_well_with_counts_less_for_another_one() -> None:
    embedding = np.array([1.0, 0.0])
    records = {"a@one": Record(2, 0.9, 0.0)}
    ours, theirs = Kept("", "ours", 0.2, 2, "one"), Kept("", "theirs", 0.25, 2, "two")
    episodes = [Episode(embedding, records, (theirs, ours))]
    assert worth_trying(episodes, embedding, 2, ["one"]) == [ours, theirs]
    assert worth_trying(episodes, embedding, 2, ["one", "two"]) == [theirs, ours]
