"""What helps before a first run: `metascale settings`, `-h`, notices, and errors that name a provider's package."""

from __future__ import annotations

import importlib.util
import json
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from docs.hooks import all_commands
from metascale import MetaScaleSettings
from metascale.errors import MetaScaleError
from metascale.graphs import METHODS
from metascale.models import resolve_model
from tests.command_line import SIMULATED, invoke
from tests.conftest import QUESTION


def test_every_setting_is_listed_with_its_default() -> None:
    listed = json.loads(invoke("settings", "--json").stdout)
    defaults = MetaScaleSettings().model_dump(mode="json")
    assert {setting["name"]: setting["default"] for setting in listed} == defaults
    assert all(setting["description"] for setting in listed)
    policy = next(setting for setting in listed if setting["name"] == "policy")
    assert (policy["section"], policy["schema"]["enum"][0]) == ("search", "upper_tail")
    shown = invoke("settings").stdout
    assert all(name in shown for name in defaults)
    assert [line for line in shown.splitlines() if line.strip() in {"search", "scoring", "limits", "traffic"}]


@pytest.mark.parametrize("path", ["metascale", *dict(all_commands())])
def test_h_asks_for_help_everywhere(path: str) -> None:
    done = invoke(*path.split()[1:], "-h")
    assert done.exit_code == 0
    assert "Usage: metascale" in done.output or f"Usage: root {' '.join(path.split()[1:])}".strip() in done.output


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_one_name(name: str) -> None:
    assert METHODS[name].create("simulated").get_name() == name


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.one_pass])
def test_a_budget_that_a_method_does_not_use_is_told(method: str) -> None:
    told = f"The method '{method}' gives one answer, so the budget of 16 is not used.\n"
    assert invoke("solve", QUESTION, *SIMULATED, "--method", method, "--budget", "16").stderr.startswith(told)
    assert "is not used" not in invoke("solve", QUESTION, *SIMULATED, "--method", method).stderr


WITHOUT_A_PACKAGE = {
    "anthropic:claude-x": "'anthropic:claude-x' needs more packages: pip install langchain-anthropic",
    "claude-x": "'claude-x' needs more packages: pip install langchain-anthropic",
    "antropic:claude-x": "unknown model 'antropic:claude-x'; did you mean 'anthropic:claude-x'?",
    "azure_openai:x": "no API key for 'azure_openai:x': set AZURE_OPENAI_API_KEY or AZURE_OPENAI_AD_TOKEN",
    "openai:": "'openai:' names no model after its colon",
    "zzz:x": "unknown provider 'zzz'; known: anthropic,",
    "llama3.1": "unknown model 'llama3.1'; did you mean 'openai:llama3.1'?",
}
WITHOUT_LANGCHAIN = {
    **{name: WITHOUT_A_PACKAGE[name] for name in ("antropic:claude-x", "openai:", "zzz:x", "llama3.1")},
    "anthropic:claude-x": "'anthropic:claude-x' needs more packages: pip install langchain langchain-anthropic",
    "ollama:x": "'ollama:x' needs more packages: pip install langchain langchain-ollama",
}


@pytest.mark.parametrize(
    ("name", "has_langchain", "says"),
    [
        *((name, True, says) for name, says in WITHOUT_A_PACKAGE.items()),
        *((name, False, says) for name, says in WITHOUT_LANGCHAIN.items()),
    ],
)
def test_a_missing_provider_is_named_with_its_package(
    name: str, *, has_langchain: bool, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def find_spec(module: str, *more: Any) -> ModuleSpec | None:
        return None if module == "langchain" and not has_langchain else find(module, *more)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(MetaScaleError) as refused:
        resolve_model(name)
    assert str(refused.value).startswith(says)
    assert "\n" not in str(refused.value)
