"""The rules of bound tools: a message must call a tool if one is forced, and its calls must fit their schemas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from metascale.errors import ModelSetupError, describe

Check = Callable[[dict[str, Any]], object]


class MisfitError(ValueError):
    """Arguments do not fit a JSON Schema; the message says why."""


@dataclass(frozen=True)
class CallRules:
    """The rules for the tool calls of one message.

    Attributes:
        checks: for each bound tool a function that raises on invalid arguments.
        forced: whether the message must call a tool.
    """

    checks: Mapping[str, Check] = field(default_factory=dict)
    forced: bool = False

    @classmethod
    def of(cls, tools: Sequence[Any], tool_choice: Any) -> CallRules:
        """The rules of tools in the format of `bind_tools`."""
        checks = dict(entry for entry in map(_check, tools) if entry is not None)
        return cls(checks, tool_choice not in (None, False, "auto", "none"))

    def flaw(self, message: AIMessage) -> str | None:
        """Why the message breaks the rules, in one line; None if it does not."""
        if message.invalid_tool_calls:
            return f"the arguments of {message.invalid_tool_calls[0]['name']} are not JSON"
        if self.forced and not message.tool_calls:
            return "it calls no tool"
        for call in message.tool_calls:
            if call["name"] not in self.checks:
                continue
            try:
                self.checks[call["name"]](call["args"])
            except MisfitError as error:
                return f"the arguments of {call['name']} do not fit: {error}"
            except (ValueError, ArithmeticError, RecursionError) as error:  # numbers too large, or nesting too deep
                return f"the arguments of {call['name']} do not fit: {describe(error)}"
        return None


def _check(given: Any) -> tuple[str, Check] | None:
    """A tool's name and the check of its arguments; None for tools that the provider runs itself."""
    described = convert_to_openai_tool(given)
    if "function" not in described:
        return None
    name = described["function"]["name"]
    if callable(given) and not isinstance(given, type | BaseTool):
        given = tool(given)
    schema = given.tool_call_schema if isinstance(given, BaseTool) else given
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return name, schema.model_validate
    if hasattr(schema, "parse_obj"):
        return name, schema.parse_obj
    return name, _fits(described["function"].get("parameters") or {})


def _fits(schema: dict[str, Any]) -> Check:
    try:
        from jsonschema import Draft202012Validator, ValidationError  # noqa: PLC0415  slow to import, and seldom needed
    except ImportError as error:
        raise ModelSetupError("a tool described by a JSON Schema needs: pip install 'metascale[agents]'") from error

    validator = Draft202012Validator(schema)

    def check(arguments: dict[str, Any]) -> None:
        try:
            validator.validate(arguments)
        except ValidationError as error:
            raise MisfitError(error.message) from error

    return check
