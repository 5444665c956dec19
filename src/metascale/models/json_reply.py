"""Reading the JSON object that a model was asked for: lenient in finding it, strict in accepting it."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from metascale.models.cleaning import well_formed
from metascale.models.quotation import unquoted

Schema = TypeVar("Schema", bound=BaseModel)

OPENINGS = 20
"""Beginnings of objects that are tried in one reply, from its start and again from its end. A judge's own object
stands before or after the text that it quotes, and the search stays linear on hostile text."""


class UnreadableReplyError(ValueError):
    """A reply holds no object of the schema; the message says why, and can be sent back to the model."""


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


def read_objects(values: list[dict[str, Any]], schema: type[Schema], *, untrusted: str = "") -> Schema:
    """The one object of the schema among several values.

    Args:
        values: the objects that a model gave.
        schema: what the model was asked for.
        untrusted: as for `read_reply`.

    Raises:
        UnreadableReplyError: there is no such object, or there are several that differ.
    """
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
    found = unquoted(valid, untrusted)
    if len(found) > 1:
        raise UnreadableReplyError("it holds several objects that differ")
    if not found:
        raise UnreadableReplyError("it only quotes an object from the material" if valid else problem)
    return found[0]


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
    try:
        return read_objects(objects_in(text), schema, untrusted=untrusted)
    except UnreadableReplyError:
        return read_objects(objects_in(_mend(text)), schema, untrusted=untrusted)
