"""The prompt texts, one Markdown file each, and the small loader for them."""

from __future__ import annotations

import hmac
import re
import secrets
from importlib.resources import files
from string import Template

_FENCED = re.compile(r"<(\w+)-([0-9a-f]{16})>\n(.*?)\n</\1-\2>", re.DOTALL)
_KEY = secrets.token_bytes(32)

_TEXTS = {
    entry.name.removesuffix(".md"): entry.read_text(encoding="utf-8").strip()
    for entry in files(__package__).iterdir()
    if entry.name.endswith(".md")
}


def load(name: str) -> str:
    """The text of the prompt in the file `name.md` of this package, without surrounding white space.

    Raises:
        KeyError: there is no such prompt.
    """
    return _TEXTS[name]


def render(name: str, **values: object) -> str:
    """The prompt `name` with its `$placeholders` filled in.

    Values are not expanded again, so a `$placeholder` inside a value stays as text.

    Raises:
        KeyError: there is no such prompt, or a placeholder has no value.
    """
    return Template(load(name)).substitute(values)


EXPERTS = {"expert": load("expert"), "examples": load("expert_examples")}
"""What a prompt for meta-thoughts says about an expert, which is its word for one, and examples of two."""


def for_experts(name: str, count: int, tag: str, *, are_new: bool = False) -> str:
    """A prompt that asks for the descriptions of `count` experts, which are meta-thoughts."""
    return render(name, experts=_some(count, are_new=are_new), tag=tag, **EXPERTS)


def with_reminder(material: str, count: int, *, are_new: bool = False) -> str:
    """The material, and after it once more what is wanted, because small models forget it over the material."""
    wanted = "the expert," if count == 1 else f"the {_some(count, are_new=are_new)}, each"
    return f"{material}\n\n{render('reminder', experts=wanted)}"


def _some(count: int, *, are_new: bool) -> str:
    return f"{count} {'new ' * are_new}expert{'s' * (count != 1)}"


TASKS = ("task_number", "task_choice")
"""Prompts that tell the model the answer format of a benchmark."""


def without_task(text: str) -> str:
    """A system message without the answer format of a benchmark; only the meta-thought remains."""
    for name in TASKS:
        text = text.replace(load(name), "")
    return text.strip()


def apart(turn: str) -> tuple[str, str]:
    """What the user said, and the meta-thought that stands after it: its mindset and its strategy; empty if none."""
    opening, closing = load("solve").partition("$")[0], load("solve").rpartition("$strategy")[2]
    said, found, thought = f"\n\n{turn}".rpartition(f"\n\n{opening}")
    return (said.removeprefix("\n\n"), thought.removesuffix(closing).strip()) if found else (turn, "")


def attempts_in(turn: str) -> tuple[str, list[str]]:
    """What the user said, and the attempts that were shown after it; none if there are none."""
    opening = load("aggregate").partition("$")[0]
    said, found, shown = f"\n\n{turn}".partition(f"\n\n{opening}")
    return (said.removeprefix("\n\n"), [text for _, text in fenced(shown)]) if found else (turn, [])


def new_tag() -> str:
    """A random 64-bit tag, in hexadecimal, for the fences of one request. Fenced text cannot guess it."""
    return secrets.token_hex(8)


def tag_for(task: str, *others: str) -> str:
    """A tag that all requests about a task share, so that a server can cache what they have in common.

    It is a keyed hash of the task. The key is random, and of this process. If a text holds the tag, because somebody
    who saw it repeats it, the tag is a new one.

    Args:
        task: the task, as text.
        others: further texts that will be fenced.
    """
    tag = hmac.new(_KEY, task.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:16]
    return new_tag() if any(tag in text for text in (task, *others)) else tag


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
