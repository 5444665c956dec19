"""Asking a model for a typed object: in the form that its server supports, read leniently, repaired once."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableBinding, RunnableSequence
from pydantic import BaseModel

from metascale import prompts
from metascale.errors import ModelCallError
from metascale.models.capabilities import Form
from metascale.models.flaws import flaw_of
from metascale.models.json_reply import Schema, UnreadableReplyError, read_objects, read_reply
from metascale.models.metered import MeteredModel, has_field
from metascale.models.retries import TRANSIENT_STATUSES, status_of
from metascale.settings.traffic import TrafficSettings
from metascale.usage import Usage, add_usage, no_usage

FORMS: tuple[Form, ...] = ("json_schema", "function_calling", "prompt")
"""The forms in the order in which they are tried."""


@dataclass(frozen=True)
class Reading(Generic[Schema]):
    """What was read from a model's reply and what it cost.

    Attributes:
        value: the object, or None if neither the reply nor its repair could be read.
        problem: why there is no object.
        usage: the bill, the repair included.
    """

    value: Schema | None
    problem: str | None
    usage: Usage


@dataclass(frozen=True)
class Readings(Generic[Schema]):
    """What was read from several replies to one question.

    Attributes:
        values: the objects.
        problems: one line for each object that is missing.
        usage: the bill of all requests.
    """

    values: list[Schema]
    problems: list[str]
    usage: Usage


async def ask(
    model: MeteredModel,
    messages: Sequence[BaseMessage],
    schema: type[Schema],
    settings: TrafficSettings,
    *,
    place: Sequence[int | str],
    untrusted: str = "",
) -> Reading[Schema]:
    """Send one request whose reply must be an object of `schema`; ask once more if it cannot be read.

    The server's JSON-schema mode is tried first, then tools, then the schema in the prompt. The form that worked is
    remembered in the model's `capabilities`.

    Args:
        model: the model to ask.
        messages: the conversation.
        schema: what the reply must be.
        settings: as for `MeteredModel.chat`.
        place: as for `MeteredModel.chat`.
        untrusted: material in the request; an object quoted from it is not taken for the reply.

    Raises:
        ModelCallError: the first request failed for good.
    """
    query = _Query(model, messages, schema, settings, untrusted)
    form, (reply,), usage = await query.send(place, 1)
    reading = await query.read(reply, form, place)
    return Reading(reading.value, reading.problem, add_usage(usage, reading.usage))


async def ask_several(
    model: MeteredModel,
    messages: Sequence[BaseMessage],
    schema: type[Schema],
    settings: TrafficSettings,
    count: int,
    *,
    place: Sequence[int | str],
    untrusted: str = "",
) -> Readings[Schema]:
    """Ask the same `count` times: in one request if the server gives several replies, else in `count` requests.

    Replies that are missing from the first request are asked for in further ones, all at once. A server that gives only
    one reply to a request is remembered in the model's `capabilities`. Replies that cannot be read are repaired, as in
    `ask`.

    Args:
        model: the model to ask.
        messages: the conversation.
        schema: what each reply must be.
        settings: as for `MeteredModel.chat`.
        count: wanted replies, at least 1.
        place: as for `MeteredModel.chat`.
        untrusted: as for `ask`.
    """
    query = _Query(model, messages, schema, settings, untrusted)
    try:
        form, replies, usage = await query.send(place, count)
    except ModelCallError as error:
        return Readings([], [str(error)] * count, error.usage)

    async def one_more(number: int) -> Reading[Schema]:
        try:
            return await ask(model, messages, schema, settings, place=[*place, number], untrusted=untrusted)
        except ModelCallError as error:
            return Reading(None, str(error), error.usage)

    readings = await asyncio.gather(
        *(query.read(reply, form, [*place, number]) for number, reply in enumerate(replies[:count])),
        *(one_more(number) for number in range(len(replies), count)),
    )
    for reading in readings:
        usage = add_usage(usage, reading.usage)
    return Readings(
        [reading.value for reading in readings if reading.value is not None],
        [reading.problem or "" for reading in readings if reading.value is None],
        usage,
    )


def with_schema(messages: Sequence[BaseMessage], schema: type[BaseModel]) -> list[BaseMessage]:
    """The messages with the schema in the system message, for servers that know no structured output."""
    request = _schema_in_words(schema)
    if messages and isinstance(messages[0], SystemMessage):
        return [SystemMessage(f"{messages[0].text}\n\n{request}"), *messages[1:]]
    return [SystemMessage(request), *messages]


@dataclass(frozen=True)
class _Query(Generic[Schema]):
    """A conversation that must end in an object; the attributes are the arguments of `ask`."""

    model: MeteredModel
    messages: Sequence[BaseMessage]
    schema: type[Schema]
    settings: TrafficSettings
    untrusted: str

    async def send(self, place: Sequence[int | str], count: int) -> tuple[Form, list[AIMessage], Usage]:
        """Send one request for `count` replies, in the first form, and for the first number, that is not rejected.

        Returns:
            The form, at least one reply, and the bill.
        """
        usage = no_usage()
        server = self.model.capabilities
        forms = [server.form] if server.form else FORMS
        counts = [1] if count == 1 or server.one_by_one else [count, 1]
        ways = [(form, wanted) for form in forms for wanted in counts if self.options_for(form) is not None]
        was_refused = False
        for form, wanted in ways:
            messages = with_schema(self.messages, self.schema) if form == "prompt" else self.messages
            options = self.options_for(form) or {}
            try:
                replies, bill = await self.model.replies(messages, self.settings, place, options, wanted)
            except ModelCallError as error:
                usage = add_usage(usage, error.usage)
                if (error.rejected or wanted > 1) and (form, wanted) != ways[-1]:
                    was_refused = status_of(error.__cause__ or error) not in {None, *TRANSIENT_STATUSES}
                    continue
                raise ModelCallError(str(error), usage=usage) from error
            server.form = form
            server.one_by_one |= count > 1 and len(replies) == 1 and (wanted > 1 or was_refused)
            return form, replies, add_usage(usage, bill)
        raise AssertionError("the prompt form is always there")

    async def read(self, reply: AIMessage, form: Form, place: Sequence[int | str]) -> Reading[Schema]:
        """Read the object in a reply, or in its repair. The bill is that of the repair."""
        try:
            return Reading(_read(reply, self.schema, self.untrusted), None, no_usage())
        except UnreadableReplyError as error:
            problem = str(error)
        repair = prompts.render("repair", problem=problem, schema=json.dumps(self.schema.model_json_schema()))
        conversation = [*self.messages, AIMessage(_text_of(reply)), HumanMessage(repair)]
        try:
            repaired = await self.model.chat(
                conversation, self.settings, place=[*place, "repair"], options=self.options_for(form)
            )
        except ModelCallError as error:
            return Reading(None, f"{problem}; repair: {error}", error.usage)
        try:
            return Reading(_read(repaired.message, self.schema, self.untrusted), None, repaired.usage)
        except UnreadableReplyError as error:
            return Reading(None, str(error), repaired.usage)

    def options_for(self, form: Form) -> dict[str, Any] | None:
        """The keyword arguments that ask the model for the schema in a form; None where it has no such form."""
        if form == "prompt":
            return {}
        known = self.model.capabilities.options
        if (form, self.schema) not in known:
            known[form, self.schema] = _options(self.model.model, form, self.schema)
        return known[form, self.schema]


def _options(model: BaseChatModel, form: Form, schema: type[BaseModel]) -> dict[str, Any] | None:
    takes_method = "method" in inspect.signature(type(model).with_structured_output).parameters
    if form == "json_schema" and not takes_method:
        return None
    described = schema.model_json_schema() | {"description": schema.__doc__ or schema.__name__}
    try:
        named: dict[str, Any] = {"method": form} if takes_method else {}
        chain = model.with_structured_output(described, **named)
    except (NotImplementedError, ValueError, TypeError):
        return None
    first = chain.first if isinstance(chain, RunnableSequence) else None
    return _passed_on_unread(model, dict(first.kwargs)) if isinstance(first, RunnableBinding) else None


def _passed_on_unread(model: BaseChatModel, options: dict[str, Any]) -> dict[str, Any]:
    """The options with the schema in `extra_body`, which OpenAI's client passes on without reading it.

    Otherwise that client walks the schema and parses the reply, which costs more than a millisecond a request, and the
    reply is read here anyway. (The Responses API rejects this, and the next form is tried.)
    """
    if "response_format" not in options or not has_field(model, "extra_body"):
        return options
    own = getattr(model, "extra_body", None) or {}
    return {"extra_body": {**own, "response_format": options["response_format"]}}


@cache
def _schema_in_words(schema: type[BaseModel]) -> str:
    return prompts.render("schema", schema=json.dumps(schema.model_json_schema()))


def _text_of(message: AIMessage) -> str:
    """A reply as text to send back: a tool call as its arguments, no text as a mark (servers refuse empty texts)."""
    if message.tool_calls:
        return json.dumps(message.tool_calls[0]["args"])
    return str(message.text) or "(nothing)"


def _read(message: AIMessage, schema: type[Schema], untrusted: str) -> Schema:
    """The object in a message.

    Raises:
        UnreadableReplyError: there is none; the error also names a refusal or a truncation.
    """
    try:
        if message.tool_calls:
            return read_objects([message.tool_calls[0]["args"]], schema, untrusted=untrusted)
        broken = message.invalid_tool_calls[0]["args"] if message.invalid_tool_calls else None
        return read_reply(broken or message.text, schema, untrusted=untrusted)
    except UnreadableReplyError as error:
        flaw = flaw_of(message)
        if flaw is None:
            raise
        raise UnreadableReplyError(f"{error} ({flaw.of('it')})") from error
