"""What the README shows, works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerFactory

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
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


def test_every_linked_file_exists() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target
