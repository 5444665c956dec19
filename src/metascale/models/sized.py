"""Schemas whose list has a known number of items, for grammars to keep."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, Field, create_model

Schema = TypeVar("Schema", bound=BaseModel)


@cache
def sized(schema: type[Schema], count: int) -> type[Schema]:
    """The same schema, whose only field is a list, with `minItems` and `maxItems`. Lists of other lengths are valid.

    Args:
        schema: has one field, a list.
        count: wanted items.
    """
    ((name, field),) = schema.model_fields.items()
    bounds: Any = Field(
        description=field.description, json_schema_extra={"minItems": count, "maxItems": count}, examples=field.examples
    )
    fields: Any = {name: (field.annotation, bounds)}
    made: type[Schema] = create_model(schema.__name__, __base__=schema, __doc__=schema.__doc__, **fields)
    return made
