"""What the README, the documentation and the guides point to, exists: links, files, modules and benchmarks."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

from docs.hooks import expanded

TOP = Path(__file__).parents[1]
FROM_ROOT = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
PAGES = [*FROM_ROOT, *sorted(str(path.relative_to(TOP)) for path in (TOP / "docs").rglob("*.md"))]
YOURS = {"./app.py", "app.py", "tests/test_x.py"}
"""Files that the documentation asks readers to write."""
MADE_LATER = {"site/", "dist/"}
"""Folders that a command makes."""
ROOTS = [TOP, TOP / "src/metascale"]


def text_of(page: str) -> str:
    return (TOP / page).read_text(encoding="utf-8")


def targets(page: str) -> list[tuple[str, str]]:
    """Relative links as a path and an anchor, each possibly empty."""
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", expanded(text_of(page)))
    return [(link.partition("#")[0], link.partition("#")[2]) for link in links]


def slugs(page: Path) -> set[str]:
    """The anchors of a page: of its headings, as GitHub and the site make them, and those that are set."""
    text = expanded(page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+?)(?: \{.*\})?$", text, re.MULTILINE)
    made = {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return made | set(re.findall(r"\{ ?#([\w-]+) ?\}", text))


def exists(path: str) -> bool:
    return any((root / path).exists() for root in ROOTS)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    missing = [path for path, _ in targets(page) if path and not (TOP / page).parent.joinpath(path).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_headings(page: str) -> None:
    found = [((TOP / page).parent / path if path else TOP / page, anchor) for path, anchor in targets(page) if anchor]
    assert [(target.name, anchor) for target, anchor in found if anchor not in slugs(target)] == []


@pytest.mark.parametrize("page", PAGES)
def test_named_files_and_folders_exist(page: str) -> None:
    files = set(re.findall(r"(?<![\w./:-])(?:[\w.-]+/)*[\w-]+\.(?:py|ipynb)\b", text_of(page)))
    folders = set(re.findall(r"`((?:[\w.-]+/)+)`", text_of(page)))
    assert {path for path in (files - YOURS) | (folders - MADE_LATER) if not exists(path)} == set()


@pytest.mark.parametrize("page", PAGES)
def test_named_benchmarks_exist(page: str) -> None:
    names = set(re.findall(r"\bbenchmarks\.([a-z]\w*)", text_of(page)))
    places = {name: TOP / "benchmarks" / name for name in names}
    missing = {name for name, at in places.items() if not at.with_suffix(".py").exists() and not at.is_dir()}
    assert missing == set()


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_named_modules_can_be_imported(page: str) -> None:
    for name in set(re.findall(r"(?:`|\[)(metascale(?:\.\w+)+)", text_of(page))):
        try:
            pkgutil.resolve_name(name)
        except (AttributeError, ImportError, ValueError) as error:
            pytest.fail(f"{name}: {error}")


def test_what_does_not_exist_is_found_out() -> None:
    assert exists("nodes/score.py")
    assert exists("bandits/ucb.py")
    assert not exists("src/metascale/pool.py")
    assert "the-graph" not in slugs(TOP / "README.md")
    assert "how-it-works" in slugs(TOP / "README.md")
