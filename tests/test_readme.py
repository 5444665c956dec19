"""What the README shows, works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("source", EXAMPLES, ids=range(len(EXAMPLES)))
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


def test_every_linked_file_exists() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target
