"""Imports run one way, and the algorithms reach neither LangGraph nor LangChain, not even through others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.source_files import TOP, file_of, imports, sources

LAYERS = [
    {"errors", "redaction", "usage", "data", "prompts", "records", "stats", "answers"},
    {"settings", "state", "question", "events", "runtime", "bandits", "choice"},
    {"models", "pool"},
    {"evolution", "foresight", "memory", "interrupts", "rewards"},
    {"budget"},
    {"result"},
    {"nodes"},
    {"graphs"},
    {"costs", "integrations", "journal"},
    {"batches", "cli", "server", "evals", "training"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
PURE = ["records", "stats", "answers", "bandits", "choice", "pool", "evolution", "foresight", "budget"]
FRAMEWORKS = ("langgraph", "langchain", "langchain_core", "langchain_openai", "langsmith")


def packages_of(module: str) -> list[str]:
    """The module and the packages around it, which Python imports first; not `metascale`, which imports everything."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(2, len(parts) + 1)]


def test_imports_run_one_way() -> None:
    checked = 0
    for room, path in sources():
        for module in imports(path):
            if not module.startswith("metascale."):
                assert module.split(".")[0] not in {"graphs", "nodes", "prompts"}, path
                continue
            target = module.split(".")[1]
            if target != room:
                checked += 1
                assert RANK[target] <= RANK[room], f"{path.relative_to(TOP)} imports {module}"
    assert checked > 50


@pytest.mark.parametrize("room", PURE)
def test_algorithms_reach_no_framework(room: str) -> None:
    waiting = [path for part, path in sources() if part == room]
    assert waiting
    came_from: dict[Path, Path | None] = dict.fromkeys(waiting)
    while waiting:
        path = waiting.pop()
        for module in imports(path):
            is_framework = module.split(".")[0] in FRAMEWORKS
            assert not is_framework, f"{module} is reached by {_way_to(path, came_from)}"
            for name in packages_of(module) if module.startswith("metascale.") else []:
                inner = file_of(name)
                if inner is not None and inner not in came_from:
                    came_from[inner] = path
                    waiting.append(inner)


def _way_to(path: Path, came_from: dict[Path, Path | None]) -> str:
    way: list[str] = []
    step: Path | None = path
    while step is not None:
        way.append(str(step.relative_to(TOP)))
        step = came_from[step]
    return " <- ".join(way)


@pytest.mark.parametrize("room", ["evals", "training", "server", "integrations"])
def test_only_the_command_line_imports_the_command_line(room: str) -> None:
    for part, path in sources():
        if part == room:
            assert not any(module.startswith("metascale.cli") for module in imports(path)), path


def test_no_test_module_imports_another() -> None:
    for path in Path(__file__).parent.glob("*.py"):
        others = {module for module in imports(path) if module.startswith("tests.test_")}
        assert not others, f"{path.name} imports {others}"
