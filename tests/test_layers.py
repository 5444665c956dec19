"""Imports run one way."""

from __future__ import annotations

import ast
import gc
from pathlib import Path

import metascale

LAYERS = [
    {
        *{"data", "prompts", "errors", "redaction", "usage", "seeds", "bridge", "deadline"},
        *{"answers", "reliability", "embeddings", "methods", "meta_rewards"},
    },
    {"settings", "state", "question", "events", "databases"},
    {
        "bandits",
        "models",
        "pool",
        "recollection",
        "meta_reasoning",
        "head_start",
        "memory",
        "interrupts",
        "choice",
        "confirmation",
        "stopping",
        "progress",
        "refinement",
        "foresight",
        "evolution",
        "budget",
    },
    {"rewards"},
    {"nodes"},
    {"graphs"},
    {"session", "live", "dialogue", "memory_commands", "integrations", "server", "cli", "evals", "training"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
PURE = {
    "answers",
    "bandits",
    "pool",
    "recollection",
    "meta_reasoning",
    "meta_rewards",
    "redaction",
    "foresight",
    "choice",
    "confirmation",
    "progress",
    "reliability",
    "evolution",
    "budget",
    "seeds",
    "usage",
    "deadline",
}
TOP = Path(metascale.__file__).parent


def parsed(path: Path) -> ast.Module:
    """A module's syntax tree. Python 3.11's parser fails where garbage is collected while it works."""
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    finally:
        gc.enable()


def imports(path: Path) -> list[str]:
    tree = parsed(path)
    named = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return named + [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]


def sources() -> list[tuple[str, Path]]:
    return [(path.relative_to(TOP).parts[0].removesuffix(".py"), path) for path in TOP.rglob("*.py")]


def test_imports_run_one_way() -> None:
    checked = 0
    for part, path in sources():
        if part == "__init__":
            continue
        for module in imports(path):
            if not module.startswith("metascale."):
                assert module.split(".")[0] not in {"graphs", "nodes", "prompts"}, path
                continue
            target = module.split(".")[1]
            if part != target:
                checked += 1
                assert RANK[target] <= RANK[part], f"{path.name} ({part}) imports {module}"
    assert checked > 50


def test_algorithms_know_nothing_of_langgraph() -> None:
    for part, path in sources():
        if part in PURE:
            assert not any(module.startswith("langgraph") for module in imports(path)), path
