"""Secrets: no key that is given to a search is found in anything that it leaves behind."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import read_eval_log
from langchain_core.callbacks import BaseCallbackHandler
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from metascale import ChatMetaScale, MetaScaleSettings, NoAnswerError, create_metascale
from metascale.errors import ModelSetupError, describe
from metascale.models import resolve_model
from metascale.redaction import redacted
from metascale.rewards import JudgeReward
from metascale.rewards.panel import Member, PanelReward
from metascale.rewards.reward_model import RewardModelReward
from metascale.runtime.databases import open_checkpointer, open_store
from metascale.settings import RewardModelSettings
from tests import classifier_endpoint
from tests.canaries import JUDGE, MEMBER, PASSWORD, REWARDER, SOLVER, found_in, tell
from tests.command_line import invoke
from tests.conftest import QUESTION, ServerFactory, ask
from tests.openai_server import Fault, OpenAIServer


class Tracer(BaseCallbackHandler):
    """Keeps what a tracing service would be sent, save the errors that clients of providers raise."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.seen.append(json.dumps([args, kwargs], default=repr))

    on_chain_start = on_chain_end = on_llm_end = on_llm_new_token = on_custom_event = on_chat_model_start


def judge_on(server: OpenAIServer, key: str) -> JudgeReward:
    return JudgeReward(ChatOpenAI(model="judge", base_url=server.url, api_key=SecretStr(key), max_retries=0))


async def test_a_run_leaves_no_key_behind(
    start_server: ServerFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    server, judges = start_server(script=tell(SOLVER)), start_server(script=tell(JUDGE, MEMBER))
    monkeypatch.setenv("OPENAI_API_KEY", SOLVER)
    file, tracer = str(tmp_path / "runs.sqlite"), Tracer()
    settings = MetaScaleSettings(budget=12, evolution="always", max_retries=0, memory="here", seed=1)
    reward = PanelReward([Member(judge_on(judges, JUDGE)), Member(judge_on(judges, MEMBER))])
    config: Any = {"configurable": {"thread_id": "t"}, "callbacks": [tracer]}
    async with open_checkpointer(file) as saver, open_store(str(tmp_path / "memory.sqlite")) as store:
        graph = create_metascale(
            resolve_model("openai:loopback", base_url=server.url),
            reward=reward,
            settings=settings,
            checkpointer=saver,
            store=store,
        )
        modes: Any = ["custom", "updates", "values", "messages", "debug", "checkpoints", "tasks"]
        events = [event async for event in graph.astream(ask(), config, stream_mode=modes)]
        history = [snapshot async for snapshot in graph.aget_state_history(config)]
    result = history[0].values["result"]
    assert "samples failed" in " ".join(result["notes"])
    assert any(candidate["error"] for candidate in history[0].values["candidates"])
    assert tracer.seen
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}  # noqa: ASYNC240
    assert files["runs.sqlite"]
    left = {
        "events": repr(events),
        "history": repr(history),
        "callbacks": repr(tracer.seen),
        "logs": caplog.text,
        **files,
    }
    assert {name: found_in(text) for name, text in left.items() if found_in(text)} == {}
    assert any("…" in str(c["error"]) for c in history[0].values["candidates"])


async def test_a_reward_models_key_stays_in_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE_SKYWORK_IS_PAID", REWARDER)
    reply = classifier_endpoint.Reply(f"{'y' * 270}: no such key: Bearer {REWARDER}", status=401)
    with classifier_endpoint.serving(classifier_endpoint.ClassifierEndpoint(len, lambda *_: reply)) as endpoint:
        options = RewardModelSettings(
            api="vllm_classify", model="skywork", url=endpoint.url, api_key_variable="WHERE_SKYWORK_IS_PAID"
        )
        scores = await RewardModelReward(options).score(QUESTION, ["4"], MetaScaleSettings(max_retries=0), place=[0])
        assert endpoint.requests[0].headers["authorization"] == f"Bearer {REWARDER}"
    assert scores[0].error
    assert "…" in scores[0].error
    assert found_in(repr(scores)) == []


def test_an_error_of_a_whole_run_quotes_no_key(start_server: ServerFactory) -> None:
    every = json.dumps({"error": {"message": f"Incorrect API key provided: {SOLVER}"}})
    server = start_server(script=lambda *_: Fault(401, every))
    model = ChatOpenAI(model="loopback", base_url=server.url, api_key=SecretStr(SOLVER), max_retries=0)
    with pytest.raises(NoAnswerError, match="Incorrect API key provided: …") as raised:
        create_metascale(model, settings=MetaScaleSettings(budget=2)).invoke(ask())
    assert found_in(repr(raised.value)) == []
    chat = ChatMetaScale(model=model, budget=2)
    assert found_in(repr(chat) + str(chat.model_dump()) + json.dumps(chat.to_json(), default=repr)) == []
    with pytest.raises(NoAnswerError) as raised:
        chat.invoke("Why?")
    assert found_in(repr(raised.value)) == []


def test_the_command_line_prints_and_keeps_no_key(
    start_server: ServerFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SOLVER)
    options = ["solve", QUESTION, "--model", "openai:loopback", "--budget", "6", "--json", "--set", "max_retries=0"]
    some = start_server(script=tell(SOLVER))
    place = ["--db", str(tmp_path / "runs.sqlite"), "--thread", "t", "--svg", str(tmp_path / "view.svg")]
    done = invoke(*options, "--base-url", some.url, *place)
    assert done.exit_code == 0, done.stderr
    assert "samples failed" in done.stderr
    every = start_server(script=lambda *_: Fault(401, f"Bearer {SOLVER}"))
    failed = invoke(*options, "--base-url", every.url)
    assert failed.exit_code == 1
    rows = invoke("export", place[1], "--format", "grpo", "--gate", "none", "--out", str(tmp_path / "rows.jsonl"))
    assert (rows.exit_code, (tmp_path / "rows.jsonl").is_file()) == (0, True), rows.stderr
    left = [done.stdout, done.stderr, failed.stdout, failed.stderr, rows.stdout, rows.stderr]
    assert [found_in(text) for text in left if found_in(text)] == []
    assert [path.name for path in tmp_path.iterdir() if found_in(path.read_bytes())] == []


def test_an_evaluation_logs_and_reports_no_key(start_server: ServerFactory, tmp_path: Path) -> None:
    server = start_server(script=tell(SOLVER))
    logs, out = tmp_path / "logs", tmp_path / "report"
    command = [
        sys.executable,
        "-m",
        "metascale.cli",
        "bench",
        "--model",
        "openai:loopback",
        "--base-url",
        server.url,
    ]
    command += ["--method", "best_of_n", "--budget", "4", "--task", "arena_hard", "--limit", "3", "--yes"]
    command += ["--log-dir", str(logs), "--set", "max_retries=0"]
    bench = subprocess.run(
        command, env={**os.environ, "OPENAI_API_KEY": SOLVER}, capture_output=True, text=True, check=False
    )
    page = invoke("report", str(logs), "--out", str(out))
    assert page.exit_code == 0, page.stderr + bench.stderr
    (log,) = [read_eval_log(str(file)) for file in logs.glob("*.eval")]
    logged = log.model_dump_json()
    assert logged.count("Incorrect API key") > 3
    texts = [bench.stdout, bench.stderr, page.stdout, page.stderr, logged]
    assert [found_in(text) for text in texts if found_in(text)] == []
    assert [path.name for path in out.rglob("*.*") if path.is_file() and found_in(path.read_bytes())] == []


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{PASSWORD}@127.0.0.1:1/runs",
        f"postgresql://127.0.0.1:1/runs?user=ann&password={PASSWORD}",
        f"postgresql://ann:x@{PASSWORD}@127.0.0.1:1/runs",
        f"postgresql://ann:%zz{PASSWORD}@127.0.0.1:1/runs",
        f"postgresql://ann:{PASSWORD}@127.0.0.1:port/runs",
        f"postgres://ann:{PASSWORD}@127.0.0.1:1/runs?sslmod=on",
    ],
)
def test_a_databases_password_is_not_shown(url: str) -> None:
    for arguments in (
        ["solve", "Why?", "--model", "simulated", "--db", url, "--thread", "t"],
        ["solve", "Why?", "--model", "simulated", "--memory", url],
        ["memory", "show", url],
    ):
        done = invoke(*arguments)
        assert done.exit_code == 2, done.output
        assert "cannot be used" in done.stderr
        assert found_in(done.output) == []


def test_settings_take_no_key_and_show_none() -> None:
    for given in (
        f'reward_model={{"api": "tei", "model": "m", "url": "http://ann:{PASSWORD}@127.0.0.1:1"}}',
        f'panel=[{{"model": "openai:m", "base_url": "http://ann:{PASSWORD}@127.0.0.1:1"}}]',
        f'reward_model={{"api": "tei", "model": "m", "api_key": "sk-proj-{PASSWORD}"}}',
    ):
        done = invoke("solve", "Why?", "--model", "simulated", "--set", given)
        assert done.exit_code == 2
        assert found_in(done.output) == []


def test_a_model_that_cannot_be_set_up_shows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**given: Any) -> None:
        raise ValueError(f"unknown provider; given {given}, {SOLVER}")

    monkeypatch.setenv("OPENAI_API_KEY", SOLVER)
    monkeypatch.setattr("langchain_openai.ChatOpenAI", refuse)
    with pytest.raises(ModelSetupError, match="unknown provider") as raised:
        resolve_model("openai:loopback")
    assert found_in(str(raised.value)) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Incorrect API key provided: sk-proj-****************abcd.", "Incorrect API key provided: …."),
        ("key abcd1234********wxyz is revoked", "key … is revoked"),
        ("{'authorization': 'Bearer abcdefghijklmnop0123'}", "{'authorization': 'Bearer …'}"),
        ("cannot reach http://ann:pass@host:80/v1", "cannot reach http://ann:…@host:80/v1"),
        ("postgresql://h/d?password=pass&user=ann", "postgresql://h/d?password=…&user=ann"),
        ("sk-learn and a risk-free Bearer token are no keys", "sk-learn and a risk-free Bearer token are no keys"),
        ("see https://host:80/docs", "see https://host:80/docs"),
    ],
)
def test_what_looks_like_a_key_is_hidden(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(shown) == shown
    assert describe(ValueError(text)) == f"ValueError: {shown}"


def test_keys_of_the_environment_are_hidden_and_short_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", SOLVER)
    monkeypatch.setenv("METASCALE_SERVER_TOKEN", f"{JUDGE}\n")
    monkeypatch.setenv("GROQ_API_KEY", "none")
    monkeypatch.setenv("HOME_KEYBOARD", MEMBER)
    said = f"none of {SOLVER.upper()}, {JUDGE} or {MEMBER}"
    assert redacted(said) == f"none of …, … or {MEMBER}"
    assert redacted(said, [MEMBER]) == "none of …, … or …"
    assert found_in(describe(RuntimeError("x" * 290 + SOLVER))) == []
