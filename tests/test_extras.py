"""What needs an extra says which one."""

from __future__ import annotations

import subprocess
import sys

import pytest

REWARD_MODEL = """
from metascale import MetaScaleSettings, create_metascale
create_metascale("simulated", settings=MetaScaleSettings(
    reward="reward_model", reward_model={"api": "vllm_classify", "model": "m", "url": "http://127.0.0.1:9"}))
"""
TOOL = """
from metascale.integrations.tool_calls import CallRules
parameters = {"type": "object", "properties": {"a": {"type": "integer"}}}
CallRules.of([{"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters}}], "auto")
"""
MODEL_FILE = "from metascale import create_metascale\ncreate_metascale('gguf:model.gguf')"


@pytest.mark.parametrize(
    ("package", "code", "extra"),
    [("jinja2", REWARD_MODEL, "reward-model"), ("jsonschema", TOOL, "agents"), ("xllamacpp", MODEL_FILE, "gguf")],
)
def test_a_missing_extra_is_named(package: str, code: str, extra: str) -> None:
    blocked = f"import sys; sys.modules[{package!r}] = None\n{code}"
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"pip install 'metascale[{extra}]'" in done.stderr.splitlines()[-1]


def test_the_package_imports_without_its_extras() -> None:
    extras = (
        "jinja2",
        "jsonschema",
        "langchain",
        "inspect_ai",
        "matplotlib",
        "psycopg",
        "opentelemetry",
        "torch",
        "transformers",
        "xllamacpp",
    )
    code = f"import sys\nfor name in {extras}: sys.modules[name] = None\nimport metascale, metascale.cli"
    subprocess.run([sys.executable, "-c", code], check=True)
