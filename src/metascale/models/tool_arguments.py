"""Tool arguments that are JSON but no object. LangChain's OpenAI models raise on them: reply and bill are lost."""

from __future__ import annotations

import json
import types
from functools import cache
from typing import Any

from langchain_core.language_models import BaseChatModel

_HOOK = "_create_chat_result"
"""The method by which LangChain's OpenAI models turn a server's response into messages."""
DEEPEST = 3
"""JSON texts inside of each other that are decoded. Not tuned."""


def reading_any_arguments(model: BaseChatModel) -> BaseChatModel:
    """The model, changed in place so that it reads tool arguments of any type, if it is one of LangChain's for OpenAI.

    Arguments that are JSON twice over become the inner object. Those of another type become the value of one argument.
    """
    if hasattr(type(model), _HOOK):
        model.__class__ = _reading_any(type(model))
    return model


@cache
def _reading_any(kind: type[Any]) -> type[Any]:
    def create(self: Any, response: Any, *rest: Any, **options: Any) -> Any:
        for function in _functions(response):
            _set_object(function)
        return getattr(super(made, self), _HOOK)(response, *rest, **options)

    about = {_HOOK: create, "__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    made: type[Any] = types.new_class(kind.__name__, (kind,), exec_body=lambda body: body.update(about))
    return made


def _functions(response: Any) -> list[Any]:
    """The called functions in a response, an object of OpenAI's client or a dictionary."""
    messages = [_part(choice, "message") for choice in _part(response, "choices") or []]
    calls = [call for message in messages for call in _part(message, "tool_calls") or []]
    return [function for call in calls if (function := _part(call, "function")) is not None]


def _part(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


def _set_object(function: Any) -> None:
    """Replace arguments that are valid JSON but no object; others stay."""
    given = _part(function, "arguments")
    value = _decoded(given)
    if value is given or not given.strip() or given.lstrip().startswith("{"):
        return
    fixed = json.dumps(value if isinstance(value, dict) else {"value": value})
    if isinstance(function, dict):
        function["arguments"] = fixed
    else:
        function.arguments = fixed


def _decoded(text: Any) -> Any:
    """What a JSON text holds, decoded again while it is a JSON text; the text itself if it is none."""
    value = text
    for _ in range(DEEPEST):
        try:
            value = json.loads(value, strict=False)
        except (ValueError, TypeError, RecursionError):
            break
    return value
