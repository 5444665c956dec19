"""The prompt texts, one Markdown file each, and the small loader for them."""

from __future__ import annotations

import re
import secrets
from importlib.resources import files
from string import Template

_FENCED = re.compile(r"<(\w+)-([0-9a-f]{16})>\n(.*?)\n</\1-\2>", re.DOTALL)


_TEXTS = {
    entry.name.removesuffix(".md"): entry.read_text(encoding="utf-8").strip()
    for entry in files(__package__).iterdir()
    if entry.name.endswith(".md")
}


def load(name: str) -> str:
    """The text of the prompt `name` (the file `name.md` in this package), without surrounding white space.

    Raises:
        KeyError: there is no such prompt.
    """
    return _TEXTS[name]


def render(name: str, **values: object) -> str:
    """The prompt `name` with its `$placeholders` filled in.

    What is filled in is never expanded again, so no value can break out of its place.

    Raises:
        KeyError: a placeholder has no value.
    """
    return Template(load(name)).substitute(values)


TASKS = ("task_number", "task_choice")
"""Prompts that say in which form a benchmark wants its answers."""


def without_task(text: str) -> str:
    """A system message without the benchmark's wish for a form: what is left is the meta-thought."""
    for name in TASKS:
        text = text.replace(load(name), "")
    return text.strip()


def new_tag() -> str:
    """A random tag of 64 bits for the fences of one request; nobody who wrote the material can know it."""
    return secrets.token_hex(8)


def fence(label: str, text: str, tag: str) -> str:
    """Untrusted text between `<label-tag>` and `</label-tag>`."""
    return f"<{label}-{tag}>\n{text}\n</{label}-{tag}>"


def fenced(text: str) -> list[tuple[str, str]]:
    """The (label, content) pairs of the fences in a prompt, in order."""
    return [(match[1], match[3]) for match in _FENCED.finditer(text)]


def _read_meta_thoughts() -> dict[str, tuple[str, str]]:
    found = {}
    for entry in sorted(files(__package__).joinpath("meta_thoughts").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".md"):
            _, mindset, strategy = re.split(r"^# .*$", entry.read_text(encoding="utf-8"), flags=re.MULTILINE)
            found[entry.name.removesuffix(".md")] = (mindset.strip(), strategy.strip())
    return found


BUILT_IN_META_THOUGHTS = _read_meta_thoughts()
"""The meta-thoughts that ship with the package: name to (mindset, strategy), in alphabetical order."""
