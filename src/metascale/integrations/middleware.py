"""Middleware for LangChain's agents that runs a search for their final answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, SystemMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.constants import TAG_NOSTREAM
from langgraph.store.base import BaseStore

from metascale.bandits import Arm, Policy, create_policy
from metascale.errors import MetaScaleError, describe
from metascale.graphs import Graph, create_metascale
from metascale.integrations.whole_messages import WholeMessages, billed, check_uninterrupted, unusable
from metascale.models import resolve_models
from metascale.models.dialect import probabilities_asked
from metascale.models.lineup import label_of
from metascale.models.probabilities import UNASKED
from metascale.nodes.run import check_parts
from metascale.rewards import Reward, reward_of
from metascale.settings import MetaScaleSettings

try:
    from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
except ImportError as missing:
    raise ImportError("MetaScaleMiddleware needs langchain: pip install 'metascale[agents]'") from missing

Handler = Callable[[ModelRequest[Any]], ModelResponse[Any]]
AsyncHandler = Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]


class MetaScaleMiddleware(AgentMiddleware[Any, Any, Any]):
    """Searches for better final answers of an agent; turns with tool calls pass unchanged.

    The agent's model is called as usual. If it calls tools, its reply passes. If it answers, a search starts with this
    answer as its first sample. The other samples are drawn through the agent, with its tools, its settings and the
    inner middleware. The winner replaces the answer. Samples that call tools are rejected. Structured responses are
    searched for as well.

    The reply's `usage_metadata` counts the whole search; `response_metadata["metascale"]` holds its details. The
    message stream gets whole replies only, because the answer is not known before the search ends.
    """

    def __init__(
        self,
        *,
        others: Sequence[BaseChatModel | str] = (),
        settings: MetaScaleSettings | None = None,
        reward: Reward | None = None,
        policy: Policy | None = None,
        retriever: BaseRetriever | None = None,
        store: BaseStore | None = None,
        embeddings: Embeddings | None = None,
    ) -> None:
        """Search with the agent's own model and maybe `others`; the arguments are those of `create_metascale`.

        A budget of 1 leaves the agent's answers unchanged.

        Raises:
            SettingError: the settings need a person to ask.
        """
        super().__init__()
        self.others = resolve_models(list(others)) if others else []
        check_parts(settings, reward=reward, policy=policy)
        self.settings = settings or MetaScaleSettings()
        check_uninterrupted(self.settings)
        self.reward = reward
        self.policy = _GivenFirst(policy or create_policy(self.settings), 1 + len(self.others))
        self.retriever = retriever
        self.store = store
        self.embeddings = embeddings
        self._judging: tuple[BaseChatModel, Reward | None] | None = None

    def wrap_model_call(self, request: ModelRequest[Any], handler: Handler) -> ModelResponse[Any]:
        """Call the model once; if it answers, search for a better answer."""
        first: ModelResponse[Any] = RunnableLambda(handler, name="first_answer").invoke(
            _unstreamed(request), {"tags": [TAG_NOSTREAM]}
        )
        if not self._deliberates(first):
            return first
        deliberation = _Deliberation(request, first, handler)
        try:
            out = self._graph(request, deliberation).invoke({"messages": deliberation.messages})
        except MetaScaleError as error:
            return deliberation.kept_first(error)
        return deliberation.chosen(out)

    async def awrap_model_call(self, request: ModelRequest[Any], handler: AsyncHandler) -> ModelResponse[Any]:
        """As `wrap_model_call`."""

        async def ask(asked: ModelRequest[Any]) -> ModelResponse[Any]:
            return await handler(asked)

        first: ModelResponse[Any] = await RunnableLambda(ask, name="first_answer").ainvoke(
            _unstreamed(request), {"tags": [TAG_NOSTREAM]}
        )
        if not self._deliberates(first):
            return first
        deliberation = _Deliberation(request, first, handler)
        try:
            out = await self._graph(request, deliberation).ainvoke({"messages": deliberation.messages})
        except MetaScaleError as error:
            return deliberation.kept_first(error)
        return deliberation.chosen(out)

    def _deliberates(self, first: ModelResponse[Any]) -> bool:
        return self.settings.budget > 1 and _is_answer(first)

    def _graph(self, request: ModelRequest[Any], deliberation: _Deliberation) -> Graph:
        return create_metascale(
            [request.model, *self.others],
            reward=self.reward or self._reward_by(request.model),
            policy=self.policy,
            retriever=self.retriever,
            settings=self.settings,
            store=self.store,
            embeddings=self.embeddings,
            checkpointer=False,
            sampler=deliberation.sampler,
        )

    def _reward_by(self, model: BaseChatModel) -> Reward | None:
        """The reward of the settings, made once per model, as it may load a model itself."""
        if self._judging is None or self._judging[0] is not model:
            self._judging = (model, reward_of(self.settings, [model, *self.others]))
        return self._judging[1]


@dataclass
class _Deliberation:
    """The search for one final answer.

    Attributes:
        request: the agent's model request.
        first: the agent's own answer.
        handler: answers requests; a coroutine function if the agent runs asynchronously.
    """

    request: ModelRequest[Any]
    first: ModelResponse[Any]
    handler: Callable[[ModelRequest[Any]], Any]
    _kept: WholeMessages[ModelResponse[Any]] = field(default_factory=WholeMessages)
    _given: list[ModelResponse[Any]] = field(init=False)

    def __post_init__(self) -> None:
        """Start with the first answer not yet drawn."""
        self._given = [self.first]

    @property
    def messages(self) -> list[AnyMessage]:
        """The conversation as the model sees it."""
        system = self.request.system_message
        return [*([system] if system else []), *self.request.messages]

    def sampler(self, model: BaseChatModel) -> Runnable[Any, AIMessage]:
        """Draw a sample through the agent."""

        def draw(messages: list[BaseMessage]) -> AIMessage:
            given = self._drawn(model, messages)
            return self._shown(given or self.handler(self._asked(model, messages)), unasked=given is not None)

        async def adraw(messages: list[BaseMessage]) -> AIMessage:
            given = self._drawn(model, messages)
            return self._shown(given or await self.handler(self._asked(model, messages)), unasked=given is not None)

        return RunnableLambda(draw, afunc=adraw, name="sample")

    def chosen(self, out: dict[str, Any]) -> ModelResponse[Any]:
        """The winning response with the usage of the search."""
        result = out["result"]
        winner = self._kept.find(result["answer"]) or ModelResponse([out["messages"][-1]])
        keeps_tokens = probabilities_asked(self.request.model, self.request.model_settings) is not None
        return _with_answer(winner, billed(_answer(winner), result, keeps_tokens=keeps_tokens))

    def kept_first(self, error: MetaScaleError) -> ModelResponse[Any]:
        """The first answer with the reason why no search started."""
        message = _answer(self.first)
        about = {**message.response_metadata, "metascale": {"notes": [describe(error)]}}
        return _with_answer(self.first, message.model_copy(update={"response_metadata": about}))

    def _drawn(self, model: BaseChatModel, messages: Sequence[BaseMessage]) -> ModelResponse[Any] | None:
        """The first answer, if it is this model's answer to this request and has not been drawn yet."""
        is_own = label_of(model) == label_of(self.request.model)
        is_same = is_own and [m.content for m in messages] == [m.content for m in self.messages]
        try:
            return self._given.pop() if is_same else None
        except IndexError:
            return None

    def _asked(self, model: BaseChatModel, messages: Sequence[BaseMessage]) -> ModelRequest[Any]:
        system = messages[0] if isinstance(messages[0], SystemMessage) else None
        rest: list[Any] = list(messages[1:] if system else messages)
        return self.request.override(model=model, system_message=system, messages=rest)

    def _shown(self, response: ModelResponse[Any], *, unasked: bool) -> AIMessage:
        message = _answer(response)
        if unasked:
            message = message.model_copy(update={"response_metadata": {**message.response_metadata, UNASKED: True}})
        if not _is_answer(response):
            return unusable(message, "it calls tools instead of answering")
        if self.first.structured_response is not None and response.structured_response is None:
            return unusable(message, "it gives no structured response")
        return self._kept.show(message, response)


@dataclass(frozen=True)
class _GivenFirst:
    """A policy that pulls the arm first under which the agent gave its answer: its own model without a strategy.

    That arm follows chain of thought with each of the models, if chain of thought has a head start. Otherwise another
    arm may be first, and the agent's answer is a sample only once its arm is pulled.

    Attributes:
        policy: plans the other pulls.
        models: how many models there are.
    """

    policy: Policy
    models: int = 1

    def plan(self, arms: Sequence[Arm], size: int, rng: np.random.Generator, *, left: int) -> list[int]:
        """As in `Policy`."""
        planned = self.policy.plan(arms, size, rng, left=left)
        if any(arm.pulls for arm in arms):
            return planned
        given = min(self.models, len(arms) - 1)
        others = [arm for arm in planned if arm != given]
        return [given, *others, *[given] * size][:size]


def _unstreamed(request: ModelRequest[Any]) -> ModelRequest[Any]:
    """The request with streaming off, so that servers report usage and no chunks are shown."""
    return request.override(model=request.model.model_copy(update={"disable_streaming": True}))


def _place(response: ModelResponse[Any]) -> int:
    return max(i for i, message in enumerate(response.result) if isinstance(message, AIMessage))


def _answer(response: ModelResponse[Any]) -> AIMessage:
    message = response.result[_place(response)]
    assert isinstance(message, AIMessage)  # noqa: S101
    return message


def _with_answer(response: ModelResponse[Any], message: AIMessage) -> ModelResponse[Any]:
    result = list(response.result)
    result[_place(response)] = message
    return replace(response, result=result)


def _is_answer(response: ModelResponse[Any]) -> bool:
    """Whether the agent would end with this response."""
    return response.structured_response is not None or not _answer(response).tool_calls
