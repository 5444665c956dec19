"""A small real language model in a file: a whole search, its bill, and a run that was killed.

One slot serves the rounds: requests wait for it, and find what the last one read in its cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import psutil
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import LLMResult
from langgraph.checkpoint.sqlite import SqliteSaver
from pydantic import Field

from benchmarks.live import counted
from metascale import MetaScaleSettings, create_metascale
from metascale.models.local.chat_model import LocalChatModel, local_model
from metascale.nodes.initialize_pool import LOCAL_JUDGE
from metascale.rewards import judge
from metascale.rewards.judge import JudgeVerdict
from tests.conftest import THREAD, ask
from tests.real_models import smollm2
from tests.waiting import CEILING, wait_until

QUESTION = "What is 3 * 4 + 5?"


class ShortVerdict(JudgeVerdict):
    """A verdict for which a model that hardly writes sentences needs few tokens."""

    critique: Annotated[str, Field(json_schema_extra={"maxLength": 80})]


class Replies(BaseCallbackHandler):
    """Counts requests, and keeps the texts of replies that had to have a form."""

    def __init__(self) -> None:
        self.asked = self.free = 0
        self.formed: list[str] = []
        self._has_form: dict[UUID, bool] = {}

    def on_chat_model_start(self, *_: Any, run_id: UUID, **about: Any) -> None:
        self.asked += 1
        self._has_form[run_id] = "response_format" in (about["invocation_params"].get("extra_body") or {})

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        if self._has_form[run_id]:
            self.formed.append(response.generations[0][0].text)
        else:
            self.free += 1


@pytest.fixture(scope="module")
def file() -> Path:
    pytest.importorskip("xllamacpp", reason="NO REAL MODEL IS TESTED: pip install 'metascale[gguf]'")
    return smollm2()


@pytest.fixture
def model(file: Path) -> Iterator[LocalChatModel]:
    model = local_model(f"gguf:{file}?context=2048&slots=1&threads=1")
    yield model
    model._server.end()


def test_a_whole_search(model: LocalChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "JudgeVerdict", ShortVerdict)
    settings = MetaScaleSettings(
        budget=4,
        batch_size=3,
        pool_size=3,
        policy="round_robin",
        evolution="always",
        evolve_every=1,
        children=1,
        confirm=0,
        max_tokens=16,
    )
    replies, before = Replies(), counted(model)
    result = create_metascale(model, settings=settings).invoke(ask(QUESTION), {"callbacks": [replies]})["result"]
    after, usage = counted(model), result["usage"]

    spent = {name: after[name] - before[name] for name in after}
    assert usage["output_tokens"] == spent["tokens_predicted_total"]
    assert usage["input_tokens"] == spent["prompt_tokens_total"] + spent["prompt_tokens_cached_total"]
    assert usage["cached_input_tokens"] == spent["prompt_tokens_cached_total"] > 0
    assert usage["samples"] == replies.free == 4
    assert usage["calls"] == replies.asked
    assert usage["cost_usd"] is None

    said = [json.loads(text) for text in replies.formed]
    assert sum("score" in reply for reply in said) == 4
    assert all(reply["score"] in range(1, 11) and len(reply["critique"]) <= 80 for reply in said if "score" in reply)
    assert LOCAL_JUDGE in result["notes"]
    composed, *bred = [reply for reply in said if "score" not in reply]
    assert composed["meta_thoughts"][0].keys() == {"mindset", "strategy"}
    assert bred
    assert result["stop_reason"] == "budget"


def test_a_killed_run_continues_on_a_new_server(file: Path, tmp_path: Path) -> None:
    base = tmp_path / "runs.sqlite"
    name = f"gguf:{file}?context=512&slots=1&threads=1"
    command = [sys.executable, "-W", "error", "-m", "metascale.cli", "solve", QUESTION, "--model", name, "--json"]
    command += ["--db", str(base), "--thread", "t", "--budget", "6", "--batch-size", "1", "--reward", "agreement"]
    command += ["--set", "pool_size=2", "--set", "max_tokens=12"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
    wait_until(lambda: steps(base) >= 9, first)
    (server,) = psutil.Process(first.pid).children()
    first.kill()
    first.communicate(timeout=CEILING)
    wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
    before = answered(base)
    assert before

    second = subprocess.run(command, capture_output=True, text=True, timeout=CEILING, check=False)
    assert second.returncode == 0, second.stderr
    said = json.loads(second.stdout)
    assert [sample["text"] for sample in said["candidates"]][: len(before)] == before
    assert (said["usage"]["samples"], said["usage"]["calls"]) == (6, 6)
    assert "llama" not in second.stderr


def steps(base: Path) -> int:
    """Steps of a run that are stored, seen without a lock."""
    try:
        with contextlib.closing(sqlite3.connect(f"{base.as_uri()}?mode=ro", uri=True)) as reader:
            return int(reader.execute("SELECT count(*) FROM checkpoints").fetchone()[0])
    except sqlite3.OperationalError:  # there is no file, or no table yet
        return 0


def answered(base: Path) -> list[str]:
    """The answers that the thread of a dead process holds."""
    with SqliteSaver.from_conn_string(str(base)) as saver:
        values = create_metascale("simulated", checkpointer=saver).get_state(THREAD).values
    return [sample["text"] for sample in sorted(values.get("candidates", []), key=lambda sample: sample["id"])]
