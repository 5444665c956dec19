"""Model files: their names, what is wrong with them, and the process that serves them. No real model is needed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import struct
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from metascale import MetaScaleSettings, create_metascale
from metascale.cli.options import WRONG_USAGE
from metascale.errors import MetaScaleError, ModelCallError, ModelSetupError, UnknownNameError
from metascale.evals.harness.bench import plan
from metascale.models import MeteredModel, resolve_model, resolve_models
from metascale.models.local import machine, server
from metascale.models.local.chat_model import LocalChatModel
from metascale.models.local.gguf_file import read_model_file
from metascale.models.local.names import LocalName, Options, name_of_file
from metascale.models.resolve import shown_name
from metascale.server.app import create_app
from metascale.server.names import Names
from metascale.server.options import ServerOptions
from metascale.server.start import Launch
from tests.command_line import invoke
from tests.conftest import ServerFactory, ask, chat_model
from tests.waiting import CEILING, wait_until

LLAMA = {
    "general.architecture": "llama",
    "llama.context_length": 2_048,
    "llama.block_count": 30,
    "llama.embedding_length": 576,
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
    "tokenizer.ggml.tokens": ["<s>", "a", "é"],
    "tokenizer.ggml.scores": [0.0, 0.5, 0.25],
    "tokenizer.chat_template": "{{ messages }}",
}
LIBRARY = """
import json, os, signal, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

def CommonParams():
    return SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())

def get_device_info():
    return [{"type": "GGML_BACKEND_DEVICE_TYPE_CPU"}]

class Server:
    def __init__(self, params):
        print("a line of llama.cpp")
        exec(os.environ.get("ON_LOADING", ""))
        self.listening_address = os.environ["ADDRESS"]
"""
"""Stands in for xllamacpp in the server's process."""
ANSWERS = """
globals().update(params=params)

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if b"crash" in body:
            os.kill(os.getpid(), signal.SIGKILL)
        said = {"role": "assistant", "content": str(os.getpid())}
        choice = {"index": 0, "message": said, "delta": said, "finish_reason": "stop"}
        reply = json.dumps({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})
        is_known = self.headers["authorization"] == f"Bearer {params.api_keys[0]}"
        self.send_response(200 if is_known else 401)
        self.end_headers()
        if json.loads(body).get("stream"):
            reply = f"data: {reply}\\n\\ndata: [DONE]\\n\\n"
        self.wfile.write(reply.encode())

    def log_message(self, *_):
        pass

http = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=http.serve_forever, daemon=True).start()
os.environ["ADDRESS"] = f"http://127.0.0.1:{http.server_port}"
"""
"""Lets the server's process itself answer with its id, to those who know the key, until a request says `crash`."""


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(given: Any) -> bytes:
    if isinstance(given, str):
        return struct.pack("<I", 8) + text(given)
    if isinstance(given, list) and isinstance(given[0], str):
        return struct.pack("<IIQ", 9, 8, len(given)) + b"".join(map(text, given))
    if isinstance(given, list):
        return struct.pack(f"<IIQ{len(given)}f", 9, 6, len(given), *given)
    return struct.pack("<II", 4, given)


def gguf(path: Path, version: int = 3, changes: dict[str, Any] | None = None) -> Path:
    """Write a GGUF file without weights; a value of None leaves a key out."""
    held = {name: given for name, given in (LLAMA | (changes or {})).items() if given is not None}
    pairs = b"".join(text(name) + value(given) for name, given in held.items())
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", version, 0, len(held)) + pairs)
    return path


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_server: ServerFactory) -> Callable[..., None]:
    """Let the server's process load `LIBRARY`, which answers at the address of a loopback server."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "xllamacpp.py").write_text(LIBRARY, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("ADDRESS", start_server().url.removesuffix("/v1"))
    monkeypatch.setattr(server, "_servers", {})
    monkeypatch.setattr(server, "_failures", {})
    monkeypatch.setattr(server, "processors", lambda: 2)
    monkeypatch.syspath_prepend(folder)
    return lambda code: monkeypatch.setenv("ON_LOADING", code)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return gguf(tmp_path / "Tiny-1B.Q4_0.gguf")


def local(name: str) -> LocalChatModel:
    model = resolve_model(name)
    assert isinstance(model, LocalChatModel)
    return model


def end_all() -> None:
    server._end_all()


def test_a_name_has_a_file_and_options() -> None:
    assert LocalName.parse("gguf:a/b.gguf?context=8192&slots=2&threads=4").options == Options(8192, 2, 4)
    assert LocalName.parse("hf:o/r/f.gguf") == LocalName("hf", "o/r/f.gguf", Options())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gguf:", "names no file"),
        ("gguf:f?slots=0", "from 1"),
        ("gguf:f?slots=many", "'many'"),
        ("gguf:f?slots", "NAME=VALUE"),
        ("gguf:f?slot=2", "did you mean 'slots'"),
        ("hf:owner/f.gguf", "hf:OWNER/REPO/FILE.gguf"),
        ("hf:owner/repo/f.safetensors", "hf:OWNER/REPO/FILE.gguf"),
        ("gguf:~nosuchuser/f.gguf", "the model file '~nosuchuser/f.gguf' cannot be found"),
        ("gguf:a\0b.gguf", "cannot be found"),
    ],
)
def test_what_is_wrong_with_a_name_is_said(name: str, said: str) -> None:
    with pytest.raises(MetaScaleError, match=said):
        resolve_model(name)


def test_records_show_the_file_without_folder_and_options(tmp_path: Path) -> None:
    assert shown_name("gguf:/models/Tiny-1B.Q4_0.gguf?slots=2") == "gguf:Tiny-1B.Q4_0"
    assert name_of_file("hf:o/r/big-00001-of-00003.gguf") == "big"
    assert next(iter(Names([f"gguf:{tmp_path}/Tiny.gguf?threads=1"]))) == "metascale/Tiny"
    laid = plan(
        model="gguf:d/Tiny.gguf?slots=2", tasks=["gsm8k"], methods=["direct"], budgets=[1], task_args={}, limit=1
    )
    assert {name for part in laid.parts for name in part.models} == {"gguf/Tiny"}


def test_a_file_is_not_mistaken_for_another_provider(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'gguf:tiny.gguf'"):
        resolve_model("tiny.gguf")
    with pytest.raises(ModelSetupError, match="base URL goes with"):
        resolve_model(f"gguf:{tmp_path}/a.gguf", base_url="http://127.0.0.1:9/v1")


def test_a_good_file_says_what_its_slots_need(file: Path) -> None:
    read = read_model_file(file)
    assert (read.trained_context, read.bytes_per_token) == (2_048, 30 * 3 * (64 + 64) * 2)


def _cut(path: Path) -> None:
    path.write_bytes(gguf(path).read_bytes()[:200])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (Path.exists, "there is no model file"),
        (Path.mkdir, "is a folder"),
        (lambda path: path.write_bytes(b""), "is no GGUF file"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), "Git LFS"),
        (_cut, "is cut short or damaged"),
        (lambda path: gguf(path, version=1), "old format"),
        (lambda path: gguf(path, version=3 << 24), "big-endian"),
        (lambda path: gguf(path, changes={"tokenizer.chat_template": None}), "no chat template"),
        (lambda path: gguf(path, changes={"general.architecture": "clip"}), "only reads images"),
        (lambda path: gguf(path, changes={"general.type": "adapter"}), "of the type 'adapter'"),
        (lambda path: gguf(path, changes={"general.architecture": None}), "no architecture"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(spoil: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    spoil(path)
    with pytest.raises(ModelSetupError, match=said) as caught:
        read_model_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_damage_to_a_header_is_an_error_of_another_kind(file: Path) -> None:
    whole = file.read_bytes()
    for at in range(4, len(whole)):
        file.write_bytes(whole[:at] + bytes([0xFF if at % 2 else 9]) + whole[at + 1 :])
        with contextlib.suppress(ModelSetupError):
            read_model_file(file)


def test_of_several_parts_the_first_is_named_and_all_are_there(tmp_path: Path) -> None:
    parts = [gguf(tmp_path / f"big-0000{number}-of-00002.gguf") for number in (1, 2)]
    assert read_model_file(parts[0]).bytes == 2 * parts[0].stat().st_size
    with pytest.raises(ModelSetupError, match=r"name the first, .*big-00001-of-00002"):
        read_model_file(parts[1])
    parts[1].unlink()
    with pytest.raises(ModelSetupError, match=r"there is no model file .*big-00002-of-00002"):
        read_model_file(parts[0])


def test_one_server_answers_all_that_name_a_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    first, second = local(f"gguf:{file}?context=512&slots=2"), local(f"gguf:{file.name}")
    assert first._server is second._server
    assert first.slots == 2
    with pytest.raises(ModelSetupError, match="already loaded in this process with context=512, not 1024"):
        resolve_model(f"gguf:{file}?context=1024")
    graph = create_metascale(first)
    result = graph.invoke(ask(), context=MetaScaleSettings(budget=4, evolution="off"))["result"]
    assert result["usage"]["samples"] == 4
    assert result["usage"]["cost_usd"] is None
    process = first._server._process
    end_all()
    assert process.returncode == 0


def test_requests_wait_for_a_slot_where_no_timeout_runs(
    file: Path, start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[int] = []
    upstream = start_server(latency=0.05, script=lambda *_: at_once.append(upstream.working))
    monkeypatch.setenv("ADDRESS", upstream.url.removesuffix("/v1"))
    model = local(f"gguf:{file}?slots=2")
    settings = MetaScaleSettings(budget=8, batch_size=8, evolution="off")
    create_metascale(model, settings=settings).invoke(ask())
    assert max(at_once) == 2
    metered = MeteredModel(model)
    assert metered._timeout(settings) is None
    assert metered._timeout(MetaScaleSettings(call_timeout=600)) == 600
    assert MeteredModel(chat_model(upstream))._timeout(settings) == 600
    end_all()


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("command", ["solve", "batch"])
def test_where_there_is_no_terminal_a_line_says_that_a_file_loads_and_one_that_it_is_ready(
    command: str,
    quiet: bool,  # noqa: FBT001
    file: Path,
    start_server: ServerFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADDRESS", start_server().url.removesuffix("/v1"))
    questions = file.parent / "questions.jsonl"
    questions.write_text('"Why?"\n', encoding="utf-8")
    asked = ["Why?", "--json"] if command == "solve" else [str(questions), "--out", str(file.parent / "answers.jsonl")]
    options = ["--budget", "1", *(["--quiet"] if quiet else [])]
    done = invoke(command, *asked, "--model", f"gguf:{file}", *options)
    assert done.exit_code == 0
    said = done.stderr.splitlines()
    if quiet:
        assert said == []
    else:
        assert said[0] == "loading Tiny-1B.Q4_0"
        assert re.fullmatch(r"Tiny-1B.Q4_0 is ready after [\d.:]+( s)?", said[1])
    end_all()


def test_the_command_line_loads_files_as_they_are_used(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "processors", lambda: 4)
    other = gguf(file.with_name("Other.gguf"))
    named = f"gguf:{file}?temperature=0.7,gguf:{file}"
    done = invoke("solve", "Why?", "--model", named, "--judge-model", f"gguf:{other}", "--budget", "2")
    assert done.exit_code == 0, done.stderr
    assert [one.layout.threads for one in server._servers.values()] == [2, 2]
    end_all()


def test_many_questions_get_as_many_slots_as_a_round_needs(file: Path) -> None:
    questions = file.parent / "questions.jsonl"
    questions.write_text('"Why?"\n', encoding="utf-8")
    into = ["--out", str(file.parent / "answers.jsonl")]
    done = invoke("batch", str(questions), *into, "--model", f"gguf:{file}", "--budget", "6", "--set", "batch_size=6")
    assert done.exit_code == 0, done.stderr
    assert [one.layout.slots for one in server._servers.values()] == [6]
    end_all()
    options: Any = {"tasks": ["gsm8k"], "methods": ["metascale"], "task_args": {}, "limit": 1}
    assert plan(model=f"gguf:{file}", budgets=[1, 6], settings={"batch_size": 5}, **options).widest_round == 5


async def test_no_proxy_stands_between_a_process_and_its_server(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "OPENAI_PROXY"):
        monkeypatch.setenv(name, "http://localhost:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    model = local(f"gguf:{file}")
    assert (await model.ainvoke("Why?")).text
    assert model.invoke("Why?").text
    end_all()


def test_slots_follow_the_batch_size(file: Path) -> None:
    assert resolve_model(f"gguf:{file}", at_once=6).slots == 6  # type: ignore[attr-defined]
    end_all()


def test_files_of_a_list_share_the_processors(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "processors", lambda: 5)
    other = gguf(file.with_name("Other.gguf"))
    shared = resolve_models([f"gguf:{file}", f"gguf:{other}", "simulated"])
    assert [model._server.layout.threads for model in shared[:2]] == [2, 2]  # type: ignore[attr-defined]
    end_all()
    alone, asked = resolve_models(f"gguf:{file},gguf:{file}"), resolve_models(f"gguf:{other}?threads=3,gguf:{file}")
    assert [model._server.layout.threads for model in (*alone, *asked)] == [5, 5, 3, 5]  # type: ignore[attr-defined]
    end_all()


async def _streamed(model: LocalChatModel, question: str) -> str:
    return "".join([piece.text async for piece in model.astream(question)])


async def _invoked(model: LocalChatModel, question: str) -> str:
    return (await model.ainvoke(question)).text


@pytest.mark.parametrize(
    "asked",
    [
        lambda model, question: model.invoke(question).text,
        lambda model, question: "".join(piece.text for piece in model.stream(question)),
        lambda model, question: asyncio.run(_invoked(model, question)),
        lambda model, question: asyncio.run(_streamed(model, question)),
    ],
    ids=["invoke", "stream", "ainvoke", "astream"],
)
def test_after_a_crash_the_next_request_starts_the_server_again(
    asked: Callable[[LocalChatModel, str], str], file: Path, library: Callable[..., None]
) -> None:
    library(ANSWERS)
    model = local(f"gguf:{file}?slots=2&context=512")
    first = asked(model, "Why?")
    with pytest.raises(ModelCallError, match=r"llama.cpp, which ran Tiny-1B.Q4_0, was ended by SIGKILL"):
        asked(model, "Please crash.")
    second = asked(model, "Why?")
    assert second != first
    assert asked(model.model_copy(), "Why?") == asked(local(f"gguf:{file}"), "Why?") == second
    assert [one.layout for one in server._servers.values()] == [server.Layout(512, 2, 2)]
    end_all()


def test_a_crash_between_requests_harms_none(file: Path, library: Callable[..., None]) -> None:
    library(ANSWERS)
    link = file.with_name("link.gguf")
    link.symlink_to(file)
    model = local(f"gguf:{link}")
    model._server._process.kill()
    model._server._process.wait()
    link.unlink()
    link.symlink_to(gguf(file.with_name("newer.gguf")))
    assert model.invoke("Why?").text == model.invoke("Why?").text
    end_all()


async def test_a_crash_ends_a_served_search_and_the_next_one_is_answered(
    file: Path, library: Callable[..., None]
) -> None:
    library(ANSWERS)
    app = create_app(ServerOptions(models=(f"gguf:{file}",)), MetaScaleSettings(budget=4), None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for question, status in (("Why?", 200), ("Please crash.", 502), ("Why?", 200)):
            body = {"model": "self_consistency", "messages": [{"role": "user", "content": question}]}
            reply = await client.post("/v1/chat/completions", json=body, timeout=CEILING)
            assert reply.status_code == status, reply.text
    end_all()


def test_a_server_that_cannot_be_started_again_ends_the_run_and_is_tried_once(
    file: Path, library: Callable[..., None], tmp_path: Path
) -> None:
    library(ANSWERS)
    graph = create_metascale(local(f"gguf:{file}"), settings=MetaScaleSettings(budget=4, batch_size=4))
    with pytest.raises(MetaScaleError, match="was ended by SIGKILL"):
        graph.invoke(ask("Please crash."))
    starts = tmp_path / "starts"
    library(f"open({str(starts)!r}, 'a').write('x'); sys.exit(3)")
    for tries in ("x", "xx"):
        with pytest.raises(
            MetaScaleError, match=r"Tiny-1B.Q4_0.gguf' cannot be loaded: llama.cpp ended with exit code 3"
        ):
            graph.invoke(ask())
        assert starts.read_text() == tries
    library(ANSWERS)
    assert graph.invoke(ask())["result"]["answer"]
    end_all()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGILL)", "llama.cpp was ended by SIGILL"),
        ("sys.exit(3)", "llama.cpp ended with exit code 3"),
        ("raise RuntimeError('no such luck')", "by this version of llama.cpp: no such luck"),
        (
            "sys.stderr.write('0.00.1 E load: error loading model: unknown model architecture: x\\n');"
            " raise RuntimeError('params')",
            "by this version of llama.cpp: unknown model architecture: x",
        ),
        (
            "sys.stderr.write('0.00.1 E load: error loading model: data is not within the file bounds\\n');"
            " raise RuntimeError('params')",
            "is cut short",
        ),
    ],
)
def test_why_a_file_was_not_loaded_is_said(code: str, said: str, file: Path, library: Callable[..., None]) -> None:
    library(code)
    with pytest.raises(ModelSetupError, match=said):
        resolve_model(f"gguf:{file}")


def test_a_library_that_cannot_be_loaded_is_named(file: Path) -> None:
    (file.parent / "library" / "xllamacpp.py").write_text("raise ImportError('GLIBC_2.99 not found')", encoding="utf-8")
    with pytest.raises(ModelSetupError, match=r"xllamacpp.*cannot be loaded here: ImportError: GLIBC_2.99"):
        resolve_model(f"gguf:{file}")


def test_a_model_that_is_too_large_is_not_loaded(
    file: Path, library: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    library("os._exit(9)")
    monkeypatch.setattr(server, "free_memory", lambda: 500 * 2**20)
    with pytest.raises(ModelSetupError, match=r"0\.6 GB of memory and 0\.5 GB are free; 0\.2 GB are for 4 slots"):
        resolve_model(f"gguf:{file}")


def test_a_context_that_the_model_does_not_know_is_refused(file: Path) -> None:
    with pytest.raises(ModelSetupError, match="context=2048 is the highest"):
        resolve_model(f"gguf:{file}?context=4096")


def test_a_container_limits_memory_and_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {
        "memory.max": 3_000,
        "memory.current": 1_500,
        "memory.stat": "anon 9\ninactive_file 500",
        "cpu.max": "9 9",
    }
    for name, limit in limits.items():
        (tmp_path / name).write_text(f"{limit}\n", encoding="ascii")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert machine.free_memory() == 2_000
    assert machine.processors() == 1


def test_a_file_on_a_hub_is_fetched_with_all_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [gguf(tmp_path / f"big-0000{number}-of-00002.gguf") for number in (1, 2)]
    asked = []

    def download(*, repo_id: str, filename: str) -> str:
        asked.append((repo_id, filename))
        return str(tmp_path / Path(filename).name)

    hub = types.ModuleType("huggingface_hub")
    hub.hf_hub_download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    model = resolve_model("hf:owner/repo/q4/big-00001-of-00002.gguf?slots=1")
    assert asked == [("owner/repo", f"q4/{part.name}") for part in parts]
    assert local(f"gguf:{parts[0]}")._server is model._server  # type: ignore[attr-defined]
    end_all()
    hub.hf_hub_download = lambda **_: (_ for _ in ()).throw(OSError("offline"))  # type: ignore[attr-defined]
    with pytest.raises(ModelSetupError, match=r"'hf:o/r/f.gguf' cannot be fetched: OSError: offline"):
        resolve_model("hf:o/r/f.gguf")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelSetupError, match="pip install huggingface-hub"):
        resolve_model("hf:o/r/f.gguf")


@pytest.mark.parametrize(
    ("name", "missing", "said"),
    [
        ("hf:o/r/f.gguf", "xllamacpp", r"pip install 'metascale\[gguf\]'"),
        ("hf:o/r/f.gguf", "psutil", r"pip install 'metascale\[gguf\]'"),
        ("hf:o/r/f.safetensors", "nothing", "hf:OWNER/REPO/FILE.gguf"),
    ],
)
def test_nothing_is_fetched_that_cannot_run(
    name: str, missing: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = types.ModuleType("huggingface_hub")
    hub.hf_hub_download = lambda **_: pytest.fail("it was fetched")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModelSetupError, match=said):
        resolve_model(name)


@pytest.mark.parametrize("command", [["solve", "What?"], ["serve"]])
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("{folder}/none.gguf", "there is no model file '{place}'"),
        ("{folder}/" + 300 * "x" + ".gguf", "the model file '{place}' cannot be read: File name too long"),
        ("{folder}/loop/a.gguf", "the model file '{place}' cannot be"),
        ("~nosuchuser/x.gguf", "the model file '{place}' cannot be found"),
    ],
)
def test_the_command_line_says_what_is_wrong_in_one_line(
    command: list[str], place: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    place = place.format(folder=tmp_path)
    done = invoke(*command, "--model", f"gguf:{place}")
    assert done.exit_code == WRONG_USAGE
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"metascale: {said.format(place=place)}")
    assert not done.stdout


def test_a_variable_with_several_files_serves_their_search(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = gguf(file.with_name("Other.gguf"))
    monkeypatch.setenv("METASCALE_MODEL", f"gguf:{file},gguf:{other}")
    launched: list[Launch] = []
    monkeypatch.setattr(Launch, "run", lambda launch, _: launched.append(launch))
    done = invoke("serve", "--port", "0")
    assert done.exit_code == 0, done.stderr
    assert launched
    assert {one.name: one.layout.threads for one in server._servers.values()} == {"Tiny-1B.Q4_0": 1, "Other": 1}
    end_all()


HOLDS = """
import os, sys
from metascale.models import resolve_model, resolve_models
model = resolve_model(sys.argv[1])
print(model._server._process.pid, flush=True)
if sys.argv[2] == "fork" and os.fork() == 0:
    resolve_model(sys.argv[1])
    sys.exit()
if sys.argv[2] != "end":
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["end", "fork", signal.SIGKILL])
def test_a_server_ends_with_its_process(how: str | signal.Signals, file: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", HOLDS, f"gguf:{file}", str(how)]
    holder = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    )
    assert holder.stdout is not None
    line = holder.stdout.readline()
    assert line, holder.communicate(timeout=CEILING)[1].decode()
    process = int(line)
    if isinstance(how, signal.Signals):
        holder.send_signal(how)
    _, said = holder.communicate(timeout=CEILING)
    assert isinstance(how, signal.Signals) or not said, said.decode()
    wait_until(lambda: not Path(f"/proc/{process}").exists())
