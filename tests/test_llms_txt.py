"""`llms.txt` has the form of llmstxt.org, and tells of every page of the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from docs.hooks import on_page_markdown, on_post_build

TOP = Path(__file__).parents[1]
TEXT = (TOP / "llms.txt").read_text(encoding="utf-8")
ENTRY = re.compile(r"- \[[^\]]+\]\(([^)]+)\): \S.*")


class File:
    src_uri = "howto/people.md"


class Page:
    file = File


def pages(nav: Any) -> list[str]:
    """The pages of a navigation, however deep."""
    match nav:
        case str():
            return [nav]
        case dict():
            return [page for part in nav.values() for page in pages(part)]
    return [page for part in nav for page in pages(part)]


def test_it_has_a_title_a_summary_and_sections_of_links() -> None:
    title, summary, about, *sections = TEXT.strip().split("\n\n")
    assert title == "# metascale"
    assert summary.startswith("> ")
    assert "\n" not in summary
    assert not about.startswith(("#", "-"))
    headings, lists = sections[::2], sections[1::2]
    assert all(heading.startswith("## ") for heading in headings)
    assert [line for entries in lists for line in entries.splitlines() if not ENTRY.fullmatch(line)] == []


def test_every_page_of_the_site_is_in_it_once_and_nothing_else() -> None:
    nav = yaml.safe_load((TOP / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    links = ENTRY.findall(TEXT)
    assert sorted(links) == sorted(f"docs/{page}" for page in pages(nav))
    assert [link for link in links if not (TOP / link).is_file()] == []


def test_the_site_serves_it_with_the_pages_as_markdown(tmp_path: Path) -> None:
    config = {"site_dir": str(tmp_path)}
    page = (TOP / "docs" / File.src_uri).read_text(encoding="utf-8")
    on_page_markdown(page, page=Page, config=config)
    on_post_build(config)
    served = (tmp_path / "llms.txt").read_text(encoding="utf-8")
    assert [link for link in ENTRY.findall(served) if link.startswith("docs/")] == []
    assert File.src_uri in ENTRY.findall(served)
    assert (tmp_path / File.src_uri).read_text(encoding="utf-8") == page
