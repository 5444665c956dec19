"""Turns requests into searches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import Runnable
from langchain_openai.chat_models.base import BaseChatOpenAI

from metascale.errors import MetaScaleError
from metascale.graphs import METHODS, Graph
from metascale.integrations import ChatMetaScale
from metascale.models import MeteredModel, resolve_models
from metascale.models.flaws import outcome
from metascale.models.lineup import names_in
from metascale.models.local.names import is_local
from metascale.question import check_question
from metascale.records import Status
from metascale.server.errors import bad_request, timed_out
from metascale.server.housekeeping import NOTE, is_housekeeping
from metascale.server.names import DEFAULT_METHOD, Names, Target
from metascale.server.options import ServerOptions
from metascale.server.request import ChatRequest
from metascale.server.run_settings import UNATTENDED, labels_left_out, run_settings
from metascale.settings import MetaScaleSettings


@dataclass(frozen=True)
class SearchOutcome:
    """The outcome of a search.

    Attributes:
        message: the answer.
        status: its flaw, if any.
        result: the rest of a graph's `result`.
    """

    message: AIMessage
    status: Status
    result: dict[str, Any]


@dataclass(frozen=True)
class PreparedSearch:
    """A checked search that has not started.

    Attributes:
        target: the method and model.
        run: starts it.
    """

    target: Target
    run: Callable[[], Awaitable[SearchOutcome]]


class Searches:
    """Makes searches from requests. Only METASCALE supports tools and parameters of samples."""

    def __init__(self, options: ServerOptions, settings: MetaScaleSettings) -> None:
        """Serve the models of the options with the server's `settings`."""
        self.names = Names(options.models)
        self._options = options
        self._settings = settings.model_copy(update=UNATTENDED)
        self._models = cache(_resolved)
        self._graph = cache(self._new_graph)
        for model in filter(is_local, options.models):
            self._models(model)  # now, because later the event loop would wait

    def prepare(self, request: ChatRequest) -> PreparedSearch:
        """Check a request and make its search, without a model request.

        Raises:
            ApiError: 404 for a model that is not served, 400 for an unsupported request. QuestionError: the
            conversation has no question at its end, or is too long. ModelSetupError: the model does not support a token
            limit.
        """
        target = self.names.find(request.model)
        texts = [*target.settings, *labels_left_out(request.metadata)]
        chosen = run_settings(texts, request.named_settings(), self._settings, self._options.max_budget)
        settings = self._settings.overlaid_by(chosen)
        messages = request.conversation()
        check_question(messages, settings.max_question_chars)
        models = self._models(target.model)
        for model in models:
            MeteredModel(model, max_tokens=settings.max_tokens)
        if request.has_attachments() and not _are_openai(models):
            raise bad_request(f"the model {target.name!r} reads text only", "messages")
        if not request.tools and request.tool_choice not in {None, "none", "auto"}:
            raise bad_request("tool_choice asks for a call, but the request has no tools", "tool_choice")
        if is_housekeeping(messages) and not request.tools:
            plain = self._graph("direct", names_in(target.model)[0])
            return PreparedSearch(target, lambda: self._in_time(_run(plain, messages, chosen, NOTE)))
        if request.tools or request.sample_options():
            shaped = self._shaped(request, target, models, settings)
            return PreparedSearch(target, lambda: self._in_time(_ask(shaped, messages)))
        graph = self._graph(target.method, target.model)
        return PreparedSearch(target, lambda: self._in_time(_run(graph, messages, chosen)))

    def _new_graph(self, method: str, model: str) -> Graph:
        return METHODS[method].create(self._models(model), settings=self._settings)

    def _shaped(
        self, request: ChatRequest, target: Target, models: list[BaseChatModel], settings: MetaScaleSettings
    ) -> Runnable[Any, AIMessage]:
        """METASCALE as a chat model whose samples have the request's tools and parameters."""
        options = request.sample_options()
        first = next(iter(options), "tools")
        if target.method != DEFAULT_METHOD:
            raise bad_request(f"{first!r} goes with the method {DEFAULT_METHOD!r} only", first)
        if not _are_openai(models) and options:
            raise bad_request(f"the model {target.name!r} takes no {first!r}", first)
        if isinstance(options.get("stop"), str):
            options["stop"] = [options["stop"]]
        chat = ChatMetaScale(model=models, settings=settings)
        if not request.tools:
            return chat.bind(**options)
        several = request.parallel_tool_calls
        choice: Any = request.tool_choice
        if choice is not None and not isinstance(choice, str):
            if choice.function.name not in {tool.function.name for tool in request.tools}:
                raise bad_request(f"there is no tool {choice.function.name!r}", "tool_choice")
            choice = choice.model_dump()
        tools = [tool.model_dump(exclude_none=True) for tool in request.tools]
        try:
            bound = chat.bind_tools(
                tools, tool_choice=choice, **({} if several is None else {"parallel_tool_calls": several})
            )
        except NotImplementedError as error:
            raise bad_request(f"the model {target.name!r} takes no tools", "tools") from error
        except ValueError as error:
            raise bad_request(f"tool_choice: {error}", "tool_choice") from error
        return bound.bind(**options)

    async def _in_time(self, search: Awaitable[SearchOutcome]) -> SearchOutcome:
        limit = asyncio.timeout(self._options.timeout)
        try:
            async with limit:
                return await search
        except TimeoutError:
            if limit.expired():
                raise timed_out(self._options.timeout) from None
            raise


def _are_openai(models: list[BaseChatModel]) -> bool:
    return all(isinstance(model, BaseChatOpenAI) for model in models)


def _resolved(model: str) -> list[BaseChatModel]:
    try:
        return resolve_models(model)
    except MetaScaleError as error:
        raise RuntimeError(f"a served model cannot be set up: {error}") from error


async def _run(graph: Graph, messages: list[AnyMessage], settings: MetaScaleSettings, *notes: str) -> SearchOutcome:
    out = await graph.ainvoke({"messages": messages}, context=settings, output_keys=["result", "candidates"])
    result = out["result"]
    winner = next(candidate for candidate in out["candidates"] if candidate["id"] == result["candidate"])
    return SearchOutcome(AIMessage(result["answer"]), winner["status"], {**result, "notes": [*notes, *result["notes"]]})


async def _ask(chat: Runnable[Any, AIMessage], messages: list[AnyMessage]) -> SearchOutcome:
    message = await chat.ainvoke(messages)
    status = "ok" if message.tool_calls else outcome(message)[0]
    return SearchOutcome(message, status, message.response_metadata["metascale"])
