"""Middleware for LangChain's agents that limits what an agent spends, and asks or answers instead of raising."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, NotRequired, cast

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from metascale.errors import SettingError, describe
from metascale.models import MeteredModel
from metascale.settings import Price, Tariff, TrafficSettings
from metascale.usage import is_believable

try:
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ModelRequest,
        ModelResponse,
        ToolCallRequest,
        hook_config,
    )
    from langchain.agents.middleware.types import PrivateStateAttr
except ImportError as missing:
    raise ImportError("BudgetMiddleware needs langchain: pip install 'metascale[agents]'") from missing

BUDGET = "budget"
"""The key of a message's `response_metadata` that holds what the message cost."""
LIMITS = {
    "max_calls": ("calls", "model calls"),
    "max_tokens": ("tokens", "tokens"),
    "max_cost_usd": ("usd", "US dollars"),
    "max_seconds": ("seconds", "seconds"),
}
"""For each limit the key of what it limits, and its unit in words."""


class Amounts(TypedDict):
    """What an agent has spent, or was granted."""

    calls: int
    tokens: int
    usd: float
    seconds: float


class Grants(BaseModel):
    """An answer to a question for more: what to add to each limit."""

    model_config = ConfigDict(extra="forbid")

    calls: int = Field(default=0, ge=0)
    tokens: int = Field(default=0, ge=0)
    usd: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class BudgetState(AgentState[Any]):
    """The agent's state with its bill, which a thread keeps over turns and resumptions."""

    budget_spent: NotRequired[Annotated[Amounts, PrivateStateAttr]]
    budget_granted: NotRequired[Annotated[Amounts, PrivateStateAttr]]


Handler = Callable[[ModelRequest[Any]], ModelResponse[Any]]
AsyncHandler = Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
ToolHandler = Callable[[ToolCallRequest], ToolMessage | Command[Any]]
AsyncToolHandler = Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]


class BudgetMiddleware(AgentMiddleware[BudgetState, Any, Any]):
    """Limits the model calls, tokens, dollars and seconds of an agent's thread.

    Limits are checked before every model call. Once one is reached, the agent ends with its best answer so far and
    says that the budget is spent; or it asks the user for more by an interrupt, if `ask` is set. Nothing is raised. The
    last call may exceed a limit. The bill is part of the thread: a resumed agent and a next turn go on with it.

    Calls are those of the agent's model. Beside `MetaScaleMiddleware` a call is a whole search: put this middleware
    first, and all requests of the search count. Seconds are those at work, in the model and in tools; tools that run in
    parallel count once, and waiting for a person does not count.
    """

    state_schema = BudgetState

    def __init__(
        self,
        *,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        max_cost_usd: float | None = None,
        max_seconds: float | None = None,
        ask: bool = False,
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        """Set the limits.

        Args:
            max_calls: model calls, above 0; None for no limit.
            max_tokens: prompt and completion tokens together, likewise.
            max_cost_usd: US dollars, likewise; the model needs a known price.
            max_seconds: seconds at work, likewise.
            ask: whether to ask for more by an interrupt, which needs a checkpointer. Answers: a number in the unit of
                the limit, 0 or null for the end, or an object with `calls`, `tokens`, `usd` or `seconds`.
            prices: as in the setting of this name; they override the list prices.

        Raises:
            SettingError: there is no limit, or one is not above 0.
        """
        super().__init__()
        given = zip(LIMITS, (max_calls, max_tokens, max_cost_usd, max_seconds), strict=True)
        self.limits: dict[str, float] = {name: limit for name, limit in given if limit is not None}
        if not self.limits or any(not limit > 0 for limit in self.limits.values()):
            raise SettingError(f"set at least one of {', '.join(LIMITS)}, above 0")
        self.ask = ask
        self._traffic = TrafficSettings(prices=dict(prices or {}))

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Let the agent go on, ask for more, or end with the best answer so far."""
        messages = state["messages"]
        spent = _sum(state.get("budget_spent"), _of_tools(messages))
        granted = state.get("budget_granted") or _nothing()
        while (name := self._reached(spent, granted)) is not None:
            more = self._granted(name, spent, granted, messages) if self.ask else _nothing()
            if not more[LIMITS[name][0]]:  # type: ignore[literal-required]
                end = AIMessage(_ending(messages, self._said(name, spent, granted)))
                return {"budget_spent": spent, "budget_granted": granted, "messages": [end], "jump_to": "end"}
            granted = _sum(granted, more)
        return {"budget_spent": spent, "budget_granted": granted}

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """As `before_model`."""
        return self.before_model(state, runtime)

    def after_model(self, state: BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Add the call to the bill."""
        last = next(message for message in reversed(state["messages"]) if isinstance(message, AIMessage))
        return {"budget_spent": _sum(state.get("budget_spent"), last.response_metadata.get(BUDGET))}

    async def aafter_model(self, state: BudgetState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """As `after_model`."""
        return self.after_model(state, runtime)

    def wrap_model_call(self, request: ModelRequest[Any], handler: Handler) -> ModelResponse[Any]:
        """Call the model, and note on its message what the call cost."""
        tariff, started = self._tariff(request), time.monotonic()
        return _billed(handler(request), tariff, started)

    async def awrap_model_call(self, request: ModelRequest[Any], handler: AsyncHandler) -> ModelResponse[Any]:
        """As `wrap_model_call`."""
        tariff, started = self._tariff(request), time.monotonic()
        return _billed(await handler(request), tariff, started)

    def wrap_tool_call(self, request: ToolCallRequest, handler: ToolHandler) -> ToolMessage | Command[Any]:
        """Call a tool, and note on its message how long it took."""
        started = time.monotonic()
        return _timed(handler(request), started)

    async def awrap_tool_call(self, request: ToolCallRequest, handler: AsyncToolHandler) -> ToolMessage | Command[Any]:
        """As `wrap_tool_call`."""
        started = time.monotonic()
        return _timed(await handler(request), started)

    def _tariff(self, request: ModelRequest[Any]) -> Tariff | None:
        """The price of the model that is about to be called.

        Raises:
            SettingError: dollars are limited, and it is unknown.
        """
        model = MeteredModel(request.model)
        tariff = model.tariff(self._traffic)
        if tariff is None and "max_cost_usd" in self.limits:
            raise SettingError(
                f"max_cost_usd is set, but no price of the model {model.name!r} is known: "
                f'BudgetMiddleware(prices={{"{model.name}": Price(input=…, output=…)}})'
            )
        return tariff

    def _reached(self, spent: Amounts, granted: Amounts) -> str | None:
        """The first limit that is reached."""
        return next((name for name in self.limits if spent[LIMITS[name][0]] >= self._limit(name, granted)), None)  # type: ignore[literal-required]

    def _limit(self, name: str, granted: Amounts) -> float:
        return self.limits[name] + float(granted[LIMITS[name][0]])  # type: ignore[literal-required]

    def _said(self, name: str, spent: Amounts, granted: Amounts) -> str:
        key, unit = LIMITS[name]
        limit = self._limit(name, granted)
        return f"the budget is spent: {spent[key]:,.6g} of {limit:,.6g} {unit}"  # type: ignore[literal-required]

    def _granted(self, name: str, spent: Amounts, granted: Amounts, messages: list[AnyMessage]) -> Amounts:
        """What the user grants when a limit is reached."""
        asked = {
            "asks": "grant_budget",
            "stop_reason": name,
            "unit": LIMITS[name][1],
            "limit": self._limit(name, granted),
            "spent": dict(spent),
            "answer": _best(messages),
            "problem": None,
        }
        while True:
            answer = interrupt(asked)
            given = answer if isinstance(answer, dict) else {LIMITS[name][0]: answer or 0}
            try:
                if isinstance(answer, bool):
                    raise SettingError("true and false are no amounts")
                return cast("Amounts", Grants.model_validate(given).model_dump())
            except (ValidationError, SettingError) as error:
                asked = {**asked, "problem": describe(error)}


def _nothing() -> Amounts:
    return {"calls": 0, "tokens": 0, "usd": 0.0, "seconds": 0.0}


def _sum(one: Amounts | None, other: Mapping[str, Any] | None) -> Amounts:
    first, second = one or _nothing(), other or _nothing()
    return {
        "calls": first["calls"] + second["calls"],
        "tokens": first["tokens"] + second["tokens"],
        "usd": first["usd"] + second["usd"],
        "seconds": first["seconds"] + second["seconds"],
    }


def _of_tools(messages: list[AnyMessage]) -> Amounts:
    """The time of the tools that ran since the last model call, in parallel."""
    seconds = 0.0
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            break
        seconds = max(seconds, (message.response_metadata.get(BUDGET) or {}).get("seconds", 0.0))
    return {**_nothing(), "seconds": seconds}


def _billed(response: ModelResponse[Any], tariff: Tariff | None, started: float) -> ModelResponse[Any]:
    place = max(i for i, message in enumerate(response.result) if isinstance(message, AIMessage))
    message = response.result[place]
    assert isinstance(message, AIMessage)  # noqa: S101
    cost = {**_cost(message, tariff), "seconds": time.monotonic() - started}
    result: list[BaseMessage] = list(response.result)
    result[place] = message.model_copy(update={"response_metadata": {**message.response_metadata, BUDGET: cost}})
    return replace(response, result=result)


def _cost(message: AIMessage, tariff: Tariff | None) -> dict[str, Any]:
    """The calls, tokens and dollars behind a message; those of a whole search, if it is the answer of one."""
    search = (message.response_metadata.get("metascale") or {}).get("usage")
    if search is not None:
        tokens = search["input_tokens"] + search["output_tokens"]
        return {"calls": search["calls"], "tokens": tokens, "usd": search["cost_usd"] or 0.0}
    usage = message.usage_metadata
    if usage is None or not is_believable(usage["input_tokens"]) or not is_believable(usage["output_tokens"]):
        return {"calls": 1, "tokens": 0, "usd": 0.0}
    details = usage.get("input_token_details") or {}
    cached, written = details.get("cache_read") or 0, details.get("cache_creation") or 0
    usd = tariff.of(usage["input_tokens"], usage["output_tokens"], cached, written) if tariff else 0.0
    return {"calls": 1, "tokens": usage["input_tokens"] + usage["output_tokens"], "usd": usd}


def _timed(came_back: ToolMessage | Command[Any], started: float) -> ToolMessage | Command[Any]:
    if not isinstance(came_back, ToolMessage):
        return came_back
    about = {**came_back.response_metadata, BUDGET: {"seconds": time.monotonic() - started}}
    return came_back.model_copy(update={"response_metadata": about})


def _best(messages: list[AnyMessage]) -> str | None:
    """What the agent has last said to the user in this turn."""
    for message in reversed(messages):
        if message.type == "human":
            return None
        if message.type == "ai" and message.text.strip():
            return message.text
    return None


def _ending(messages: list[AnyMessage], said: str) -> str:
    best = _best(messages)
    return f"{best}\n\n({said[0].upper()}{said[1:]}.)" if best else f"There is no answer, because {said}."
