"""Chat models inside LangChain's wrappers: `bind`, `with_config`, `with_retry` and `with_fallbacks`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableBinding, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.runnables.retry import RunnableRetry
from pydantic import ConfigDict, PrivateAttr, SecretStr, SkipValidation

from metascale.errors import ModelSetupError
from metascale.models.failures import address_of
from metascale.models.parameters import holds, without

_FIELDS = ("temperature", "seed", "max_tokens", "max_output_tokens", "num_predict")
"""Fields of models that are set for each request, so that bound values must not override them."""


def unwrapped(model: Runnable[Any, Any]) -> BaseChatModel:
    """A chat model for a runnable that wraps one or several.

    Raises:
        ModelSetupError: it wraps something else, or tools are bound to it.
    """
    if isinstance(model, BaseChatModel):
        return model
    inner = _settled(model)
    return inner if isinstance(inner, BaseChatModel) else WrappedChatModel(inner=inner)


class WrappedChatModel(BaseChatModel):
    """Sends each request through wrapped chat models, set up for this request.

    If the models are of different classes, they are asked for objects in words, because each class has forms of its
    own for tools and schemas.

    Attributes:
        inner: the runnable, whose leaves are chat models.
        temperature: of the request; None leaves each model's own.
        max_tokens: likewise.
        seed: likewise.
        left_out: parameters that requests leave out, whether they are bound or held by one of the models.
        api_key: the first model's, so that errors are redacted.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    inner: SkipValidation[Runnable[Any, Any]]
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    left_out: frozenset[str] = frozenset()
    api_key: SecretStr | None = None
    _own: dict[str, Any] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Show the first model's own values."""
        super().model_post_init(context)
        first = self._first
        for name in ("temperature", "seed"):
            setattr(self, name, getattr(first, name, None))
        self.max_tokens = next((value for name in _FIELDS[2:] if (value := getattr(first, name, None))), None)
        self._own = {name: getattr(self, name) for name in ("temperature", "max_tokens", "seed")}
        self.api_key = next((value for value in vars(first).values() if isinstance(value, SecretStr)), None)

    @property
    def _llm_type(self) -> str:
        return self._first._llm_type

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"inner": [model._get_llm_string() for model in _leaves(self.inner)], "wrapped": repr(self._shape)}

    @property
    def _first(self) -> BaseChatModel:
        return next(_leaves(self.inner))

    @property
    def _shape(self) -> list[Any]:
        """What the wrappers bind."""
        return [part.kwargs for part in _parts(self.inner) if isinstance(part, RunnableBindingBase)]

    @property
    def model_name(self) -> str:
        """The first model's name, the key of prices."""
        first = self._first
        return str(getattr(first, "model_name", None) or getattr(first, "model", None) or first._llm_type)

    @property
    def base_url(self) -> str:
        """The first model's server."""
        return address_of(self._first)

    @property
    def root_client(self) -> Any:
        """The first model's client, if it shows one."""
        return getattr(self._first, "root_client", None)

    @property
    def max_retries(self) -> int | None:
        """The first model's retries; None, for unknown, inside `with_retry`."""
        is_retried = any(isinstance(part, RunnableRetry) for part in _parts(self.inner))
        return None if is_retried else getattr(self._first, "max_retries", 0)

    @property
    def in_process(self) -> bool:
        """Whether the first model runs in this process."""
        return bool(getattr(self._first, "in_process", False))

    @property
    def slots(self) -> int | None:
        """Requests that the first model answers at once, if it is on this machine."""
        return getattr(self._first, "slots", None)

    @property
    def hides_limits(self) -> bool:
        """Whether none of the models takes a limit of tokens. One that takes none among others is asked without."""
        return not any(name in type(model).model_fields for model in _leaves(self.inner) for name in _FIELDS[2:])

    def sends(self, name: str) -> bool:
        """Whether a parameter is bound, or held by one of the models."""
        if name in self.left_out:
            return False
        return any(name in bound for bound in self._shape) or any(holds(model, name) for model in _leaves(self.inner))

    def leaving_out(self, name: str) -> WrappedChatModel:
        """The same models, which go without a parameter."""
        return self.model_copy(
            update={"left_out": self.left_out | {name}, **({name: None} if name in self._own else {})}
        )

    def _resolve_model_profile(self) -> Any:
        return self._first.profile

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return self._first._get_ls_params(stop=stop, **kwargs)

    def bind_tools(self, tools: Any, **options: Any) -> Runnable[Any, AIMessage]:
        """Bind tools in the models' own format.

        Raises:
            NotImplementedError: the models are of different classes, or take no tools.
        """
        bound = self._alike.bind_tools(tools, **options)
        if not isinstance(bound, RunnableBinding):
            raise NotImplementedError(f"{type(self._first).__name__} does not say how it binds tools")
        return self.bind(**bound.kwargs)

    def with_structured_output(self, schema: Any, *, method: str = "json_schema", **options: Any) -> Runnable[Any, Any]:
        """The models' own form of structured output, for what it binds.

        Raises:
            NotImplementedError: the models are of different classes. ValueError, TypeError: they do not know the form.
        """
        return self._alike.with_structured_output(schema, method=method, **options)

    @property
    def _alike(self) -> BaseChatModel:
        """The first of several models of one class."""
        if len({type(model) for model in _leaves(self.inner)}) > 1:
            raise NotImplementedError("models of different classes share no form of tools and schemas")
        return self._first

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        with _untraced():
            return _result(self._ready().invoke(messages, {"callbacks": []}, **_with_stop(stop, kwargs)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        with _untraced():
            return _result(await self._ready().ainvoke(messages, {"callbacks": []}, **_with_stop(stop, kwargs)))

    def _ready(self) -> Runnable[Any, Any]:
        """The runnable with its models set up as this model is."""
        chosen = {name: getattr(self, name) for name, own in self._own.items() if getattr(self, name) != own}

        def set_up(model: BaseChatModel) -> BaseChatModel:
            fields = type(model).model_fields
            limit = next((name for name in _FIELDS[2:] if name in fields), None)
            named = {limit if name == "max_tokens" else name: value for name, value in chosen.items()}
            if "max_tokens" in chosen and self.hides_limits:
                raise ModelSetupError(f"max_tokens is set, but {type(model).__name__} takes no such limit")
            changes = {name: value for name, value in named.items() if name in fields}
            changes |= {"disable_streaming": self.disable_streaming}
            changes |= {"cache": False} if self.cache is False else {}
            changes |= {"streaming": False} if self.disable_streaming is True and "streaming" in fields else {}
            return functools.reduce(without, self.left_out, model.model_copy(update=changes))

        return _rebuilt(self.inner, set_up, self.left_out)


@contextlib.contextmanager
def _untraced() -> Iterator[None]:
    """No callbacks from the context: the outer model is traced, and its usage must not count twice."""
    before = var_child_runnable_config.set(None)
    try:
        yield
    finally:
        var_child_runnable_config.reset(before)


def _parts(model: Runnable[Any, Any]) -> Iterator[Runnable[Any, Any]]:
    """The runnable and everything inside it, from the outside in and the first choice first."""
    yield model
    if isinstance(model, RunnableBindingBase):
        yield from _parts(model.bound)
    if isinstance(model, RunnableWithFallbacks):
        for choice in model.runnables:
            yield from _parts(choice)


def _leaves(model: Runnable[Any, Any]) -> Iterator[BaseChatModel]:
    return (part for part in _parts(model) if isinstance(part, BaseChatModel))


def _rebuilt(model: Runnable[Any, Any], change: Any, unbound: frozenset[str] = frozenset()) -> Runnable[Any, Any]:
    """The same wrappers around changed chat models; what is `unbound` they no longer bind."""
    if isinstance(model, BaseChatModel):
        changed: Runnable[Any, Any] = change(model)
        return changed
    if isinstance(model, RunnableWithFallbacks):
        first, *others = (_rebuilt(choice, change, unbound) for choice in model.runnables)
        return model.model_copy(update={"runnable": first, "fallbacks": others})
    if isinstance(model, RunnableBindingBase):
        kept = {name: value for name, value in model.kwargs.items() if name not in unbound}
        return model.model_copy(update={"bound": _rebuilt(model.bound, change, unbound), "kwargs": kept})
    raise ModelSetupError(f"a model is a chat model or its name, and a {type(model).__name__} is neither")


def _settled(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The runnable with bound values of `_FIELDS` set on its chat models, where a request may override them."""
    if not isinstance(model, RunnableBindingBase):
        if isinstance(model, RunnableWithFallbacks):
            first, *others = (_settled(choice) for choice in model.runnables)
            return model.model_copy(update={"runnable": first, "fallbacks": others})
        return _rebuilt(model, lambda chat: chat)
    if model.kwargs.get("tools"):
        raise ModelSetupError("tools are bound to the model: bind them to ChatMetaScale(model=...) instead")
    bound = _settled(model.bound)
    values = {name: value for name, value in model.kwargs.items() if name in _FIELDS}
    rest = {name: value for name, value in model.kwargs.items() if name not in values}
    unset: dict[str, Any] = {}

    def set_up(chat: BaseChatModel) -> BaseChatModel:
        known = {name: value for name, value in values.items() if name in type(chat).model_fields}
        unset.update({name: value for name, value in values.items() if name not in known})
        return chat.model_copy(update=known)

    bound = _rebuilt(bound, set_up)
    if type(model) is RunnableBinding and not rest and not unset and not model.config and not model.config_factories:
        return bound
    return model.model_copy(update={"bound": bound, "kwargs": rest | unset})


def _with_stop(stop: list[str] | None, options: dict[str, Any]) -> dict[str, Any]:
    return options if stop is None else {**options, "stop": stop}


def _result(message: Any) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])
