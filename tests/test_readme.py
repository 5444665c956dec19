"""What the README shows, works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from metascale import create_metascale
from tests.conftest import ServerFactory
from tests.test_command_line import metascale

TOP = Path(__file__).parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
HOSTED = [source for source in EXAMPLES if re.search("as_node|as_tool|MetaScaleMiddleware|ChatMetaScale", source)]
OTHERS = [source for source in EXAMPLES if source not in HOSTED]


@pytest.mark.parametrize("source", OTHERS, ids=range(len(OTHERS)))
def test_examples_run(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(source.replace("openai:gpt-4o-mini", "simulated"), names)
    if "verify" in names:
        assert capsys.readouterr().out == "target_reward\n"
    elif "InMemoryStore" in names:
        assert "advantage" in capsys.readouterr().out
    else:
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


@pytest.mark.parametrize("source", HOSTED, ids=["node", "tool", "middleware", "model"])
def test_examples_in_other_systems_run(
    source: str, start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start_server()
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    exec(source, {"__name__": "readme"})
    printed = capsys.readouterr().out
    assert "Simulated answer" in printed
    assert server.count("solve") >= 4
    assert ("name=" in printed) == ("ChatMetaScale" in source)


def test_the_drawn_graph_is_what_the_command_line_prints() -> None:
    drawn = create_metascale("simulated").get_graph().draw_mermaid()
    assert f"```mermaid\n{drawn.rstrip()}\n```\n" in README, "paste what `metascale graph` prints"


def test_the_pictured_view_is_todays_and_says_that_it_simulates(tmp_path: Path) -> None:
    def shown(file: Path) -> list[str]:
        texts = re.findall(r"<text[^>]*>([^<]+)</text>", file.read_text(encoding="utf-8"))
        return [" ".join(text.replace("&#160;", " ").split()) for text in texts if "tokens" not in text]

    fresh = tmp_path / "live.svg"
    question = re.search(r"solve --seed 7 (\".*?\")", README)
    assert question is not None
    options = ["--model", "simulated", "--seed", "7", "--budget", "24", "--set", "evolution=always"]
    assert metascale("solve", question[1].strip('"'), *options, "--svg", str(fresh)).returncode == 0
    pictured = shown(TOP / "docs/images/live.svg")
    assert pictured == shown(fresh), "draw it anew: make picture"
    assert any("SIMULATION" in text for text in pictured)
    assert "url(" not in re.sub(r"url\(#", "(#", fresh.read_text(encoding="utf-8")), "it loads nothing"


def test_every_linked_file_exists() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (TOP / target).exists(), target
