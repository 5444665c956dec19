"""Asking a model for a typed object: in the form that its server supports, read leniently, repaired once."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableBinding, RunnableSequence
from pydantic import BaseModel

from metascale import prompts
from metascale.answers.thinking import without_thinking
from metascale.errors import MetaScaleError, ModelCallError
from metascale.models.capabilities import Form
from metascale.models.cleaning import THINKING, is_thinking_only
from metascale.models.failures import REJECTED_STATUSES, TRANSIENT_STATUSES, status_of
from metascale.models.flaws import flaw_of
from metascale.models.json_reply import QuotedReplyError, Schema, UnreadableReplyError, read_objects, read_reply
from metascale.models.metered import MeteredModel, has_field
from metascale.models.schema_in_words import example, in_words, json_schema
from metascale.models.scope import current_scope
from metascale.question import unattached
from metascale.settings.traffic import TrafficSettings
from metascale.usage import Usage, add_usage, no_usage

KEPT_FIRST, KEPT_LAST = 3_000, 1_000
"""Characters of an unreadable reply that its repair carries, from its start and from its end. Not tuned."""
KEPT_OF_ENDLESS = 200
"""Characters of a reply that ran into a limit: its repair has to fit where it did not. Not tuned."""

_ABOUT_FORM = re.compile(
    r"response.?format|json.?schema|json.?mode|structured|grammar|guided|schema|\btools?\b|tool.(?:use|choice|call)|function",
    re.IGNORECASE,
)
"""What errors say that are about the form of a request."""
_ABOUT_LIMIT = re.compile(r"max\w*.?tokens|num_predict|context.?(?:length|window|size)|maximum context", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"model\b.{0,120}\b(?:not found|not exist|unknown)|(?:no such|unknown) model", re.IGNORECASE | re.DOTALL
)
_NOT_ABOUT_FORM = frozenset({401, 402, 403, *TRANSIENT_STATUSES})
_MAYBE_ABOUT_FORM = frozenset({404, 405, 406, 415})
"""Statuses with which gateways refuse a form, beside those that always mean a rejection."""
_ABOUT_ATTACHED = re.compile(r"image|vision|modal|mmproj|audio|video", re.IGNORECASE)
_CALLS_THAT_FIT_NOT = (TypeError, ValueError, LookupError, AttributeError, NotImplementedError)
"""Errors of clients that do not know a parameter, or cannot read the reply to it."""


@dataclass(frozen=True)
class Reading(Generic[Schema]):
    """What was read from a model's reply and what it cost.

    Attributes:
        value: the object, or None if neither the reply nor its repair could be read.
        problem: why there is no object.
        usage: the bill, the repair included.
        reply: the message that holds the object.
    """

    value: Schema | None
    problem: str | None
    usage: Usage
    reply: AIMessage | None = None


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
    limit: int | None = None,
) -> Reading[Schema]:
    """Send one request whose reply must be an object of `schema`; ask once more if it cannot be read.

    The server's JSON-schema mode is tried first, then tools, then words. A form that the server refuses, or whose first
    reply cannot be read, is followed by the next one. What is attached and the server refuses is left out. The model's
    `capabilities` remember what works.

    Args:
        model: the model to ask.
        messages: the conversation.
        schema: what the reply must be.
        settings: as for `MeteredModel.chat`.
        place: as for `MeteredModel.chat`.
        untrusted: material in the request; an object quoted from it is not taken for the reply.
        limit: the most tokens of the reply, where the model has such a limit; None for the model's own. It is dropped
            where the server refuses it or thinking fills it.

    Raises:
        ModelCallError: the first request failed for good.
    """
    server = model.capabilities
    alone = unattached(messages)
    has_attached = alone != list(messages)
    usage = no_usage()
    if has_attached and server.takes_attached:
        try:
            return await _ask(_Query(model, messages, schema, settings, untrusted, limit), place)
        except ModelCallError as error:
            if not _may_be_about_attached(error):
                raise
            usage = error.usage
    try:
        reading = await _ask(_Query(model, alone, schema, settings, untrusted, limit), place)
    except ModelCallError as error:
        raise ModelCallError(str(error), usage=add_usage(usage, error.usage), fatal=error.fatal) from error.__cause__
    if has_attached:
        server.takes_attached = False
        current_scope().tell(f"{model.name} refuses images and other attached material, so it was shown the text alone")
    return replace(reading, usage=add_usage(usage, reading.usage))


def _may_be_about_attached(error: ModelCallError) -> bool:
    """Whether a server may have refused images; llama.cpp's server does so with status 500."""
    status = status_of(error.__cause__ or error)
    is_rejection = status in {413, *REJECTED_STATUSES, *_MAYBE_ABOUT_FORM}
    return not error.fatal and (is_rejection or (status == 500 and _ABOUT_ATTACHED.search(str(error)) is not None))


async def _ask(query: _Query[Schema], place: Sequence[int | str]) -> Reading[Schema]:
    form, (reply,), usage = await query.send(query.messages, place, 1)
    reading = await query.read(reply, form, place)
    return replace(reading, usage=add_usage(usage, reading.usage))


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
    query = _Query(model, messages, schema, settings, untrusted, None)
    try:
        form, replies, usage = await query.send(messages, place, count)
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
    request = in_words(schema)
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
    limit: int | None

    async def send(
        self, messages: Sequence[BaseMessage], place: Sequence[int | str], count: int, only: Form | None = None
    ) -> tuple[Form, list[AIMessage], Usage]:
        """Send one request for `count` replies, in the first form, and for the first number, that is not refused.

        Args:
            messages: the conversation.
            place: as for `ask`.
            count: wanted replies.
            only: the form to begin with; by default the best one.

        Returns:
            The form, at least one reply, and the bill.
        """
        server = self.model.capabilities
        usage = no_usage()
        counts = [1] if count == 1 or server.one_by_one else [count, 1]
        forms = sorted(server.forms(), key=lambda form: form != only)
        ways = [(form, wanted) for form in forms for wanted in counts if self.options_for(form) is not None]
        refused: list[tuple[Form, int | None]] = []
        was_refused = False
        for form, wanted in ways:
            try:
                replies, bill = await self._replies(messages, form, place, wanted)
            except ModelCallError as error:
                usage = add_usage(usage, error.usage)
                is_refused = _is_refused(error, known=server.works(form))
                if (is_refused or wanted > 1) and (form, wanted) != ways[-1]:
                    was_refused = was_refused or status_of(error.__cause__ or error) not in {None, *TRANSIENT_STATUSES}
                    if is_refused and wanted == 1:
                        refused.append((form, status_of(error.__cause__ or error)))
                    continue
                raise ModelCallError(str(error), usage=usage) from error
            for other, status in refused:
                server.note_refusal(other, is_final=status is not None and not server.works(other))
            server.one_by_one |= count > 1 and len(replies) == 1 and (wanted > 1 or was_refused)
            return form, replies, add_usage(usage, bill)
        raise AssertionError("the prompt form is always there")

    async def read(self, reply: AIMessage, form: Form, place: Sequence[int | str]) -> Reading[Schema]:
        """Read the object in a reply, or in its repair. The bill is that of the repair.

        A form that has not worked yet is left for one that was not tried, until there is none.
        """
        server = self.model.capabilities
        usage = no_usage()
        for number in range(len(server.forms()) + 1):
            value, problem = self._object_in(reply, form)
            if value is not None:
                return Reading(value, None, usage, reply)
            forms = [other for other in server.forms() if self.options_for(other) is not None]
            untried = [other for other in forms if other not in server.points]
            if number > 0 and (server.works(form) or not untried):
                break
            following = form if server.works(form) else (untried or forms)[0]
            repair = prompts.render("repair", problem=problem, schema=in_words(self.schema))
            conversation = [*self.messages, AIMessage(_shortened(reply)), HumanMessage(repair)]
            step = "repair" if number == 0 else f"repair {number}"
            try:
                form, (reply,), bill = await self.send(conversation, [*place, step], 1, following)
            except ModelCallError as error:
                return Reading(None, f"{problem}; repair: {error}", add_usage(usage, error.usage))
            usage = add_usage(usage, bill)
        return Reading(None, problem, usage)

    def options_for(self, form: Form) -> dict[str, Any] | None:
        """The keyword arguments that ask the model for the schema in a form; None where it has no such form."""
        if form == "prompt":
            return {}
        known = self.model.capabilities.options
        if (form, self.schema) not in known:
            known[form, self.schema] = _options(self.model.model, form, self.schema)
        return known[form, self.schema]

    async def _replies(
        self, messages: Sequence[BaseMessage], form: Form, place: Sequence[int | str], count: int
    ) -> tuple[list[AIMessage], Usage]:
        """Send one request in a form; without the limit of tokens if the server refuses that."""
        server = self.model.capabilities
        sent = with_schema(messages, self.schema) if form == "prompt" else messages
        options = self.options_for(form) or {}
        is_limited = self.limit is not None and server.takes_limit
        model = self.model.capped_at(self.limit) if self.limit is not None and is_limited else self.model
        try:
            return await model.replies(sent, self.settings, place, options, count)
        except ModelCallError as error:
            if model is self.model or not error.rejected or not _ABOUT_LIMIT.search(f"{error} {error.__cause__}"):
                raise
            server.takes_limit = False
            try:
                replies, bill = await self.model.replies(sent, self.settings, place, options, count)
            except ModelCallError as second:
                raise ModelCallError(
                    str(second), usage=add_usage(error.usage, second.usage), rejected=second.rejected
                ) from second.__cause__
            return replies, add_usage(error.usage, bill)

    def _object_in(self, message: AIMessage, form: Form) -> tuple[Schema | None, str]:
        """The object in a message, or None and why there is none: with a refusal or a cut, if there was one.

        The server's capabilities learn from it.
        """
        server = self.model.capabilities
        try:
            value = _read(message, self.schema, self.untrusted)
            if _repeats(value, example(self.schema)):
                raise UnreadableReplyError("it only repeats the example")
        except UnreadableReplyError as error:
            flaw = flaw_of(message)
            if flaw is None or flaw.status != "refused":
                server.note(form, is_read=isinstance(error, QuotedReplyError))
            if flaw is not None and flaw.at_limit and is_thinking_only(message):
                server.takes_limit = False
            return None, f"{error} ({flaw.of('it')})" if flaw else str(error)
        server.note(form, is_read=True)
        return value, ""


def _is_refused(error: ModelCallError, *, known: bool) -> bool:
    """Whether a server or its client refuses the form of a request, whatever the symptom.

    Args:
        error: what came back.
        known: whether the form has worked; then only an error that names the form counts.
    """
    cause = error.__cause__ or error
    status = status_of(cause)
    if error.fatal:
        return False
    if status is None:
        return not known and isinstance(cause, _CALLS_THAT_FIT_NOT) and not isinstance(cause, MetaScaleError)
    if status in _NOT_ABOUT_FORM:
        return False
    if _ABOUT_FORM.search(f"{error} {cause}"):
        return True
    is_possible = error.rejected or status in _MAYBE_ABOUT_FORM
    return is_possible and not known and not _NO_MODEL.search(str(cause))


def _options(model: BaseChatModel, form: Form, schema: type[BaseModel]) -> dict[str, Any] | None:
    takes_method = "method" in inspect.signature(type(model).with_structured_output).parameters
    if form == "json_schema" and not takes_method:
        return None
    try:
        named: dict[str, Any] = {"method": form} if takes_method else {}
        chain = model.with_structured_output(json_schema(schema), **named)
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


def _repeats(value: BaseModel, shown: str) -> bool:
    """Whether an object is the example; one number may be the same by chance."""
    held = json.loads(shown)
    is_one_number = len(held) == 1 and all(isinstance(part, int | float) for part in held.values())
    return bool(value.model_dump() == held) and not is_one_number


def _text_of(message: AIMessage) -> str:
    """A reply as text to send back: a tool call as its arguments, no text as a mark (servers refuse empty texts)."""
    if message.tool_calls:
        return json.dumps(message.tool_calls[0]["args"])
    return str(message.text) or "(nothing)"


def _shortened(reply: AIMessage) -> str:
    """A reply's text without its middle, if it is long, and without its end, if it ran into a limit."""
    text, flaw = _text_of(reply), flaw_of(reply)
    if flaw is not None and flaw.at_limit and len(text) > KEPT_OF_ENDLESS:
        return f"{text[:KEPT_OF_ENDLESS]}\n[…]"
    if len(text) <= KEPT_FIRST + KEPT_LAST:
        return text
    return f"{text[:KEPT_FIRST]}\n[…]\n{text[-KEPT_LAST:]}"


def _read(message: AIMessage, schema: type[Schema], untrusted: str) -> Schema:
    """The object in a message.

    Where the material holds tags of thinking, the reply may quote them, so what they hide is read as well.

    Raises:
        UnreadableReplyError: there is none.
    """
    if message.tool_calls:
        return read_objects([message.tool_calls[0]["args"]], schema, untrusted=untrusted)
    if message.invalid_tool_calls:
        return read_reply(message.invalid_tool_calls[0]["args"] or "", schema, untrusted=untrusted)
    try:
        return read_reply(message.text, schema, untrusted=untrusted)
    except UnreadableReplyError:
        hidden = message.additional_kwargs.get(THINKING)
        if not isinstance(hidden, str) or without_thinking(untrusted) == untrusted:
            raise
        return read_reply(f"{hidden}\n{message.text}", schema, untrusted=untrusted)
