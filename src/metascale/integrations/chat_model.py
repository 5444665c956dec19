"""METASCALE as a chat model, for code that takes any chat model."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForLLMRun,
    CallbackManager,
    CallbackManagerForLLMRun,
)
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool
from langgraph.store.base import BaseStore
from pydantic import Field, PrivateAttr, SkipValidation, model_validator

from metascale.bandits import Policy
from metascale.errors import ModelSetupError, UnknownNameError
from metascale.graphs import create_metascale
from metascale.integrations.tool_calls import CallRules
from metascale.integrations.whole_messages import WholeMessages, billed, check_uninterrupted, in_chunks, unusable
from metascale.models import resolve_model, resolve_models
from metascale.models.dialect import probabilities_asked
from metascale.models.failures import address_of
from metascale.models.lineup import label_of
from metascale.models.metered import has_field
from metascale.nodes.run import check_parts
from metascale.rewards import Reward, reward_of
from metascale.settings import MetaScaleSettings


class ChatMetaScale(BaseChatModel):
    """METASCALE as a chat model: every call is a search and returns its best message.

    With bound tools whole messages are sampled and judged, including their tool calls. A message is rejected if its
    calls do not fit their schemas, or if it calls no tool although it must. `usage_metadata` counts every request of
    the search; `response_metadata["metascale"]` holds the rest of a graph's `result`. The requests are traced as
    children of the call. A stream starts when the search has ended.

    Settings are keyword arguments, too: `ChatMetaScale(model="openai:gpt-4o-mini", budget=8, temperature=0.7)`.
    """

    model: BaseChatModel | str | Sequence[BaseChatModel | str] | None = None
    """The model that answers, judges and writes meta-thoughts, or several that answer; as in `create_metascale`."""
    settings: MetaScaleSettings = Field(default_factory=MetaScaleSettings)
    """Settings of every call's search."""
    reward: SkipValidation[Reward | None] = None
    """As in `create_metascale`, like the fields below."""
    policy: SkipValidation[Policy | None] = None
    retriever: BaseRetriever | None = None
    store: BaseStore | None = None
    embeddings: Embeddings | None = None
    stop: list[str] | None = None
    """Texts at which answers end; a call's own `stop` takes precedence."""
    streaming: bool = False
    """Whether `invoke` also passes its answer to callbacks in chunks."""

    _models: list[BaseChatModel] = PrivateAttr()
    _reward: Reward | None = PrivateAttr()
    _rules: CallRules = PrivateAttr(default_factory=CallRules)
    _objects: str = PrivateAttr(default="")
    """A name for the given reward, policy and so on; empty without any."""

    @model_validator(mode="before")
    @classmethod
    def _settings_by_name(cls, values: dict[str, Any]) -> dict[str, Any]:
        own = {name: value for name, value in values.items() if name in cls.model_fields}
        if own.get("model") is not None and not isinstance(own["model"], str):
            own["model"] = _chat_models(own["model"])
        named = {name: value for name, value in values.items() if name not in own}
        for name in named:
            if name not in MetaScaleSettings.model_fields:
                raise UnknownNameError("parameter", name, [*cls.model_fields, *MetaScaleSettings.model_fields])
        check_parts(reward=own.get("reward"), policy=own.get("policy"))
        settings = MetaScaleSettings.model_validate(own.get("settings") or {})
        return {**own, "settings": settings.overlaid_by(MetaScaleSettings.model_validate(named))}

    def model_post_init(self, context: Any, /) -> None:
        """Set up the model and the reward once for all calls."""
        super().model_post_init(context)
        check_uninterrupted(self.settings)
        self._models = resolve_models(self.model)
        self._reward = self.reward or reward_of(self.settings, self._models)
        given = (self.reward, self.policy, self.retriever, self.store, self.embeddings)
        self._objects = uuid.uuid4().hex if any(part is not None for part in given) else ""

    @property
    def _llm_type(self) -> str:
        return "metascale"

    @property
    def model_name(self) -> str:
        """The name of the search, as agents and tracers ask a chat model for it."""
        return self._name

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self._labels, "settings": self.settings.model_dump(mode="json")}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The key of LangChain's cache: searches share it only if they would ask the same model in the same way.

        Objects such as a reward have no name, so searches with objects share it only if they are copies of one model.
        """
        said: list[Any] = [self._objects]
        for inner in self._models:
            fields = {name: value for name in type(inner).model_fields if _is_plain(value := getattr(inner, name))}
            said += [inner._get_llm_string(), address_of(inner), sorted(fields.items())]
        digest = hashlib.sha256(repr(said).encode("utf-8", "replace")).hexdigest()
        return f"{super()._get_llm_string(stop=stop or self.stop, **kwargs)}---{digest}"

    def _resolve_model_profile(self) -> ModelProfile | None:
        return self._model.profile

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        return {**params, "ls_provider": "metascale", "ls_model_name": kwargs.get("model") or self._name}

    @property
    def _name(self) -> str:
        """The name of the search, which is in no price list: its requests are billed under their own models."""
        return f"metascale/{self._labels}"

    @property
    def _labels(self) -> str:
        return "+".join(map(label_of, self._models))

    @property
    def _model(self) -> BaseChatModel:
        """The first model, which says how tools are bound."""
        return self._models[0]

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools in the format of the inner model, which must support tools. Only answers use them.

        Raises:
            NotImplementedError: the inner model does not support tools. ModelSetupError: the format of its tools is
            unknown.
        """
        bound = self._model.bind_tools(tools, tool_choice=tool_choice, **kwargs)
        if not isinstance(bound, RunnableBinding):
            raise ModelSetupError(f"{type(self._model).__name__} does not say how it binds tools")
        ruled = self.model_copy()
        ruled._rules = CallRules.of(tools, tool_choice)
        return ruled.bind(**bound.kwargs)

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """The reply in chunks, after the search has ended."""
        yield from in_chunks(self.invoke(input, config, stop=stop, **{**kwargs, "stream": True}))

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """As `stream`."""
        for chunk in in_chunks(await self.ainvoke(input, config, stop=stop, **{**kwargs, "stream": True})):
            yield chunk

    def _should_stream(self, **_: Any) -> bool:
        """Never: `_generate` emits the chunks, because only it knows the run that the search's requests belong to."""
        return False

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = self._reply(messages, stop, run_manager, **kwargs)
        if run_manager and super()._should_stream(async_api=False, run_manager=run_manager, **kwargs):
            for chunk in in_chunks(message):
                run_manager.on_llm_new_token(chunk.text, chunk=ChatGenerationChunk(message=chunk))
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = await self._areply(messages, stop, run_manager, **kwargs)
        if run_manager and super()._should_stream(async_api=True, run_manager=run_manager, **kwargs):
            for chunk in in_chunks(message):
                await run_manager.on_llm_new_token(chunk.text, chunk=ChatGenerationChunk(message=chunk))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in in_chunks(self._reply(messages, stop, run_manager, **kwargs)):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in in_chunks(await self._areply(messages, stop, run_manager, **kwargs)):
            yield ChatGenerationChunk(message=chunk)

    def _reply(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        run_manager: CallbackManagerForLLMRun | None,
        **options: Any,
    ) -> AIMessage:
        kept: WholeMessages[AIMessage] = WholeMessages()
        search = self._search(kept, stop, options)
        return self._chosen(kept, search.invoke({"messages": messages}, _traced_under(run_manager)), options)

    async def _areply(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        run_manager: AsyncCallbackManagerForLLMRun | None,
        **options: Any,
    ) -> AIMessage:
        kept: WholeMessages[AIMessage] = WholeMessages()
        search = self._search(kept, stop, options)
        return self._chosen(kept, await search.ainvoke({"messages": messages}, _traced_under(run_manager)), options)

    def _search(
        self, kept: WholeMessages[AIMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> Runnable[dict[str, Any], dict[str, Any]]:
        """The search of one call; its samples use the call's options.

        It is not a subgraph that a parent could resume, because a model call cannot be resumed.
        """
        stop = stop or self.stop
        options = {name: value for name, value in options.items() if name != "stream"}
        options = _with_unread_format(self._model, {**options, "stop": stop} if stop else options)

        def shown(message: AIMessage) -> AIMessage:
            flaw = self._rules.flaw(message)
            return unusable(message, flaw) if flaw else kept.show(message, message)

        def sampler(model: BaseChatModel) -> Runnable[Any, AIMessage]:
            def draw(asked: list[BaseMessage]) -> AIMessage:
                return shown(model.invoke(asked, **options))

            async def adraw(asked: list[BaseMessage]) -> AIMessage:
                return shown(await model.ainvoke(asked, **options))

            return RunnableLambda(draw, afunc=adraw, name="sample")

        graph = create_metascale(
            self._models,
            reward=self._reward,
            policy=self.policy,
            retriever=self.retriever,
            settings=self.settings,
            store=self.store,
            embeddings=self.embeddings,
            checkpointer=False,
            sampler=sampler,
        )

        def call(given: dict[str, Any]) -> dict[str, Any]:
            return graph.invoke(given)

        async def acall(given: dict[str, Any]) -> dict[str, Any]:
            return await graph.ainvoke(given)

        return RunnableLambda(call, afunc=acall, name="deliberate")

    def _chosen(self, kept: WholeMessages[AIMessage], out: dict[str, Any], options: dict[str, Any]) -> AIMessage:
        result = out["result"]
        keeps_tokens = probabilities_asked(self._model, options) is not None
        message = billed(kept.find(result["answer"]) or out["messages"][-1], result, keeps_tokens=keeps_tokens)
        served = message.response_metadata.get("model_name")
        message.response_metadata["model_name"] = f"metascale/{served}" if served else self._name
        return message


def _chat_models(given: Any) -> BaseChatModel | list[Any]:
    """Given models without their wrappers; names stay names."""
    if isinstance(given, list | tuple):
        return [one if isinstance(one, str) else resolve_model(one) for one in given]
    return resolve_model(given)


def _with_unread_format(model: BaseChatModel, options: dict[str, Any]) -> dict[str, Any]:
    """The options with a `response_format` where OpenAI's client passes it on without reading the reply.

    That client raises an error on replies that are cut off, and on tools that are not strict.
    """
    form = options.get("response_format")
    if not isinstance(form, dict) or not has_field(model, "extra_body") or getattr(model, "use_responses_api", None):
        return options
    rest = {name: value for name, value in options.items() if name != "response_format"}
    own = options.get("extra_body") or getattr(model, "extra_body", None) or {}
    return {**rest, "extra_body": {**own, "response_format": form}}


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | list | dict | tuple)


def _traced_under(call: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None) -> RunnableConfig:
    """The config of a child run of a model call; LangChain's managers of model calls do not make one."""
    if call is None:
        return {}
    kind = AsyncCallbackManager if isinstance(call, AsyncCallbackManagerForLLMRun) else CallbackManager
    return {
        "callbacks": kind(
            handlers=list(call.inheritable_handlers),
            inheritable_handlers=list(call.inheritable_handlers),
            parent_run_id=call.run_id,
            tags=list(call.inheritable_tags),
            inheritable_tags=list(call.inheritable_tags),
            metadata=dict(call.inheritable_metadata),
            inheritable_metadata=dict(call.inheritable_metadata),
        )
    }
