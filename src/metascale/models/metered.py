"""Every request to a chat model goes through here: metered, retried and, where asked, read as a typed object."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Literal, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig, RunnableSequence
from langgraph.constants import TAG_NOSTREAM
from pydantic import BaseModel

from metascale import prompts
from metascale.errors import ModelCallError, ModelSetupError, OutOfTimeError, describe
from metascale.models.flaws import flaw_of, well_formed
from metascale.models.gate import gate_of
from metascale.models.hedging import first_reply, within
from metascale.models.json_reply import Schema, UnreadableReplyError, read_objects, read_reply
from metascale.models.latencies import Latencies
from metascale.models.retries import (
    _PASSING,
    _REJECTED,
    NoCompletionError,
    attempts,
    status_of,
)
from metascale.redaction import secrets_of
from metascale.runtime.bridge import generate, invoke
from metascale.runtime.deadline import seconds_left
from metascale.runtime.seeds import derive_seed
from metascale.settings import MetaScaleSettings
from metascale.usage import Usage, add_usage, is_believable, no_usage

T = TypeVar("T")
Form = Literal["json_schema", "function_calling", "prompt"]
Sampler = Callable[[BaseChatModel], Runnable[Any, AIMessage]]
"""What a request goes through: given the model as this request needs it (its seed, its temperature), whatever takes the
messages and gives a message; `lambda model: model.bind(stop=["END"])`, say."""
WHY_EMPTY = "why_empty"
"""Key of a message's `response_metadata` by which a sampler says why an empty message is no answer."""

_MAX_TOKENS_FIELDS = ("max_tokens", "max_output_tokens", "num_predict")


@dataclass(frozen=True)
class Reply:
    """A model's message and what it cost."""

    message: AIMessage
    usage: Usage


@dataclass(frozen=True)
class Reading(Generic[Schema]):
    """What was read from a model's reply and what it cost.

    Attributes:
        value: the object, or None if neither the reply nor its repair could be read.
        problem: why there is none.
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
        problems: why there are no more of them, one line for each that is missing.
        usage: the bill of all.
    """

    values: list[Schema]
    problems: list[str]
    usage: Usage


@dataclass
class _Server:
    """What is known of the server behind a model.

    Attributes:
        form: in which it gave an object.
        one_by_one: whether it gives only one reply to a request.
    """

    form: Form | None = None
    one_by_one: bool = False


def _has_field(model: BaseChatModel, name: str) -> bool:
    return name in type(model).model_fields


def _limit_field(model: BaseChatModel) -> str | None:
    """The model's field for the longest reply; None where it has none."""
    return next((name for name in _MAX_TOKENS_FIELDS if _has_field(model, name)), None)


class MeteredModel:
    """A chat model whose every request is counted.

    Requests are kept out of the graph's message stream, are never answered from a cache where samples must differ, and
    are retried when they failed in passing, unless the model retries by itself. None outlives the time that it may
    take; one that is far slower than others of its kind is sent once more.
    """

    def __init__(
        self,
        model: BaseChatModel,
        *,
        sampling: bool = False,
        temperature: float | None = None,
        max_tokens: int | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        """Wrap `model`, which itself stays as it is.

        Args:
            model: any chat model.
            sampling: repeated requests must be able to give different answers, so no cache may answer them.
            temperature: sampling temperature, for models that have one; None leaves the model's own.
            max_tokens: longest reply in tokens; None leaves the model's own limit.
            sampler: what `chat` sends its requests through; None sends them to the model itself.

        Raises:
            ModelSetupError: `max_tokens` is given and the model takes no such limit.
        """
        changes: dict[str, Any] = {"disable_streaming": True}
        if _has_field(model, "streaming"):
            changes["streaming"] = False
        if sampling:
            changes["cache"] = False
        if temperature is not None and _has_field(model, "temperature"):
            changes["temperature"] = temperature
        if max_tokens is not None:
            field = _limit_field(model)
            if field is None:
                raise ModelSetupError(f"max_tokens is set, but {type(model).__name__} takes no such limit")
            changes[field] = max_tokens
        self.model = model.model_copy(update=changes)
        self._retries_itself = getattr(model, "max_retries", 0) != 0
        self._sampler = sampler
        self._gate = gate_of(self.model, self.name)
        self._latencies: dict[str, Latencies] = {}
        self._options: dict[tuple[Form, type], dict[str, Any] | None] = {}
        self._server = _Server(one_by_one=not _has_field(model, "n"))

    def sampling_at(self, temperature: float | None) -> MeteredModel:
        """The same model, asked so that repeated requests can give different answers."""
        fresh = MeteredModel(self.model, sampling=True, temperature=temperature)
        fresh._server = self._server
        return fresh

    def capped_at(self, max_tokens: int) -> MeteredModel:
        """The same model with replies of at most so many tokens.

        Itself, where it has a lower limit already, takes none, or hides what its limit is.
        """
        field = None if getattr(self.model, "hides_limits", False) else _limit_field(self.model)
        own = getattr(self.model, field) if field is not None else None
        if field is None or (own is not None and own <= max_tokens):
            return self
        capped = MeteredModel(self.model, max_tokens=max_tokens, sampler=self._sampler)
        capped._latencies = self._latencies
        return capped

    @property
    def _takes_timeout(self) -> bool:
        """Whether requests without a time limit of their own can be given one: OpenAI's clients through LangChain.

        Without it, a thread that was left behind would wait for ever.
        """
        return (
            self._sampler is None
            and _has_field(self.model, "root_client")
            and getattr(self.model, "request_timeout", 0) is None
        )

    @property
    def name(self) -> str:
        """The model's name, as prices are keyed by it."""
        return str(
            getattr(self.model, "model_name", None) or getattr(self.model, "model", None) or self.model._llm_type
        )

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        options: dict[str, Any] | None = None,
    ) -> Reply:
        """Send one request.

        Args:
            messages: the conversation.
            settings: its retries, its seed and its prices apply.
            place: where in the run the request stands; together with the run's seed it gives the request's own.
            options: keyword arguments for the model.

        Raises:
            ModelCallError: the request failed for good; the error holds the bill.
        """
        (message,), usage = await self._replies(messages, settings, place, options or {}, 1)
        return Reply(message, usage)

    async def _replies(
        self,
        messages: Sequence[BaseMessage],
        settings: MetaScaleSettings,
        place: Sequence[int | str],
        options: dict[str, Any],
        count: int,
    ) -> tuple[list[AIMessage], Usage]:
        """The replies to one request, of which `count` are wanted, and its bill."""
        usage = no_usage()
        model = self._seeded(settings, place)
        if settings.call_timeout is not None and self._takes_timeout:
            options = {"timeout": settings.call_timeout, **options}
        if count > 1:
            model = model.model_copy(update={"n": count})

        async def send() -> list[BaseMessage]:
            usage["calls"] += 1
            return await self._send(model, messages, options)

        at_most = 1 if self._retries_itself else 1 + settings.max_retries
        try:
            async for attempt in attempts(at_most):
                with attempt:
                    number = attempt.retry_state.attempt_number
                    said = await self._reply_in_time(
                        send, usage, settings, str(place[0]), is_retry=number > 1, is_last=number == at_most
                    )
            replies = [_well_formed(message) for message in said if isinstance(message, AIMessage)]
        except Exception as error:
            usage["cost_usd"] = None if usage["calls"] else usage["cost_usd"]
            told = describe(error, secrets_of(self.model))
            raise ModelCallError(told, usage=usage, rejected=status_of(error) in _REJECTED) from error
        return replies, add_usage(usage, self._bill(replies, settings))

    async def _reply_in_time(
        self,
        send: Callable[[], Coroutine[Any, Any, T]],
        usage: Usage,
        settings: MetaScaleSettings,
        kind: str,
        *,
        is_retry: bool,
        is_last: bool,
    ) -> T:
        """The reply to one attempt, which `send` makes once the server's gate has a place for it.

        A straggler is sent twice and, unless it is the last attempt, given up in the end. What a request costs that was
        not waited for, or to which no whole answer came, is unknown.

        Raises:
            TimeoutError: it took too long.
        """
        if seconds_left() <= 0:
            raise OutOfTimeError
        longest = math.inf if settings.call_timeout is None else settings.call_timeout
        gate, latencies = self._gate, self._latencies.setdefault(kind, Latencies())

        def send_again() -> asyncio.Task[T] | None:
            place = gate.try_enter(settings.max_in_flight) if gate else None
            if place is None:
                return None
            usage["cost_usd"] = None
            return place.task(send())

        try:
            if gate is None:
                return await within(min(longest, seconds_left()), send())
            place = await within(seconds_left(), gate.enter(settings.max_in_flight, is_retry=is_retry))
            first, seconds = place.task(send()), min(longest, seconds_left())
            if settings.stragglers == "wait" or self._sampler is not None:
                return await within(seconds, first)
            return await first_reply(seconds, first, send_again, latencies, gives_up=not is_last)
        except Exception as error:
            if status_of(error) is None:
                usage["cost_usd"] = None if usage["calls"] else usage["cost_usd"]
            if isinstance(error, TimeoutError) and seconds_left() <= 0:
                raise OutOfTimeError from error
            raise

    async def _send(
        self, model: BaseChatModel, messages: Sequence[BaseMessage], options: dict[str, Any]
    ) -> list[BaseMessage]:
        """One attempt at a request: all its replies, at least one."""
        config: RunnableConfig = {"tags": [TAG_NOSTREAM]}
        if self._sampler:
            return [await invoke(self._sampler(model), list(messages), config, **options)]
        said = await generate(model, messages, config, **options)
        if not said:
            raise NoCompletionError("the server's reply holds no completion")
        return said

    async def ask(
        self,
        messages: Sequence[BaseMessage],
        schema: type[Schema],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        untrusted: str = "",
    ) -> Reading[Schema]:
        """Send one request whose reply is to be an object of `schema`; ask once more if it cannot be read.

        The server's JSON-schema mode is tried first, then tools, then the schema in the prompt; the form that worked is
        remembered.

        Args:
            messages: the conversation.
            schema: what the reply must be.
            settings: as for `chat`.
            place: as for `chat`.
            untrusted: material in the request; an object quoted from it is not taken for the reply.

        Raises:
            ModelCallError: the first request failed for good.
        """
        form, (said,), usage = await self._ask_in_some_form(messages, schema, settings, place, 1)
        reading = await self._read(said, form, messages, schema, settings, place=place, untrusted=untrusted)
        return Reading(reading.value, reading.problem, add_usage(usage, reading.usage))

    async def ask_several(
        self,
        messages: Sequence[BaseMessage],
        schema: type[Schema],
        settings: MetaScaleSettings,
        count: int,
        *,
        place: Sequence[int | str],
        untrusted: str = "",
    ) -> Readings[Schema]:
        """Ask the same `count` times: in one request where the server gives several replies, else in as many.

        What a server without several replies leaves out is asked for in further requests, all at once; that it is one
        is remembered. Replies that cannot be read are asked for once more, as in `ask`.

        Args:
            messages: as for `ask`, and so are the others.
            schema: what each reply must be.
            settings: as for `chat`.
            count: replies that are wanted, at least 1.
            place: as for `chat`.
            untrusted: as for `ask`.
        """
        try:
            form, said, usage = await self._ask_in_some_form(messages, schema, settings, place, count)
        except ModelCallError as error:
            return Readings([], [str(error)] * count, error.usage)

        async def one_more(number: int) -> Reading[Schema]:
            here = [*place, number]
            try:
                return await self.ask(messages, schema, settings, place=here, untrusted=untrusted)
            except ModelCallError as error:
                return Reading(None, str(error), error.usage)

        readings = await asyncio.gather(
            *(
                self._read(reply, form, messages, schema, settings, place=[*place, number], untrusted=untrusted)
                for number, reply in enumerate(said[:count])
            ),
            *(one_more(number) for number in range(len(said), count)),
        )
        for reading in readings:
            usage = add_usage(usage, reading.usage)
        return Readings(
            [reading.value for reading in readings if reading.value is not None],
            [reading.problem or "" for reading in readings if reading.value is None],
            usage,
        )

    async def _read(
        self,
        said: AIMessage,
        form: Form,
        messages: Sequence[BaseMessage],
        schema: type[Schema],
        settings: MetaScaleSettings,
        *,
        place: Sequence[int | str],
        untrusted: str,
    ) -> Reading[Schema]:
        """The object in a reply, or in its repair; the bill is that of the repair."""
        try:
            return Reading(_read(said, schema, untrusted), None, no_usage())
        except UnreadableReplyError as error:
            problem = str(error)
        repair = prompts.render("repair", problem=problem, schema=json.dumps(schema.model_json_schema()))
        conversation = [*messages, AIMessage(_said(said)), HumanMessage(repair)]
        try:
            reply = await self.chat(
                conversation, settings, place=[*place, "repair"], options=self._options_for(form, schema)
            )
        except ModelCallError as error:
            return Reading(None, f"{problem}; repair: {error}", error.usage)
        try:
            return Reading(_read(reply.message, schema, untrusted), None, reply.usage)
        except UnreadableReplyError as error:
            return Reading(None, str(error), reply.usage)

    async def _ask_in_some_form(
        self,
        messages: Sequence[BaseMessage],
        schema: type[Schema],
        settings: MetaScaleSettings,
        place: Sequence[int | str],
        count: int,
    ) -> tuple[Form, list[AIMessage], Usage]:
        """The replies to one request, at most `count` of them; in the first form, and number, that is not rejected."""
        usage = no_usage()
        server = self._server
        forms: list[Form] = [server.form] if server.form else ["json_schema", "function_calling", "prompt"]
        counts = [1] if count == 1 or server.one_by_one else [count, 1]
        ways = [(form, wanted) for form in forms for wanted in counts if self._options_for(form, schema) is not None]
        is_refusal = False
        for form, wanted in ways:
            asked = with_schema(messages, schema) if form == "prompt" else messages
            options = self._options_for(form, schema) or {}
            try:
                replies, bill = await self._replies(asked, settings, place, options, wanted)
            except ModelCallError as error:
                usage = add_usage(usage, error.usage)
                if (error.rejected or wanted > 1) and (form, wanted) != ways[-1]:
                    is_refusal = status_of(error.__cause__ or error) not in {None, *_PASSING}
                    continue
                raise ModelCallError(str(error), usage=usage) from error
            server.form = form
            server.one_by_one |= count > 1 and len(replies) == 1 and (wanted > 1 or is_refusal)
            return form, replies, add_usage(usage, bill)
        raise AssertionError("the prompt form is always there")

    def _options_for(self, form: Form, schema: type[Schema]) -> dict[str, Any] | None:
        """The keyword arguments that ask this model for `schema` in a form; None where it has no such form."""
        if form == "prompt":
            return {}
        key = (form, schema)
        if key not in self._options:
            self._options[key] = self._bound_options(form, schema)
        return self._options[key]

    def _bound_options(self, form: Form, schema: type[Schema]) -> dict[str, Any] | None:
        takes_method = "method" in inspect.signature(type(self.model).with_structured_output).parameters
        if form == "json_schema" and not takes_method:
            return None
        described = schema.model_json_schema() | {"description": schema.__doc__ or schema.__name__}
        try:
            named: dict[str, Any] = {"method": form} if takes_method else {}
            chain = self.model.with_structured_output(described, **named)
        except (NotImplementedError, ValueError, TypeError):
            return None
        first = chain.first if isinstance(chain, RunnableSequence) else None
        return self._sent_as_it_is(dict(first.kwargs)) if isinstance(first, RunnableBinding) else None

    def _sent_as_it_is(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options with the schema where OpenAI's client passes it on unread.

        Walking the schema and parsing the reply cost that client more than a millisecond a request, and the reply is
        read here anyway. (Through the Responses API the server refuses this, and the next form is tried.)
        """
        if "response_format" not in options or not _has_field(self.model, "extra_body"):
            return options
        own = getattr(self.model, "extra_body", None) or {}
        return {"extra_body": {**own, "response_format": options["response_format"]}}

    def _seeded(self, settings: MetaScaleSettings, place: Sequence[int | str]) -> BaseChatModel:
        if not _has_field(self.model, "seed"):
            return self.model
        base = settings.seed if settings.seed is not None else getattr(self.model, "seed", None)
        seed = derive_seed(base, *place)
        if seed is None:
            return self.model
        _ = self.model._serialized  # What tracers are told of a model: worked out once, its copies inherit it.
        return self.model.model_copy(update={"seed": seed})

    def _bill(self, replies: Sequence[AIMessage], settings: MetaScaleSettings) -> Usage:
        """The bill of one request, which LangChain writes on each of its replies."""
        reported = next((message.usage_metadata for message in replies if message.usage_metadata), None)
        tokens = (reported["input_tokens"], reported["output_tokens"]) if reported else ()
        if not tokens or not all(map(is_believable, tokens)):
            return no_usage() | {"cost_usd": None}
        price = settings.prices.get(self.name)
        cost = (tokens[0] * price.input + tokens[1] * price.output) / 1e6 if price else None
        return no_usage() | {"input_tokens": tokens[0], "output_tokens": tokens[1], "cost_usd": cost}


def with_schema(messages: Sequence[BaseMessage], schema: type[Schema]) -> list[BaseMessage]:
    """The messages with the schema written into the system message, for servers that know no structured output."""
    request = _asking_for(schema)
    if messages and isinstance(messages[0], SystemMessage):
        return [SystemMessage(f"{messages[0].text}\n\n{request}"), *messages[1:]]
    return [SystemMessage(request), *messages]


@cache
def _asking_for(schema: type[BaseModel]) -> str:
    return prompts.render("schema", schema=json.dumps(schema.model_json_schema()))


def _well_formed(message: AIMessage) -> AIMessage:
    parts = {"content": message.content, "tool_calls": message.tool_calls}
    changed = {name: clean for name, part in parts.items() if (clean := well_formed(part)) != part}
    return message.model_copy(update=changed) if changed else message


def _said(message: AIMessage) -> str:
    """A reply as text to send back: a tool call as its arguments, silence as a mark (servers refuse empty texts)."""
    if message.tool_calls:
        return json.dumps(message.tool_calls[0]["args"])
    return str(message.text) or "(nothing)"


def _read(message: AIMessage, schema: type[Schema], untrusted: str) -> Schema:
    """The object in a message.

    Raises:
        UnreadableReplyError: there is none; the message also says what is known of the reply.
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
        why = {"refused": "the model refused", "truncated": "it was cut at its longest length"}[flaw]
        raise UnreadableReplyError(f"{error} ({why})") from error
