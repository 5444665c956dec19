"""Threads remember: a command without its question and settings continues what an earlier one began."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from metascale.cli.threads import Remembered, command_metadata, recall
from tests.command_line import invoke
from tests.conftest import QUESTION, ServerFactory

HOWTO = Path(__file__).parents[1] / "docs" / "howto"


def on_thread(folder: Path, *options: str) -> Result:
    return invoke("solve", *options, "--db", str(folder / "runs.sqlite"), "--thread", "t")


def found_by(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(("page", "codes"), [("people", [2, 3, 0, 0]), ("persist", [0, 0])])
def test_the_commands_of_a_page_work_as_written(
    page: str, codes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (HOWTO / f"{page}.md").read_text(encoding="utf-8")
    for edits in re.findall(r"```json\n(.*?)```", text, re.DOTALL):
        Path("edits.json").write_text(edits, encoding="utf-8")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    done = [invoke(*shlex.split(line)[1:]) for line in lines]
    assert [one.exit_code for one in done] == codes, [one.stderr for one in done]
    assert done[-1].stdout == done[codes.index(0)].stdout or page == "people"
    assert recall("runs.sqlite", "robe" if page == "people" else "shed").question == "Your question"


def test_a_thread_remembers_everything_but_what_asks_people(tmp_path: Path, start_server: ServerFactory) -> None:
    server = start_server()
    options = ("--model", "openai:loopback", "--base-url", server.url, "--judge-model", "openai:judge")
    options += ("--budget", "3", "--seed", "5", "--set", "batch_size=2", "--method", "cot_best_of_n")
    assert on_thread(tmp_path, QUESTION, *options).exit_code == 0
    kept = recall(str(tmp_path / "runs.sqlite"), "t")
    assert kept == Remembered(
        QUESTION,
        {
            "method": "cot_best_of_n",
            "model": "openai:loopback",
            "judge_model": "openai:judge",
            "base_url": server.url,
        },
        {"budget": 3, "seed": 5, "batch_size": 2},
    )
    asked = server.count("solve")
    again = on_thread(tmp_path, "--json")
    assert (again.exit_code, "nothing was spent" in again.stderr) == (0, True)
    assert server.count("solve") == asked


def test_more_samples_go_to_the_run_as_it_began(tmp_path: Path) -> None:
    first = found_by(on_thread(tmp_path, QUESTION, "--model", "simulated", "--budget", "4", "--seed", "3", "--json"))
    more = found_by(on_thread(tmp_path, "--more", "2", "--json"))
    assert more["usage"]["samples"] == 6
    assert [c["text"] for c in more["candidates"][:4]] == [c["text"] for c in first["candidates"]]


def test_a_review_goes_on_with_the_settings_it_began_with(tmp_path: Path) -> None:
    waiting = on_thread(tmp_path, QUESTION, "--model", "simulated", "--budget", "3", "--review-pool")
    assert waiting.exit_code == 3
    (tmp_path / "edits.json").write_text('{"drop": ["m1"]}')
    found = found_by(on_thread(tmp_path, "--pool", str(tmp_path / "edits.json"), "--json"))
    assert found["usage"]["samples"] == 3
    assert "m1" not in {arm["id"] for arm in found["pool"]}


def test_what_the_command_line_says_goes_first(tmp_path: Path) -> None:
    assert on_thread(tmp_path, QUESTION, "--model", "simulated", "--budget", "3", "--review-pool").exit_code == 3
    refused = on_thread(tmp_path, "--budget", "4")
    assert (refused.exit_code, "budget was 3 and is now 4. Leave them out" in refused.stderr) == (2, True)
    other = on_thread(tmp_path, "Another question?")
    assert (other.exit_code, "leave the question out to continue that one" in other.stderr) == (2, True)


def test_another_method_begins_with_its_own_settings(tmp_path: Path) -> None:
    found_by(on_thread(tmp_path, QUESTION, "--model", "simulated", "--method", "direct", "--json"))
    found = found_by(on_thread(tmp_path, "--method", "best_of_n", "--set", "stop_on_agreement=null", "--json"))
    assert found["usage"]["samples"] == 16


def test_a_memory_is_remembered_with_its_file(tmp_path: Path) -> None:
    memory = str(tmp_path / "memory.sqlite")
    found_by(on_thread(tmp_path, QUESTION, "--model", "simulated", "--budget", "2", "--memory", memory, "--json"))
    assert found_by(on_thread(tmp_path, "--more", "2", "--json"))["usage"]["samples"] == 4
    assert recall(str(tmp_path / "runs.sqlite"), "t").parts["memory"] == memory


@pytest.mark.parametrize(
    ("options", "says"), [((), "there is no question"), (("--db", "{}", "--thread", "t"), "holds no run")]
)
def test_without_a_question_and_a_run_it_says_so(options: tuple[str, ...], says: str, tmp_path: Path) -> None:
    database = tmp_path / "runs.sqlite"
    done = invoke("solve", *(option.format(database) for option in options))
    assert (done.exit_code, done.stderr.count("\n"), says in done.stderr) == (2, 1, True)
    assert not database.exists()


def test_no_password_is_remembered(tmp_path: Path) -> None:
    kept = command_metadata({"memory": "postgresql://me:secret@db/x", "base_url": "http://me@host/v1", "model": "m"})
    assert json.loads(kept) == {"model": "m"}
    found_by(on_thread(tmp_path, QUESTION, "--model", "simulated", "--budget", "1", "--json"))
    with sqlite3.connect(tmp_path / "runs.sqlite") as database:
        (told,) = database.execute("select distinct json_extract(metadata, '$.metascale_command') from checkpoints")
    assert json.loads(told[0]) == {"method": "metascale", "model": "simulated"}


def test_a_thread_goes_on_with_the_search_that_a_setting_asked_for(tmp_path: Path) -> None:
    begun = ("--model", "simulated", "--policy", "upper_tail", "--budget", "4", "--json")
    found_by(on_thread(tmp_path, QUESTION, *begun))
    found = found_by(on_thread(tmp_path, "--more", "4", "--json"))
    assert len(found["candidates"]) == 8
    assert not any(candidate["memo"] for candidate in found["candidates"]), "votes would be another scale"


def test_what_an_earlier_command_sampled_is_not_told_again(tmp_path: Path) -> None:
    on_thread(tmp_path, QUESTION, "--model", "simulated", "--budget", "4")
    told = on_thread(tmp_path, "--more", "4").stderr
    assert "round 1: sampling" not in told
    assert "round 2: sampling 4 answers" in told
