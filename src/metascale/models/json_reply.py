"""Reading the JSON object that a model was asked for: lenient in finding it, strict in accepting it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, get_args, get_origin

import json_repair
from pydantic import BaseModel, ValidationError

from metascale.models.cleaning import well_formed
from metascale.models.quotation import names_key, unquoted

Schema = TypeVar("Schema", bound=BaseModel)

OPENINGS = 20
"""Beginnings of objects that are tried in one reply, from its start and again from its end. A judge's own object
stands before or after the text that it quotes, and the search stays linear on hostile text."""

LONGEST_REPAIRED, MOST_BRACKETS = 12_000, 200
"""Characters and opening brackets of the largest reply that is repaired. Ours: they bound the time to a fraction of a
second."""
_TAIL = re.compile(r"[^{}\[\]]{0,200}")
"""What may follow the object in a reply that is repaired."""


DEEPEST_WRAPPER = 2
"""How many objects, inside the outermost, may wrap the requested one. Not tuned."""


class UnreadableReplyError(ValueError):
    """A reply holds no object of the schema; the message says why, and can be sent back to the model."""


class QuotedReplyError(UnreadableReplyError):
    """A reply holds an object of the schema, but as a quotation."""


def _reject_constant(name: str) -> None:
    message = f"{name} is not JSON"
    raise ValueError(message)


_DECODER = json.JSONDecoder(strict=False, parse_constant=_reject_constant)
_OPENING = re.compile(r'\{\s*"(?:[^"\\]|\\.)*"\s*:', re.DOTALL)


def _mend(text: str) -> str:
    """The text without the two most common mistakes of models: lone backslashes (LaTeX) and trailing commas."""
    return re.sub(r",(\s*[}\]])", r"\1", re.sub(r'\\(?![\\"/bfnrtu])', r"\\\\", text))


def objects_in(text: str) -> list[dict[str, Any]]:
    """The outermost JSON objects in a text that have a key: in prose, in code fences or alone."""
    starts = [match.start() for match in _OPENING.finditer(text)]
    found = []
    end = 0
    for start in starts[:OPENINGS] + starts[OPENINGS:][-OPENINGS:]:
        if start < end:
            continue
        try:
            value, end = _DECODER.raw_decode(text, start)
            found.append(well_formed(value))
        except (ValueError, RecursionError):
            continue
    return found


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the object"
    return f"{where}: {first['msg']}"


def read_objects(values: Sequence[dict[str, Any]], schema: type[Schema], *, untrusted: str = "") -> Schema:
    """The one object of the schema among several values.

    If no value is one, they are read more freely: with the names of fields in any case, with JSON inside of texts, and
    inside another object. A schema whose only field is a list also takes the list's items.

    Args:
        values: the objects that a model gave.
        schema: what the model was asked for.
        untrusted: as for `read_reply`.

    Raises:
        UnreadableReplyError: there is no such object, or there are several that differ.
    """
    valid, problem = _valid(values, schema)
    if not valid:
        valid, _ = _valid([freer for value in values for freer in _read_freely(value, schema)], schema)
    if not valid:
        valid = _of_items(values, schema, untrusted)
    return _only(valid, problem, untrusted)


def read_reply(text: str, schema: type[Schema], *, untrusted: str = "") -> Schema:
    """The one object of the schema that a reply holds.

    Args:
        text: the model's reply.
        schema: what was asked for.
        untrusted: material that the request showed to the model. An object whose fields all occur in it is a quotation,
            never the reply; see `unquoted`.

    Raises:
        UnreadableReplyError: there is no such object, or there are several that differ.
    """
    text = _decoded(text)
    values = objects_in(text)
    try:
        return _as_it_stands(values, schema, untrusted=untrusted)
    except UnreadableReplyError as error:
        mended_text = _mend(text)
        mended = values if mended_text == text else objects_in(mended_text)
        is_broken = not _valid([*values, *mended], schema)[0]
        for read, others in (
            (_as_it_stands, mended),
            (_as_it_stands, _repaired(text, schema, untrusted) if is_broken else []),
            (read_objects, mended),
            (read_objects, values),
            (read_objects, _bare_texts(text, schema)),
        ):
            with contextlib.suppress(UnreadableReplyError):
                return read(others, schema, untrusted=untrusted)
        raise error from None


def _as_it_stands(values: Sequence[dict[str, Any]], schema: type[Schema], *, untrusted: str) -> Schema:
    """As `read_objects`, without reading freely."""
    return _only(*_valid(values, schema), untrusted)


def _only(valid: Sequence[Schema], problem: str, untrusted: str) -> Schema:
    """The one object that is not quoted."""
    found = unquoted(valid, untrusted)
    if len(found) > 1:
        raise UnreadableReplyError("it holds several objects that differ")
    if not found:
        raise QuotedReplyError("it only quotes an object from the material") if valid else UnreadableReplyError(problem)
    return found[0]


def _repaired(text: str, schema: type[BaseModel], untrusted: str) -> list[dict[str, Any]]:
    """The objects in a reply whose JSON is broken, by `json_repair`: Python's quotes, keys without quotes, comments.

    Only a reply that ends with its object is repaired: a number at the end of a cut reply may have lost its last digit.
    It is not repaired where the material names a field of the schema, because a quotation could be taken for a field.
    """
    start, end = text.find("{"), text.rfind("}") + 1
    if not 0 <= start < end or not _TAIL.fullmatch(text, end) or _is_vast(text[start:end]):
        return []
    if any(names_key(untrusted, name) for name in schema.model_fields):
        return []
    try:
        said = json_repair.loads(text[start:end], skip_json_loads=True)
    except (ValueError, RecursionError):
        return []
    values = [well_formed(value) for value in (said if isinstance(said, list) else [said])]
    return [value for value in values if isinstance(value, dict)]


def _is_vast(text: str) -> bool:
    return len(text) > LONGEST_REPAIRED or text.count("{") + text.count("[") > MOST_BRACKETS


def _decoded(text: str) -> str:
    """The text that a reply encodes as one JSON string; the reply itself where it does not."""
    if text.lstrip()[:1] != '"':
        return text
    try:
        inner = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return text
    return inner if isinstance(inner, str) else text


def _valid(values: Iterable[Any], schema: type[Schema]) -> tuple[list[Schema], str]:
    """The different objects of the schema among the values, and why the last other one is none."""
    valid: list[Schema] = []
    problem = "it holds no JSON object"
    for value in values:
        try:
            read = schema.model_validate(value)
        except ValidationError as error:
            problem = _problem(error)
            continue
        if read not in valid:
            valid.append(read)
    return valid, problem


def _read_freely(value: dict[str, Any], schema: type[BaseModel], depth: int = 0) -> Iterator[dict[str, Any]]:
    """What an object may mean that is not of the schema as it stands."""
    names = {_folded(name): name for name in schema.model_fields}
    renamed = {names.get(_folded(name), name): held for name, held in value.items()}
    unfolded = {name: _unfolded(held) for name, held in renamed.items()}
    if len(unfolded) == len(value):
        yield unfolded
    held_alone = (held[0] if isinstance(held, list) and len(held) == 1 else held for held in unfolded.values())
    inner = [held for held in held_alone if isinstance(held, dict)]
    if len(inner) == 1 and not unfolded.keys() & schema.model_fields.keys():
        yield inner[0]
        if depth < DEEPEST_WRAPPER:
            yield from _read_freely(inner[0], schema, depth + 1)
    listed = _list_field(schema)
    if listed is not None and len(unfolded) == 1:
        yield {listed[0]: next(iter(unfolded.values()))}


def _folded(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _unfolded(value: Any) -> Any:
    """The object or list that a text encodes, also in a list; any other value as it is."""
    if isinstance(value, list):
        return [_unfolded(item) for item in value]
    if not isinstance(value, str) or value.lstrip()[:1] not in {"{", "["}:
        return value
    try:
        inner = _DECODER.decode(value)
    except (ValueError, RecursionError):
        return value
    return well_formed(inner)


def _list_field(schema: type[BaseModel]) -> tuple[str, Any] | None:
    """The name and the type of the items, where a list is the only field of a schema."""
    fields = list(schema.model_fields.items())
    if len(fields) != 1 or get_origin(fields[0][1].annotation) is not list:
        return None
    return fields[0][0], get_args(fields[0][1].annotation)[0]


def _of_items(values: Sequence[dict[str, Any]], schema: type[Schema], untrusted: str) -> list[Schema]:
    """The object whose list holds the values that can be its items: a bare list, or one item after the other."""
    name, item = _list_field(schema) or ("", None)
    if not isinstance(item, type) or not issubclass(item, BaseModel):
        return []
    items, _ = _valid(values, item)
    own = unquoted(items, untrusted)
    return [schema.model_validate({name: own})] if own else []


def _bare_texts(text: str, schema: type[BaseModel]) -> list[dict[str, Any]]:
    """The object around the one list of texts that a reply holds, where the schema wants nothing else."""
    name, item = _list_field(schema) or ("", BaseModel)
    if isinstance(item, type) and issubclass(item, BaseModel):
        return []
    start = text.find("[")
    try:
        value, end = _DECODER.raw_decode(text, start) if start >= 0 else ([], 0)
    except (ValueError, RecursionError):
        return []
    is_list = isinstance(value, list) and all(isinstance(part, str) for part in value)
    return [{name: value}] if value and is_list and "[" not in text[end:] else []
