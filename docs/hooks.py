"""What the documentation says of settings and commands, written when the site is built, from the code itself.

A page asks for it with a comment of its own line: `<!-- settings -->` or `<!-- commands -->`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from metascale import MetaScaleSettings
from metascale.cli import app

ASKED = re.compile(r"^<!-- (settings|commands) -->$", re.MULTILINE)
LOADED = re.compile(r"""<(?:script|img|iframe|source|video)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b[^>]*\bhref=["']?(?:https?:)?//""")
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}

log = logging.getLogger("mkdocs.hooks.metascale")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what a page asks for."""
    written = {"settings": settings_tables, "commands": commands}
    return ASKED.sub(lambda found: written[found[1]](), markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Warn of a page that would load something from elsewhere; with `--strict` that is an error."""
    for found in LOADED.finditer(output):
        log.warning("%s loads from elsewhere: %s", page.file.src_uri, found[0])
    return output


def settings_tables() -> str:
    """Every setting with what it may be and what it does, in one table for each node that reads it first."""
    tables: dict[str, list[str]] = {}
    for name, field in MetaScaleSettings.model_fields.items():
        extra = field.json_schema_extra
        nodes = extra.get("langgraph_nodes") if isinstance(extra, dict) else None
        node = str(nodes[0]) if isinstance(nodes, list) else "elsewhere"
        row = f"| `{name}`{{ #{name} }} | `{_default(field)}` | {_values(field)} | {_cell(field.description or '')} |"
        tables.setdefault(node, ["| setting | default | values | |", "|---|---|---|---|"]).append(row)
    return "\n\n".join(f"## `{node}`\n\n" + "\n".join(rows) for node, rows in tables.items())


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    return "null" if value is None else str(value)


def _values(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {value:,}"
        for constraint in field.metadata
        for name, sign in BOUNDS.items()
        if (value := getattr(constraint, name, None)) is not None
    ]
    return ", ".join([_kind(field.annotation), *bounds])


def _kind(annotation: Any) -> str:
    """A type in the words of those who write JSON."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) in {Union, UnionType}:
        return " or ".join("null" if one is type(None) else _kind(one) for one in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"list of {_kind(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        return f"{_kind(get_args(annotation)[1])} by name"
    names = {int: "whole number", float: "number", str: "text", bool: "true, false"}
    return names.get(annotation) or f"[`{annotation.__name__}`][{annotation.__module__}.{annotation.__name__}]"


def commands() -> str:
    """Every command with its help and its options."""
    return "\n\n".join(_command(path, command) for path, command in all_commands())


def all_commands() -> Iterator[tuple[str, Any]]:
    """The commands by what is typed to call them, `metascale` itself left out."""
    yield from _below("metascale", typer.main.get_command(app))


def _below(path: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if hasattr(command, "commands"):
            yield from _below(f"{path} {name}", command)


def _command(path: str, command: Any) -> str:
    context = command.make_context(path, [], resilient_parsing=True)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    parts = [f"## `{path}` {{ #{path.replace(' ', '-')} }}", f"```text\n{usage}\n```", command.help or ""]
    records = [one.get_help_record(context) for one in command.params]
    if records:
        rows = [f"| `{name}` | {_cell(text)} |" for name, text in filter(None, records)]
        parts.append("\n".join(["| | |", "|---|---|", *rows]))
    return "\n\n".join(part for part in parts if part)


def _cell(text: str) -> str:
    """Text as it stands in a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
