"""The README is short, and what it shows works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from metascale import create_metascale
from tests.command_line import metascale

TOP = Path(__file__).parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")
MOST_WORDS = 1_200


def test_it_stays_short() -> None:
    assert len(README.split()) <= MOST_WORDS, "move the rest to the page in docs/ that owns it"


def test_both_commands_are_on_the_first_screen() -> None:
    """`.ci/run` takes them from here: the first runs the main job, the second the tests."""
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    (block,) = (
        block
        for block in re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
        if "python3 -m venv" in block
    )
    assert [line for line in block.splitlines() if line in commands] == commands
    run, test = commands
    assert "metascale solve" in run
    assert "--model" not in run, "it needs no network"
    assert "pytest" in test
    assert README[: README.index(test)].count("\n") < 25


def test_the_example_runs() -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(source.replace("openai:gpt-4o-mini", "simulated"), names)
    assert {
        "answer",
        "reward",
        "meta_thought",
        "stop_reason",
        "usage",
        "rivals",
        "finalists",
        "confidence",
        "notes",
    } <= set(names["out"]["result"])


def test_every_node_is_named() -> None:
    (drawn,) = re.findall(r"^```text\n(START.*?)^```", README, re.DOTALL | re.MULTILINE)
    nodes = {name for name in create_metascale("simulated").get_graph().nodes if not name.startswith("__")}
    assert {"initialize_pool", "select_arm", "generate", "score", "evolve", "finalize"} <= set(
        re.findall(r"\w+", drawn)
    )
    assert {name for name in nodes if f"`{name}`" not in README} == set()


def test_the_pictured_view_is_todays_and_says_that_it_simulates(tmp_path: Path) -> None:
    def shown(file: Path) -> list[str]:
        texts = re.findall(r"<text[^>]*>([^<]+)</text>", file.read_text(encoding="utf-8"))
        return [" ".join(text.replace("&#160;", " ").split()) for text in texts if "tokens" not in text]

    fresh = tmp_path / "live.svg"
    question = re.search(r"solve --preset paper --seed 7 (\".*?\")", README)
    told = re.search(
        r"first command with (.*?) in place of --preset paper; a simulation\]\(docs/images/live.svg\)", README
    )
    assert question is not None
    assert told is not None
    options = ["--seed", "7", *told[1].split(), "--svg", str(fresh)]
    assert metascale("solve", question[1].strip('"'), *options).returncode == 0
    pictured = shown(TOP / "docs/images/live.svg")
    assert pictured == shown(fresh), "draw it anew: make picture"
    assert any("SIMULATION" in text for text in pictured)
    assert "evolved" in pictured
    assert "url(" not in re.sub(r"url\(#", "(#", fresh.read_text(encoding="utf-8")), "it loads nothing"
