"""The package's own source: its files, and what they import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import metascale
from docs.hooks import parsed

TOP = Path(metascale.__file__).parent


def file_of(module: str) -> Path | None:
    """A module's file; None for names that are no module."""
    path = TOP.joinpath(*module.split(".")[1:])
    if path.is_dir():
        return path / "__init__.py"
    return path.with_suffix(".py") if path.with_suffix(".py").exists() else None


@cache
def imports(path: Path) -> list[str]:
    """The modules that a file imports at its top and within its functions, save those for type checkers alone."""
    found: list[str] = []
    stack: list[ast.AST] = [parsed(path)]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            stack += node.orelse
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            is_package = node.module.startswith("metascale")
            found += [node.module, *(name for name in inner if is_package and file_of(name) is not None)]
        stack += ast.iter_child_nodes(node)
    return found


def sources() -> Iterator[tuple[str, Path]]:
    """Every file of the package but its `__init__`, with the room that it is in."""
    for path in sorted(TOP.rglob("*.py")):
        room = path.relative_to(TOP).parts[0].removesuffix(".py")
        if room != "__init__":
            yield room, path
