"""The command line as a person meets it: answers, errors in one line, exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import metascale as metascale_package
from metascale.cli.app import app
from metascale.models.simulated import NOTICE
from tests.command_line import SIMULATED, invoke, metascale
from tests.conftest import QUESTION, ServerFactory
from tests.openai_server import Fault


def test_an_answer_alone_goes_to_standard_output() -> None:
    done = metascale("solve", QUESTION, *SIMULATED, "--seed", "7")
    assert done.returncode == 0
    assert done.stdout.startswith(NOTICE)
    assert "####" in done.stdout


def test_a_log_file_shows_that_a_run_lives() -> None:
    done = metascale("solve", QUESTION, *SIMULATED, "--seed", "7", "--set", "stop_on_agreement=null", "--budget", "8")
    first, *rounds, last = [line.partition(" s  ")[2] for line in done.stderr.splitlines()]
    assert first == "preparing meta-thoughts"
    assert rounds[0] == "round 1: sampling 4 answers"
    assert "samples 8/8" in rounds[-1]
    assert last.startswith("the budget is spent; sure: ")
    assert "SIMULATION" in last
    assert "\x1b" not in done.stderr
    assert metascale("solve", QUESTION, *SIMULATED, "--seed", "7", "--quiet").stderr == ""


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metascale_package.__version__ == project["version"]
    assert CliRunner().invoke(app, ["--version"]).stdout == f"metascale {project['version']}\n"


def test_without_a_model_it_says_that_it_simulates() -> None:
    done = metascale("solve", QUESTION, "--seed", "7", "--budget", "2")
    assert done.returncode == 0
    assert "offline simulation" in done.stderr
    named = metascale("solve", QUESTION, "--seed", "7", "--budget", "2", METASCALE_MODEL="simulated")
    assert "offline simulation" not in named.stderr
    assert named.stdout == done.stdout


def test_json_is_one_object_with_everything() -> None:
    done = metascale("solve", "-", *SIMULATED, "--json", "--budget", "5", "--seed", "1", stdin=QUESTION.encode())
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert {"answer", "reward", "meta_thought", "stop_reason", "usage", "pool", "candidates", "notes"} <= set(found)
    assert found["usage"]["samples"] == len(found["candidates"]) == sum(arm["pulls"] for arm in found["pool"]) == 5
    assert found["answer"] == found["candidates"][found["candidate"]]["text"]
    winner = next(arm for arm in found["pool"] if arm["id"] == found["meta_thought"]["id"])
    assert winner["best_reward"] == found["reward"]


def test_a_question_that_the_simulation_has_no_key_for() -> None:
    done = metascale("solve", "What is love?", *SIMULATED, "--budget", "2")
    assert done.returncode == 0
    assert "none of them" in done.stdout


def test_judge_model_differs_from_the_solver(start_server: ServerFactory) -> None:
    server = start_server()
    options = ("--model", "openai:solver", "--judge-model", "openai:judge", "--base-url", server.url, "--budget", "3")
    assert metascale("solve", QUESTION, *options).returncode == 0
    asked = {(served.kind, served.body["model"]) for served in server.served}
    assert asked == {("compose", "solver"), ("solve", "solver"), ("judge", "judge")}


def test_settings_reach_the_request(start_server: ServerFactory) -> None:
    server = start_server()
    options = ["--model", "openai:m", "--base-url", server.url, "--budget", "2", "--seed", "3"]
    options += ["--set", "temperature=0.25", "--set", "max_tokens=77"]
    assert metascale("solve", QUESTION, *options).returncode == 0
    samples = [served.body for served in server.served if served.kind == "solve"]
    assert [body["temperature"] for body in samples] == [0.25, 0.25]
    assert [body["max_completion_tokens"] for body in samples] == [77, 77]
    assert len({body["seed"] for body in samples}) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("", *SIMULATED), 2, "the question is empty"),
        ((QUESTION, *SIMULATED, "--budget", "0"), 2, "budget: Input should be greater than or equal to 1 (got 0)"),
        ((QUESTION, *SIMULATED, "--budget", "-3"), 2, "(got -3)"),
        ((QUESTION, *SIMULATED, "--batch-size", "0"), 2, "batch_size"),
        ((QUESTION, *SIMULATED, "--policy", "ucbb"), 2, "unknown policy 'ucbb'; did you mean 'ucb'?"),
        (
            (QUESTION, *SIMULATED, "--set", "evolv_every=1"),
            2,
            "unknown setting 'evolv_every'; did you mean 'evolve_every'",
        ),
        ((QUESTION, *SIMULATED, "--set", "budget"), 2, "--set takes NAME=VALUE"),
        ((QUESTION, *SIMULATED, "--set", "beta=NaN"), 2, "beta"),
        ((QUESTION, *SIMULATED, "--base-url", "http://127.0.0.1:1"), 2, "a base URL goes with 'openai:NAME' models"),
        ((QUESTION, "--model", "simulatde"), 2, "unknown model 'simulatde'; did you mean 'simulated'?"),
        ((QUESTION, "--model", "opnai:gpt-4o"), 2, "did you mean 'openai:gpt-4o'?"),
        ((QUESTION, "--model", "openai:gpt-4o"), 2, "no API key for 'openai:gpt-4o'"),
        ((QUESTION, *SIMULATED, "--db", "runs.sqlite"), 2, "--db and --thread go together"),
        ((QUESTION, *SIMULATED, "--db", "/nonexistent/x", "--thread", "t"), 2, "unable to open database file"),
        ((QUESTION, *SIMULATED, "--db", __file__, "--thread", "t"), 2, "file is not a database"),
        (
            (QUESTION, "--model", "openai:m", "--base-url", "http://127.0.0.1:1/v1", "--set", "max_retries=0"),
            1,
            "Connection",
        ),
    ],
)
def test_bad_input_gets_one_line(arguments: tuple[str, ...], code: int, says: str) -> None:
    done = invoke("solve", *arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    *progress, last = done.stderr.splitlines()
    assert last.startswith("metascale: ")
    assert says in last
    assert progress == [] or code == 1


def test_a_question_of_200_kb_is_refused_with_the_limit() -> None:
    done = metascale("solve", "-", *SIMULATED, stdin=b"why " * 50_000)
    assert done.returncode == 2
    assert done.stderr == (
        "metascale: the question is too long: 200,000 characters, but max_question_chars allows 100,000\n"
    )


def test_a_question_that_is_no_text_is_refused() -> None:
    done = metascale("solve", "-", *SIMULATED, stdin=b"\xff\xfe\x00")
    assert (done.returncode, done.stderr) == (2, "metascale: the question is not valid UTF-8\n")


def test_a_wrong_key_gets_one_line(start_server: ServerFactory) -> None:
    server = start_server(script=lambda *_: Fault(401, '{"error": {"message": "Incorrect API key provided"}}'))
    done = metascale("solve", QUESTION, "--model", "openai:m", "--base-url", server.url, OPENAI_API_KEY="wrong-key")
    assert done.returncode == 1
    assert done.stderr.count("metascale: ") == 1
    assert "401" in done.stderr.splitlines()[-1]
    assert "wrong-key" not in done.stderr
    assert server.requests["solve"] <= 8


def test_the_graph_is_printed_as_mermaid() -> None:
    done = metascale("graph")
    assert done.returncode == 0
    for node in ("initialize_pool", "select_arm", "generate", "score", "evolve", "synthesize", "confirm", "finalize"):
        assert node in done.stdout
    for label in ("budget left", "time to evolve", "look again", "choose", "to be reviewed", "ask for more"):
        assert label in done.stdout
    assert metascale("graph", "metascal").stderr == "metascale: unknown method 'metascal'; did you mean 'metascale'?\n"


@pytest.mark.parametrize(("view", "complaint"), [("no/such.svg", "folder that does not exist"), (".", "is a folder")])
def test_a_view_that_cannot_be_drawn_is_refused_before_anything_is_spent(
    view: str, complaint: str, tmp_path: Path
) -> None:
    database = tmp_path / "runs.db"
    kept = ["--db", str(database), "--thread", "t"]
    done = metascale("solve", QUESTION, *SIMULATED, "--budget", "2", "--svg", str(tmp_path / view), *kept)
    assert (done.returncode, done.stdout) == (2, "")
    assert (done.stderr.count("\n"), complaint in done.stderr) == (1, True)
    assert not database.exists()


def test_it_runs_from_any_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "metascale.cli", "solve", QUESTION, *SIMULATED, "--budget", "1"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_a_terminal_shows_the_search_live() -> None:
    command = [sys.executable, "-m", "metascale.cli", "solve", QUESTION, *SIMULATED, "--seed", "7"]
    command += ["--set", "evolution=always", "--set", "stop_on_agreement=null", "--batch-size", "4"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, command, {**os.environ, "COLUMNS": "120", "TERM": "xterm"})
    shown = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 65_536):
            shown += chunk
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0
    text = shown.decode()
    for expected in ("chain_of_thought", "pulls", "evolved", "samples 16/16", "best so far: reward", NOTICE):
        assert expected in text
