"""Reading the JSON object that a model was asked for: lenient in finding it, strict in accepting it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Schema = TypeVar("Schema", bound=BaseModel)

MAX_BRACES = 500
"""Opening braces that are tried in one reply; keeps the search for an object linear on hostile text."""


class UnreadableReplyError(ValueError):
    """A reply holds no object of the schema; the message says why, in words that can be sent back to the model."""


def _reject_constant(name: str) -> None:
    message = f"{name} is not JSON"
    raise ValueError(message)


_DECODER = json.JSONDecoder(strict=False, parse_constant=_reject_constant)


def _mend(text: str) -> str:
    """The text with the two slips mended that models make most: lone backslashes (LaTeX) and trailing commas."""
    return re.sub(r",(\s*[}\]])", r"\1", re.sub(r'\\(?![\\"/bfnrtu])', r"\\\\", text))


def _scan(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    position = text.find("{")
    for _ in range(MAX_BRACES):
        if position < 0:
            return
        try:
            found, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            yield text[position:end], found
        position = text.find("{", end)


def objects_in(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The outermost JSON objects in a text, each as (source, value): in prose, in code fences or alone."""
    return list(_scan(text)) or list(_scan(_mend(text)))


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the object"
    return f"{where}: {first['msg']}"


def validate(value: Any, schema: type[Schema]) -> Schema:
    """The value as an instance of the schema.

    Raises:
        UnreadableReplyError: it is none.
    """
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        raise UnreadableReplyError(_problem(error)) from error


def read_reply(text: str, schema: type[Schema], *, untrusted: str = "") -> Schema:
    """The one object of the schema that a reply holds.

    Args:
        text: the model's reply.
        schema: what was asked for.
        untrusted: material that the request showed to the model. An object that stands in it word for word is a
            quotation and never the reply.

    Raises:
        UnreadableReplyError: there is no such object, or there are several that differ.
    """
    squeezed = "".join(untrusted.split())
    found: list[Schema] = []
    problem = "it holds no JSON object"
    for source, value in objects_in(text):
        if squeezed and "".join(source.split()) in squeezed:
            problem = "it only quotes an object from the material"
            continue
        try:
            read = validate(value, schema)
        except UnreadableReplyError as error:
            problem = str(error)
            continue
        if read not in found:
            found.append(read)
    if len(found) > 1:
        raise UnreadableReplyError("it holds several objects that differ")
    if not found:
        raise UnreadableReplyError(problem)
    return found[0]
