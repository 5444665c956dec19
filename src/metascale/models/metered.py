"""Every request to a chat model goes through here: metered, gated, retried, and phrased as its server takes it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable

from metascale.errors import MetaScaleError, ModelCallError, ModelSetupError, OutOfTimeError
from metascale.models.capabilities import Capabilities
from metascale.models.cleaning import clean_message
from metascale.models.dialect import PROBABILITIES, dialect_of, probabilities_asked
from metascale.models.ending_early import ESTIMATED, SAID_OF_ESTIMATES, can_stream, counted, read_while_sure
from metascale.models.failures import explain, is_fatal, is_outage, is_rejected, status_of
from metascale.models.gate import Gate, Passage, gate_of
from metascale.models.hedging import first_reply, within
from metascale.models.kept import Keeper, current_keeper, given, keep
from metascale.models.lineup import label_of, own_name
from metascale.models.parameters import LIMIT_FIELDS
from metascale.models.probabilities import shortfall
from metascale.models.retries import NoCompletionError, attempts
from metascale.models.scope import RunScope, current_scope
from metascale.models.tariffs import tariff_of
from metascale.models.tool_arguments import reading_any_arguments
from metascale.models.tracing import config_of
from metascale.runtime.bridge import generate, in_threads, invoke, is_awaited
from metascale.runtime.deadline import seconds_left
from metascale.runtime.loops import for_running_loop, is_of_another_loop
from metascale.runtime.seeds import derive_seed
from metascale.settings.prices import Tariff
from metascale.settings.traffic import TrafficSettings
from metascale.usage import Usage, add_usage, charged, is_believable, no_usage, of_model

Sampler = Callable[[BaseChatModel], Runnable[Any, AIMessage]]
"""Wraps the model of one request, seed and temperature already set: `lambda model: model.bind(stop=["END"])`, say."""


CHARS_A_TOKEN, TOKENS_OF_A_REPLY = 3, 1_000
"""Characters of a prompt that make a token, and tokens of a reply, where a request is counted whose bill did not come.
Not tuned; high, so that limits hold."""
_FORM_OPTIONS = frozenset({"tools", "tool_choice", "response_format", "format", "text", "ls_structured_output_format"})
"""Keyword arguments by which models are asked for tools and structured replies."""


@dataclass(frozen=True)
class Reply:
    """A model's message and what it cost."""

    message: AIMessage
    usage: Usage


@dataclass(frozen=True)
class _Request:
    """One request as it is sent: the seeded model, its keyword arguments, the messages, and the RNG seed path.

    With a `floor` its reply is read as a stream, while the model is as sure of it as that. `lessons` holds the errors
    that say how to send it in another way.
    """

    model: BaseChatModel
    options: dict[str, Any]
    messages: Sequence[BaseMessage]
    place: Sequence[int | str]
    floor: float | None = None
    lessons: list[Exception] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Its kind: requests of one kind are compared."""
        return str(self.place[0])

    @property
    def has_form(self) -> bool:
        """Whether it asks for tools or for a structured reply."""
        return not _FORM_OPTIONS.isdisjoint([*self.options, *(self.options.get("extra_body") or ())])

    @property
    def name(self) -> str:
        """Its name in notes, such as `sample 7`."""
        return " ".join(map(str, self.place))


def _tokens_written(said: Sequence[BaseMessage]) -> int:
    """The tokens of a reply as the server counts them; 0 where it does not."""
    usage = next((m.usage_metadata for m in said if isinstance(m, AIMessage) and m.usage_metadata), None)
    return usage["output_tokens"] if usage and is_believable(usage["output_tokens"]) else 0


def has_field(model: BaseChatModel, name: str) -> bool:
    """Whether a model's class has a field of this name."""
    return name in type(model).model_fields


def _asking_for(probabilities: int | None) -> dict[str, Any]:
    """The parameters of a request that asks for token probabilities."""
    if probabilities is None:
        return {}
    return {"logprobs": True} | ({"top_logprobs": probabilities} if probabilities else {})


def _limit_field(model: BaseChatModel) -> str | None:
    """The model's field for the longest reply; None where it has none."""
    return next((name for name in LIMIT_FIELDS if has_field(model, name)), None)


class _Telling(TypedDict):
    """How a model is asked for token probabilities."""

    probabilities: int | None
    if_told: bool


class MeteredModel:
    """A chat model whose every request is counted.

    Requests stay out of the graph's message stream. A cache never answers them where samples must differ. They are
    retried after transient failures, unless the model retries by itself. They end when their time is over. What the
    server refuses in them is left out. Where the settings ask for it, a straggler (far slower than other requests of
    its kind in the same run) is sent once more.

    Attributes:
        model: a copy of the chat model, changed as its arguments ask.
        capabilities: what requests have shown of its server.
    """

    def __init__(
        self,
        model: BaseChatModel,
        *,
        sampling: bool = False,
        temperature: float | None = None,
        max_tokens: int | None = None,
        sampler: Sampler | None = None,
        probabilities: int | None = None,
        if_told: bool = False,
    ) -> None:
        """Wrap a copy of `model`.

        Args:
            model: any chat model.
            sampling: repeated requests must be able to give different answers, so no cache may answer them.
            temperature: sampling temperature, for models that have one; None leaves the model's own.
            max_tokens: longest reply in tokens; None leaves the model's own limit.
            sampler: what requests are sent through; None sends them to the model itself.
            probabilities: ask for the log-probability of each token, and those of this many alternatives to it,
                at least 0; None asks for none.
            if_told: only models that have a parameter for it are asked, and a server that tells none is no news.

        Raises:
            ModelSetupError: `max_tokens` is given and the model takes no such limit.
        """
        changes: dict[str, Any] = {"disable_streaming": True}
        if has_field(model, "streaming"):
            changes["streaming"] = False
        if sampling:
            changes["cache"] = False
        if temperature is not None and has_field(model, "temperature"):
            changes["temperature"] = temperature
        if max_tokens is not None:
            field = _limit_field(model)
            if field is None:
                raise ModelSetupError(f"max_tokens is set, but {type(model).__name__} takes no such limit")
            changes[field] = max_tokens
        if if_told and not has_field(model, "logprobs"):
            probabilities = None
        asked = _asking_for(probabilities)
        changes |= {name: value for name, value in asked.items() if has_field(model, name)}
        self._options = {name: value for name, value in asked.items() if name not in changes and sampler is None}
        self._probabilities = probabilities
        self._if_told = if_told
        changed = model.model_copy(update=changes)
        vars(changed).pop("_serialized", None)  # the key of LangChain's cache, from before the changes
        self.model = reading_any_arguments(changed)
        self._retries_itself = getattr(model, "max_retries", 0) != 0
        self._sampler = sampler
        self._gate = gate_of(self.model, self.name)
        self._dialect = dialect_of(self.model, self.name)
        self.capabilities = Capabilities(one_by_one=getattr(model, "one_by_one", not has_field(model, "n")))

    def sampling_at(self, temperature: float | None) -> MeteredModel:
        """The same model, set up so that repeated requests can give different answers."""
        fresh = MeteredModel(self.model, sampling=True, temperature=temperature, **self._telling)
        fresh.capabilities = self.capabilities
        return fresh

    def telling(self, alternatives: int) -> MeteredModel:
        """The same model, asked for token probabilities with this many alternatives to each token."""
        telling = MeteredModel(self.model, probabilities=alternatives)
        telling.capabilities = self.capabilities
        return telling

    def capped_at(self, max_tokens: int) -> MeteredModel:
        """The same model with replies of at most `max_tokens` tokens.

        The model itself is returned if its own limit is lower or hidden, or if it takes none.
        """
        field = None if getattr(self.model, "hides_limits", False) else _limit_field(self.model)
        own = getattr(self.model, field) if field is not None else None
        if field is None or (own is not None and own <= max_tokens):
            return self
        capped = MeteredModel(self.model, max_tokens=max_tokens, sampler=self._sampler, **self._telling)
        capped.capabilities = self.capabilities
        return capped

    @property
    def _streams(self) -> bool:
        """Whether replies can be read as they are written."""
        return self._sampler is None and self._dialect.streams and can_stream(self.model)

    @property
    def _telling(self) -> _Telling:
        return {"probabilities": self._probabilities, "if_told": self._if_told}

    @property
    def tells_probabilities(self) -> bool:
        """Whether requests ask for token probabilities."""
        return self._probabilities is not None

    @property
    def _takes_timeout(self) -> bool:
        """Whether the model has no timeout of its own but takes one with a request, as LangChain's OpenAI models do.

        Without a timeout, a thread that was left behind would wait forever.
        """
        return (
            self._sampler is None
            and has_field(self.model, "root_client")
            and getattr(self.model, "request_timeout", 0) is None
        )

    @property
    def _slots(self) -> int | None:
        """Requests that a model on this machine answers at once; None for all other models."""
        return getattr(self.model, "slots", None)

    def _timeout(self, settings: TrafficSettings) -> float | None:
        """Seconds that one request may take; None for no timeout.

        A model on this machine is as slow as the machine, so only a timeout that somebody set holds for it.
        """
        is_default = "call_timeout" not in settings.model_fields_set
        return None if self._slots is not None and is_default else settings.call_timeout

    @property
    def name(self) -> str:
        """The model's name, by which its price is found."""
        return own_name(self.model)

    @property
    def label(self) -> str:
        """The name that candidates and bills show."""
        return label_of(self.model)

    def tariff(self, settings: TrafficSettings) -> Tariff | None:
        """The model's price; None if it is unknown."""
        return tariff_of(self.model, self.name, settings.prices)

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        settings: TrafficSettings,
        *,
        place: Sequence[int | str],
        options: dict[str, Any] | None = None,
        floor: float | None = None,
    ) -> Reply:
        """Send one request.

        Args:
            messages: the conversation.
            settings: retries, timeouts, seed and prices.
            place: the RNG seed path of the request: together with the run's seed it gives the request's own. Its first
                part is also the kind of the request, by which latencies are compared.
            options: keyword arguments for the model.
            floor: how sure the model must stay of the reply, as the mean log-probability of a window of tokens;
                otherwise the reply is ended early. None reads every reply to its end.

        Raises:
            ModelCallError: the request failed for good; the error holds the bill.
        """
        (message,), usage = await self.replies(messages, settings, place, options or {}, 1, floor=floor)
        return Reply(message, usage)

    async def replies(
        self,
        messages: Sequence[BaseMessage],
        settings: TrafficSettings,
        place: Sequence[int | str],
        options: dict[str, Any],
        count: int,
        *,
        floor: float | None = None,
    ) -> tuple[list[AIMessage], Usage]:
        """Send one request for several replies.

        Args:
            messages: as for `chat`.
            settings: as for `chat`.
            place: as for `chat`.
            options: as for `chat`.
            count: wanted replies; more than 1 only where the model has a field `n`.
            floor: as for `chat`; only for a single reply.

        Returns:
            At least one reply, maybe fewer than `count`, and the bill of all.

        Raises:
            ModelCallError: as for `chat`.
        """
        usage = no_usage()
        model, options = self._seeded(settings, place), {**self._options, **options}
        timeout = self._timeout(settings)
        if timeout is not None and self._takes_timeout:
            options = {"timeout": timeout, **options}
        if count > 1 and not self._dialect.counts_one_reply:
            model = model.model_copy(update={"n": count})
        scope = current_scope()
        while True:
            if refusal := scope.refusal_of(self.label):
                raise ModelCallError(refusal, usage=of_model(usage, self.label), fatal=True)
            for note in self._dialect.notes(model, options, messages, but=PROBABILITIES if self._if_told else ()):
                scope.tell(note)
            if floor is not None and not self._streams:
                scope.tell("answers cannot be ended early here, because they do not come as streams")
                floor = None
            request = _Request(*self._dialect.adapted(model, options), self._dialect.phrased(messages), place, floor)
            try:
                replies, bill = await self._answered(request, settings)
            except ModelCallError as failure:
                usage = add_usage(usage, failure.usage)
                if request.lessons:
                    continue
                if failure.fatal:
                    scope.refuse(self.label, str(failure))
                told, cause = str(failure), failure.__cause__ or failure
                usage = of_model(usage, self.label)
                raise ModelCallError(told, usage=usage, rejected=failure.rejected, fatal=failure.fatal) from cause
            if len(replies) > 1 and self._dialect.counts_one_reply:
                scope.tell("the server counts the tokens of only one of several replies, so the cost is unknown")
            self._tell(request, replies, bill, scope)
            return replies, of_model(add_usage(usage, bill), self.label)

    def _tell(self, request: _Request, replies: Sequence[AIMessage], bill: Usage, scope: RunScope) -> None:
        """Tell the run what replies lack, and remember how long the prompt is."""
        if not self.tells_probabilities:
            return
        wanted = None if self._if_told else probabilities_asked(request.model, request.options)
        lacks = [shortfall(reply, wanted) for reply in replies] if wanted is not None else []
        is_estimated = any(ESTIMATED in reply.response_metadata for reply in replies)
        for note in [*lacks, SAID_OF_ESTIMATES if is_estimated else None]:
            if note is not None:
                scope.tell(note)
        if bill["input_tokens"] and not is_estimated:
            scope.prompts.note(request.messages, bill["input_tokens"])

    async def _answered(self, request: _Request, settings: TrafficSettings) -> tuple[list[AIMessage], Usage]:
        """The replies to a request and their bill, after retries of transient failures.

        Raises:
            ModelCallError: the request failed for good.
        """
        usage = no_usage()
        at_most = 1 if self._retries_itself else 1 + settings.max_retries
        known = self._given(request)
        try:
            if known is not None:
                usage["calls"], said = 1, known
            else:
                async for attempt in attempts(at_most):
                    with attempt:
                        is_retry = attempt.retry_state.attempt_number > 1
                        said = await self._reply_in_time(request, usage, settings, is_retry=is_retry)
            self._dialect.recognise(said)
            replies = [clean_message(message) for message in said if isinstance(message, AIMessage)]
        except Exception as error:
            usage["cost_usd"] = None if usage["calls"] else usage["cost_usd"]
            told = str(error) if isinstance(error, MetaScaleError) else explain(error, self.model)
            has_form = request.has_form
            raise ModelCallError(
                told,
                usage=usage,
                rejected=is_rejected(error, has_form=has_form),
                fatal=is_fatal(error, has_form=has_form),
            ) from error
        bill = self._bill(replies, settings)
        purse, estimate = current_scope().purse, len(replies) * self._estimate(request, settings)
        bill["charged_usd"] = (purse.pay if known is None else purse.give)(bill["cost_usd"], estimate)
        return replies, add_usage(usage, bill)

    async def _reply_in_time(
        self, request: _Request, usage: Usage, settings: TrafficSettings, *, is_retry: bool
    ) -> list[BaseMessage]:
        """The reply to one attempt, which is sent once the server's gate has a place for it.

        The cost of a request is unknown where the request was abandoned or its reply did not arrive whole.

        Raises:
            TimeoutError: the request took too long.
            ModelCallError: another request of the run has shown that none can succeed.
        """
        if seconds_left() <= 0:
            raise OutOfTimeError
        timeout = self._timeout(settings)
        longest = math.inf if timeout is None else timeout
        gate, scope, calls, usd = self._gate, current_scope(), usage["calls"], charged(usage)
        at_most = min(settings.max_in_flight, self._slots or settings.max_in_flight)

        async def send() -> list[BaseMessage]:
            usage["calls"] += 1
            try:
                return await self._send(request)
            except Exception as error:
                if not is_of_another_loop(error):
                    raise
            usage["calls"] += 1
            lose()  # the first one may have reached the server
            with in_threads():
                return await self._send(request)

        def lose() -> None:
            usage["cost_usd"] = None
            usage["charged_usd"] = charged(usage) + scope.purse.pay(None, self._estimate(request, settings))

        def send_again() -> asyncio.Task[list[BaseMessage]] | None:
            place = gate.try_enter(at_most) if gate else None
            if place is None:
                return None
            lose()
            scope.tell(
                f"the request {request.name!r} took far longer than the others, so it was sent twice; both are in the "
                "bill's calls, and the cost is unknown"
            )
            return place.task(send())

        try:
            if gate is None:
                scope.purse.ask()
                return await within(min(longest, seconds_left()), send())
            place = await within(seconds_left(), self._place(gate, at_most, is_retry=is_retry))
            try:
                if refusal := scope.refusal_of(self.label):
                    raise ModelCallError(refusal)
                scope.purse.ask()
            except MetaScaleError:
                place.give_up()
                raise
            first, seconds = place.task(send()), min(longest, seconds_left())
            if settings.stragglers == "wait" or self._sampler is not None:
                return await within(seconds, first)
            latencies = scope.latencies(self.label, request.kind)
            return await first_reply(seconds, first, send_again, latencies, tokens_of=_tokens_written)
        except Exception as error:
            if status_of(error) is None and usage["calls"] > calls:
                lose()
            keeper = current_keeper()
            if keeper is not None and usage["calls"] > calls:
                failed = no_usage() | {"calls": usage["calls"] - calls, "cost_usd": usage["cost_usd"]}
                keeper.failed(of_model(failed | {"charged_usd": charged(usage) - usd}, self.label))
            if isinstance(error, TimeoutError) and seconds_left() <= 0:
                raise OutOfTimeError from error
            if isinstance(error, TimeoutError) and error.__cause__ is None:
                scope.note_failure(self.label, explain(error, self.model))
            raise

    async def _place(self, gate: Gate, at_most: int, *, is_retry: bool) -> Passage:
        """A place inside the gate; a server that has answered nothing gets no more than it may fail to answer."""
        while True:
            trials = None if gate.has_worked else current_scope().trials_left(self.label)
            room = at_most if trials is None else min(at_most, trials)
            place = await gate.enter(room, is_retry=is_retry)
            trials = None if gate.has_worked else current_scope().trials_left(self.label)
            if trials is None or gate.inside <= trials:
                return place
            place.give_up()

    async def _send(self, request: _Request) -> list[BaseMessage]:
        """As `_sent`. A failure is understood before another request takes the place in the server's gate."""
        try:
            said = await self._sent(request)
        except Exception as error:
            is_streamed = request.floor is not None
            if self._dialect.learn(error, request.model, request.options, request.messages, is_streamed=is_streamed):
                request.lessons.append(error)
            elif is_fatal(error, has_form=request.has_form):
                current_scope().refuse(self.label, explain(error, self.model))
            elif is_outage(error):
                current_scope().note_failure(self.label, explain(error, self.model))
            raise
        current_scope().note_reply(self.label)
        return said

    async def _sent(self, request: _Request) -> list[BaseMessage]:
        """Send one attempt at a request; returns all its replies, at least one, which are kept."""
        said = await self._said(request)
        if self._keeper is not None:
            keep(self._keeper, self._deciding(request), request.messages, said)
        return said

    def _given(self, request: _Request) -> list[BaseMessage] | None:
        """The replies to a request that were paid for before, which nothing refuses; None where it is to be sent."""
        keeper = self._keeper
        return given(keeper, self._deciding(request), request.messages) if keeper is not None else None

    @property
    def _keeper(self) -> Keeper | None:
        """What keeps the replies here; None where nothing does, or the model does it by itself."""
        return None if getattr(self.model, "keeps_replies", False) else current_keeper()

    def _deciding(self, request: _Request) -> list[Any]:
        """What decides the replies to a request beside its messages, as JSON values."""
        set_up = {name: getattr(request.model, name, None) for name in ("temperature", "seed", "n", *LIMIT_FIELDS)}
        return [self.name, list(request.place), set_up, sorted(map(str, request.options))]

    async def _said(self, request: _Request) -> list[BaseMessage]:
        config = config_of(request.place)
        model = for_running_loop(request.model) if is_awaited() else request.model
        if self._sampler:
            return [await invoke(self._sampler(model), list(request.messages), config, **request.options)]
        if request.floor is not None:
            message = await read_while_sure(model, request.messages, config, request.floor, request.options)
            return [counted(message, request.messages, current_scope().prompts)]
        said = await generate(model, request.messages, config, **request.options)
        if not said:
            raise NoCompletionError("the server's reply holds no completion")
        return said

    def _seeded(self, settings: TrafficSettings, place: Sequence[int | str]) -> BaseChatModel:
        if not has_field(self.model, "seed"):
            return self.model
        base = settings.seed if settings.seed is not None else getattr(self.model, "seed", None)
        seed = derive_seed(base, *place)
        if seed is None:
            return self.model
        _ = self.model._serialized  # tracers need it: computed once here, its copies inherit the cached value
        return self.model.model_copy(update={"seed": seed})

    def _estimate(self, request: _Request, settings: TrafficSettings) -> float:
        """About what a request costs whose bill did not come, in US dollars; 0 if the model has no price."""
        tariff = self.tariff(settings)
        read = sum(len(message.text) for message in request.messages) / CHARS_A_TOKEN
        return tariff.of(read, TOKENS_OF_A_REPLY) if tariff else 0.0

    def _bill(self, replies: Sequence[AIMessage], settings: TrafficSettings) -> Usage:
        """The bill of one request, which LangChain repeats on each of its replies."""
        reported = next((message.usage_metadata for message in replies if message.usage_metadata), None)
        tokens = (reported["input_tokens"], reported["output_tokens"]) if reported else ()
        if not tokens or not all(map(is_believable, tokens)):
            return no_usage() | {"cost_usd": None}
        is_estimated = any(ESTIMATED in message.response_metadata for message in replies)
        is_partial = len(replies) > 1 and self._dialect.counts_one_reply
        tariff = None if is_estimated or is_partial else self.tariff(settings)
        cached = _detail(reported, "cache_read", tokens[0])
        written = _detail(reported, "cache_creation", tokens[0] - cached)
        return no_usage() | {
            "input_tokens": tokens[0],
            "cached_input_tokens": cached,
            "output_tokens": tokens[1],
            "cost_usd": tariff.of(*tokens, cached, written) if tariff else None,
        }


def _detail(reported: Mapping[str, Any] | None, name: str, at_most: int) -> int:
    """Prompt tokens that the server read from its cache or wrote into it; 0 where it does not tell."""
    told = ((reported or {}).get("input_token_details") or {}).get(name)
    return min(told, at_most) if is_believable(told) else 0
