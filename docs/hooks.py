"""Generates the reference for settings, records and commands from the code when the site is built.

A page requests a part with a comment on a line of its own: `<!-- settings -->`, `<!-- commands -->`, `<!-- methods -->`
for the catalogue of reasoning methods, `<!-- fields MODULE NAME … -->` for the fields of pydantic models, and
`<!-- records MODULE NAME … -->` for the keys of typed dictionaries and dataclasses and the values of literals.

The site also holds every page as Markdown, and the repository's `llms.txt` with links to these.
"""

from __future__ import annotations

import ast
import gc
import importlib
import inspect
import json
import logging
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from metascale import MetaScaleSettings
from metascale.cli.app import app
from metascale.pool.methods import catalogue

ASKED = re.compile(r"^<!-- (settings|commands|methods|fields|records)((?: [\w.]+)*) -->$", re.MULTILINE)
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b[^>]*\bhref=["']?(?:https?:)?//"""
)
RESULT = Path(__file__).parent / "reference" / "result.md"
LLMS = Path(__file__).parents[1] / "llms.txt"
RECORDS = re.compile(r"(?<=[a-z] )[A-Z]\w+(?=[ \w]* -->)")
ATTRIBUTE = re.compile(r"^(\w+): (.+(?:\n[ ].+)*)", re.MULTILINE)
"""An attribute of a dataclass in its docstring, with its continuation lines."""
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
JSON_NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false"}

log = logging.getLogger("mkdocs.hooks.metascale")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Replace the comments of a page by what they request, and put the page into the site as Markdown too."""
    text = expanded(markdown)
    place = Path(config["site_dir"], page.file.src_uri)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    return text


def on_post_build(config: Any, **_: Any) -> None:
    """Put `llms.txt` at the root of the site."""
    Path(config["site_dir"], "llms.txt").write_text(served_llms(), encoding="utf-8")


def served_llms() -> str:
    """`llms.txt` with its links as the site has them."""
    return LLMS.read_text(encoding="utf-8").replace("](docs/", "](")


def expanded(markdown: str) -> str:
    """A page with its comments replaced by what they request."""
    written = {
        "settings": settings_tables,
        "commands": commands,
        "methods": methods,
        "fields": fields,
        "records": records,
    }
    return ASKED.sub(lambda asked: written[asked[1]](*asked[2].split()), markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Warn if a page would load something from another host; with `--strict` that is an error."""
    for found in LOADED.finditer(output):
        log.warning("%s loads from elsewhere: %s", page.file.src_uri, found[0])
    return output


def settings_tables() -> str:
    """Every setting with its default and description, in one table per node that reads it first."""
    rows: dict[str, list[str]] = {}
    for name, field in MetaScaleSettings.model_fields.items():
        extra = field.json_schema_extra
        nodes = extra.get("langgraph_nodes") if isinstance(extra, dict) else None
        node = str(nodes[0]) if isinstance(nodes, list) else "elsewhere"
        rows.setdefault(node, []).append(_field(name, field, anchor=True))
    head = "| setting | default | |\n|---|---|---|\n"
    return "\n\n".join(f"## `{node}` {{ #node-{node} }}\n\n{head}" + "\n".join(lines) for node, lines in rows.items())


def fields(module: str, *names: str) -> str:
    """The fields of pydantic models, one heading and table each."""
    parts = []
    for name in names:
        model = getattr(importlib.import_module(module), name)
        lines = [_field(key, field, anchor=False) for key, field in model.model_fields.items()]
        said = inspect.cleandoc(model.__doc__).partition("\n")[0]
        parts.append("\n".join([f"### {name}\n\n{said}\n\n| field | default | |\n|---|---|---|", *lines]))
    return "\n\n".join(parts)


def _field(name: str, field: FieldInfo, *, anchor: bool) -> str:
    default = field.get_default(call_default_factory=True)
    shown = "" if field.is_required() else f"`{json.dumps(default, default=list)}`"
    what = f"{_cell(field.description or '')}<br><small>{_values(field)}</small>"
    return f"| `{name}`{f'{{ #{name} }}' * anchor} | {shown} | {what} |"


def _values(field: FieldInfo) -> str:
    """The type and the bounds of a field."""
    bounds = [
        f"{words} {value:,}"
        for constraint in field.metadata
        for name, words in BOUNDS.items()
        if (value := getattr(constraint, name, None)) is not None
    ]
    return ", ".join([_kind(field.annotation), *bounds])


def _kind(annotation: Any) -> str:
    """A type in JSON terms."""
    inner = get_args(annotation)
    match get_origin(annotation):
        case origin if origin is Annotated:
            return _kind(inner[0])
        case origin if origin is Literal:
            return ", ".join(f"`{value}`" for value in inner)
        case origin if origin in {Union, UnionType}:
            return " or ".join("null" if one is type(None) else _kind(one) for one in inner)
        case origin if origin in {list, tuple}:
            return f"list of {_kind(inner[0])}"
        case origin if origin is dict:
            return f"{_kind(inner[1])} by name"
    return JSON_NAMES.get(annotation) or f"[{annotation.__name__}](#{annotation.__name__.lower()})"


def records(module: str, *names: str) -> str:
    """The keys of typed dictionaries and dataclasses with their descriptions, and the values of literals."""
    source = importlib.import_module(module)
    written = {node.name: node for node in parsed(Path(str(source.__file__))).body if isinstance(node, ast.ClassDef)}
    places = {name: f"result.md#{name.lower()}" for name in RECORDS.findall(RESULT.read_text(encoding="utf-8"))}
    places |= {name: f"#{name.lower()}" for name in names}
    parts = [
        f"### {name}\n\n{_keys(written[name], places) if name in written else _literal(source, name)}" for name in names
    ]
    return "\n\n".join(parts)


@cache
def parsed(path: Path) -> ast.Module:
    """A file's syntax tree. Python 3.11's parser fails where garbage is collected while it works."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    finally:
        if collects:
            gc.enable()


def _keys(record: ast.ClassDef, places: Mapping[str, str]) -> str:
    what, _, attributes = (ast.get_docstring(record) or "").partition("Attributes:\n")
    described = dict(ATTRIBUTE.findall(inspect.cleandoc(attributes)))
    lines = [what.strip(), "", "| key | type | |", "|---|---|---|"]
    for node, after in zip(record.body, [*record.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign):
            kind, key = _linked(ast.unparse(node.annotation), places), ast.unparse(node.target)
            said = described.get(key, "")
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                said = str(after.value.value)
            lines.append(f"| `{key}` | {kind} | {_cell(said[:1].upper() + said[1:])} |")
    return "\n".join(lines)


def _linked(annotation: str, places: Mapping[str, str]) -> str:
    """A type as written, without annotations for the graph, and with links to records."""
    plain = re.sub(r"^Annotated\[(.*?\]?), .*\]$", r"\1", annotation)
    if plain.startswith("NotRequired["):
        plain = f"{plain.removeprefix('NotRequired[').removesuffix(']')}, or absent"
    plain = re.sub(r"Literal\[(.*?)\]", lambda found: found[1].replace(", ", " | "), plain)
    parts = re.split(r"\b(" + "|".join(places) + r")\b", _cell(plain).replace("[", "\\["))
    return "".join(f"[{part}]({places[part]})" if place % 2 else part for place, part in enumerate(parts))


def _literal(source: ModuleType, name: str) -> str:
    return ", ".join(f"`{value}`" for value in get_args(getattr(source, name)))


def commands() -> str:
    """Every command with its help and its options."""
    return "\n\n".join(_command(path, command) for path, command in all_commands())


def all_commands() -> Iterator[tuple[str, Any]]:
    """Every command below `metascale`, with the words that call it."""
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
    described = [one.get_help_record(context) for one in command.params]
    if described:
        rows = [f"| `{name}` | {_cell(text)} |" for name, text in filter(None, described)]
        parts.append("\n".join(["| | |", "|---|---|", *rows]))
    return "\n\n".join(part for part in parts if part)


def methods() -> str:
    """The built-in reasoning methods with their sources."""
    rows = [
        f"| `{one.name}` | {_cell(one.description)}<br><small>{_cell(one.source)}</small> |"
        for one in catalogue().values()
    ]
    return "\n".join(["| | |", "|---|---|", *rows])


def _cell(text: str) -> str:
    """Text escaped for a table cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
