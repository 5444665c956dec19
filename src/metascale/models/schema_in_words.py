"""Schemas as servers and models read them: JSON Schema for grammars; a filled example with a line for each field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel

from metascale import prompts

MOST_SHOWN = 2
"""Items of a list in an example. Ours: two show that there are several."""


@cache
def json_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema that is sent to servers, without its examples, which some servers reject."""
    described = schema.model_json_schema() | {"description": schema.__doc__ or schema.__name__}
    without: dict[str, Any] = _without_examples(described)
    return without


@cache
def example(schema: type[BaseModel]) -> str:
    """An object of the schema, as JSON: the fields' first examples, or else values that follow from their schemas."""
    described = schema.model_json_schema()
    return json.dumps(_value(described, described.get("$defs", {}), 0), ensure_ascii=False)


@cache
def in_words(schema: type[BaseModel]) -> str:
    """The request for an object of the schema: a filled example, and a line about each field."""
    described = schema.model_json_schema()
    fields = "\n".join(_lines(described, described.get("$defs", {}), ""))
    return prompts.render("schema", example=example(schema), fields=fields)


def _without_examples(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_examples(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_examples(held) for name, held in value.items() if name != "examples"}
    return value


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A schema without a reference; of several alternatives the first."""
    found = schema
    if "anyOf" in found:
        found = {**found, **found["anyOf"][0]}
    if "$ref" in found:
        found = {**definitions[found["$ref"].rpartition("/")[2]], **found}
    return found


def _value(given: dict[str, Any], definitions: dict[str, Any], number: int) -> Any:
    """A value of a schema; `number` chooses among several examples."""
    schema = _resolved(given, definitions)
    if "examples" in schema:
        return schema["examples"][number % len(schema["examples"])]
    if "enum" in schema:
        return schema["enum"][number % len(schema["enum"])]
    if schema.get("type") == "array":
        shown = min(MOST_SHOWN, schema.get("maxItems", MOST_SHOWN))
        item = {"description": schema.get("description", "text"), **schema["items"]}
        return [_value(item, definitions, index) for index in range(shown)]
    if schema.get("type") == "object":
        return {name: _value(field, definitions, number) for name, field in schema["properties"].items()}
    plain = {"boolean": True, "integer": schema.get("minimum", 1), "number": schema.get("maximum", 1)}
    return plain.get(schema.get("type", ""), schema.get("description", "text"))


def _lines(given: dict[str, Any], definitions: dict[str, Any], path: str) -> Iterator[str]:
    """One line for each field, those of nested objects included."""
    for name, field in _resolved(given, definitions).get("properties", {}).items():
        schema = _resolved(field, definitions)
        told = [field.get("description", "")]
        if "enum" in schema:
            told.append(f"One of: {', '.join(map(str, schema['enum']))}.")
        if schema.get("minItems", 0) > 1 and schema.get("minItems") == schema.get("maxItems"):
            told.append(f"Exactly {schema['minItems']} items.")
        yield f"- {path}{name}: {' '.join(filter(None, told))}"
        yield from _lines(schema.get("items", schema), definitions, f"{path}{name}.")
