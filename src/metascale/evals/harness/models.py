"""Inspect's models as LangChain models, and metascale's models for Inspect."""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar, cast

from inspect_ai.event import ModelEvent
from inspect_ai.log import transcript
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    get_model,
    modelapi,
)
from inspect_ai.model._generate_config import active_generate_config
from inspect_ai.model._model import active_model
from inspect_ai.tool import ToolChoice, ToolInfo
from inspect_ai.util import LimitExceededError
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import InputTokenDetails
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableSequence
from langchain_openai import ChatOpenAI
from pydantic import ConfigDict, PrivateAttr, SecretStr
from tenacity import RetryError

from metascale.errors import ModelSetupError, UnknownNameError, describe
from metascale.evals.harness.fleet import AT_ONCE, Fleet
from metascale.evals.harness.messages import as_sent, logprobs_of, to_inspect, to_langchain, usage_of
from metascale.evals.harness.watch import current_watch
from metascale.models import RecordedChatModel, SimulatedChatModel
from metascale.models.failures import explain
from metascale.models.kept import current_keeper
from metascale.models.local.chat_model import LocalChatModel
from metascale.models.retries import attempts
from metascale.models.simulated import OVERCONFIDENCE
from metascale.redaction import redacted
from metascale.runtime.bridge import generate
from metascale.settings import MetaScaleSettings

OPENAI_COMPATIBLE = "openai-api/"
"""Inspect's prefix for models on OpenAI-compatible servers."""
OWN_SERVER = f"{OPENAI_COMPATIBLE}local/"
"""Inspect's prefix for models on such a server of one's own."""
ADDRESS_VARIABLE, KEY_VARIABLE = "LOCAL_BASE_URL", "LOCAL_API_KEY"
"""The environment variables in which Inspect looks for the address and the key of such a server."""
RECORDED = "recorded"
SERVERS = "langgraph/servers"
MOST_CONNECTIONS = 64
"""Parallel requests to metascale's own models, which use only processor time."""


_records: ContextVar[dict[int, BaseChatModel] | None] = ContextVar("metascale_records", default=None)


def begin_run() -> None:
    """Rewind the recorded models of this context, so that every run starts with the first recorded answer."""
    _records.set({})


class InspectChatModel(BaseChatModel):
    """An Inspect model as a LangChain chat model with Inspect's connections, retries, limits and log.

    Attributes:
        inner: the Inspect model.
        temperature: as in `GenerateConfig`; None for the evaluation's own.
        max_tokens: likewise.
        seed: likewise.
        max_retries: 0 in `metascale bench`, where metascale's setting `max_retries` holds; None where Inspect retries.
        n: replies to one request; None is one.
        logprobs: as in `GenerateConfig`.
        top_logprobs: likewise.
        hides_limits: True: the evaluation's own `max_tokens` is hidden here and could be raised by mistake.
        keeps_replies: True: it hands its replies to the keeper itself, the moment they come.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    inner: Model
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    max_retries: int | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    hides_limits: ClassVar[bool] = True
    keeps_replies: ClassVar[bool] = True
    _exceeded: list[LimitExceededError] = PrivateAttr(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "inspect"

    @property
    def model_name(self) -> str:
        """The model's name with its provider, by which its price is found."""
        return str(self.inner)

    @property
    def base_url(self) -> str:
        """The URL of its server; empty for the provider's own."""
        return address_in_inspect(self.inner)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = str(self.inner).partition("/")[0]
        return params

    @property
    def slots(self) -> int | None:
        """Requests that a model file's server answers at once; None for other models."""
        chat = getattr(self.inner.api, "chat", None)
        return chat.slots if isinstance(chat, LocalChatModel) else None

    def with_structured_output(self, schema: Any, *, method: str = "json_schema", **_: Any) -> Runnable[Any, Any]:
        """A model file's JSON-schema mode, or that of an OpenAI-compatible server; other models are asked in words.

        Raises:
            NotImplementedError: it is another model, or another form.
        """
        chat = getattr(self.inner.api, "chat", None)
        if str(self.inner).startswith(OPENAI_COMPATIBLE):
            chat = ChatOpenAI(model="any", api_key=SecretStr("none"))
        if not isinstance(chat, ChatOpenAI) or method != "json_schema":
            raise NotImplementedError("Inspect's other models are asked for objects in words")
        first, *rest = cast(
            "RunnableSequence[Any, Any]", chat.with_structured_output(schema, method="json_schema")
        ).steps
        return RunnableSequence(self.bind(response_format=cast("Any", first).kwargs["response_format"]), *rest)

    @property
    def exceeded(self) -> LimitExceededError | None:
        """The evaluation limit that a request reached, if any."""
        return self._exceeded[0] if self._exceeded else None

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("Inspect's models are asynchronous: use ainvoke")

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        form = kwargs.get("response_format")
        config = GenerateConfig(
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            seed=self.seed,
            stop_seqs=stop,
            num_choices=self.n,
            logprobs=self.logprobs,
            top_logprobs=self.top_logprobs,
            extra_body={**_extra_body(self.inner), "response_format": form} if form else None,
        )
        asked = [to_inspect(message) for message in messages]
        keeper = current_keeper()
        request = [str(self.inner), config.model_dump(exclude_none=True), [(m.role, m.text) for m in asked]]
        given = keeper.given(request) if keeper is not None else None
        try:
            if given is not None:
                output = ModelOutput.model_validate_json(given)
            else:
                output = await send(self.inner, asked, config)
                if keeper is not None:
                    keeper.keep(request, output.model_dump_json(exclude_none=True))
        except LimitExceededError as error:
            self._exceeded.append(error)
            raise
        return ChatResult(generations=[ChatGeneration(message=reply) for reply in _to_langchain_output(output)])


def _extra_body(model: Model) -> dict[str, Any]:
    """What an evaluation adds to every request to a model, which a request's own additions would replace."""
    of_evaluation = active_generate_config().extra_body if model == active_model() else None
    return {**(model.config.extra_body or {}), **(of_evaluation or {})}


async def send(model: Model, messages: str | list[ChatMessage], config: GenerateConfig) -> ModelOutput:
    """A model's reply.

    Under `metascale bench` this is one attempt, whose outcome the benchmark's watch learns. Retries of Inspect and of
    the model's client would multiply with those of metascale, and would hide an outage for minutes. The client's
    timeout is the benchmark's `call_timeout`.

    Raises:
        RunFailedError: the watch has seen that no request can succeed.
    """
    watch = current_watch()
    if watch is not None:
        watch.check()
        config = config.model_copy(update={"max_retries": 0})
        client: Any = getattr(model.api, "client", None)
        if hasattr(client, "max_retries"):
            client.max_retries = 0
            client.timeout = _within(watch.call_timeout, client.timeout)
    try:
        output = await model.generate(messages, config=config)
    except LimitExceededError:
        raise
    except Exception as error:  # noqa: BLE001  whatever it is, it is raised
        cause = _cause(error)
        if watch is not None:
            watch.failed(cause, explain(cause, InspectChatModel(inner=model)))
        raise cause from None
    if output.error is not None:
        raise RuntimeError(output.error)
    if watch is not None:
        watch.answered()
    return output


def _within(seconds: float | None, given: Any) -> Any:
    """A client's timeout with another limit, in the client's own class, which also limits the time of connecting."""
    connect = getattr(given, "connect", None)
    return seconds if connect is None else type(given)(seconds, connect=connect)


def address_in_inspect(model: Model) -> str:
    """The URL of a model's server; empty where it is not shown, or is the provider's own."""
    client = getattr(model.api, "client", None)
    return str(getattr(client, "base_url", None) or getattr(model.api, "base_url", None) or "")


def _cause(error: Exception) -> Exception:
    """What a request raised, out of the errors that Inspect wraps it in."""
    last = error.last_attempt.exception() if isinstance(error, RetryError) else error
    if last is not None and hasattr(last, "provider_message"):  # ModelGenerateError, which Inspect does not export
        last = last.__cause__ or last
    return last if isinstance(last, Exception) else error


def model_named(name: str | None) -> Model:
    """An Inspect model, by default the evaluated one; `openai-api/local/NAME` is at the benchmark's base URL."""
    address = os.environ.get(ADDRESS_VARIABLE) if name is not None and name.startswith(OWN_SERVER) else None
    return get_model(name, base_url=address)


def _to_langchain_output(output: ModelOutput) -> list[AIMessage]:
    """The replies to one request, each with the usage of all."""
    tokens = tokens_of(output)
    read, written, cached, cache_written = tokens or (0, 0, 0, 0)
    details: InputTokenDetails = {"cache_read": cached, "cache_creation": cache_written}
    replies = [(choice.message.text, choice.stop_reason, choice.logprobs) for choice in output.choices]
    return [
        AIMessage(
            text,
            response_metadata=({} if reason == "unknown" else {"finish_reason": reason})
            | ({"logprobs": logprobs.model_dump()} if logprobs else {}),
            usage_metadata={
                "input_tokens": read,
                "output_tokens": written,
                "total_tokens": read + written,
                "input_token_details": details,
            }
            if tokens
            else None,
        )
        for text, reason, logprobs in replies or [(output.completion, output.stop_reason, None)]
    ]


def tokens_of(output: ModelOutput) -> tuple[int, int, int, int] | None:
    """The tokens of a reply; None where the server does not count them.

    Returns:
        Prompt tokens, completion tokens, and the prompt tokens that the server read from its cache and wrote into it.
    """
    usage = output.usage
    if usage is None:
        return None
    cached, written = usage.input_tokens_cache_read or 0, usage.input_tokens_cache_write or 0
    return usage.input_tokens + cached + written, usage.output_tokens, cached, written


class GenerationError(Exception):
    """A request of a scorer failed after all retries."""


async def generate_quietly(model: Model, messages: str | list[ChatMessage]) -> ModelOutput:
    """A model's reply, or an error with keys redacted.

    Raises:
        GenerationError: the request failed after all retries.
    """
    at_most = 1 if current_watch() is None else 1 + MetaScaleSettings().max_retries
    try:
        return await attempts(at_most)(send, model, messages, GenerateConfig())
    except LimitExceededError:
        raise
    except Exception as error:  # noqa: BLE001  whatever it is, Inspect logs the text of what is raised
        raise GenerationError(describe(error)) from None
    finally:
        hide_keys()


def hide_keys() -> None:
    """Redact the errors of the sample's failed requests, which Inspect logs verbatim."""
    failed = [event for event in transcript().events if isinstance(event, ModelEvent) and event.error is not None]
    for event in failed:
        event.error = redacted(event.error or "")
        event.traceback = event.traceback_ansi = event.call = None
    if failed:
        attachments = transcript().attachments  # long texts that events refer to
        attachments.update({name: redacted(text) for name, text in attachments.items()})


@modelapi(name="metascale")
class MetaScaleModels(ModelAPI):
    """The offline model under its names, such as `metascale/simulated`, and `metascale/recorded` (`-M path=FILE`)."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  Inspect's own signature
        path: str | None = None,
        **model_args: Any,  # noqa: ARG002
    ) -> None:
        """Build the model.

        Raises:
            UnknownNameError: the name is neither the offline model's nor `recorded`.
            ModelSetupError: the record cannot be read.
        """
        super().__init__(model_name, base_url, api_key, [], config)
        known = (*OVERCONFIDENCE, RECORDED)
        if model_name not in known:
            raise UnknownNameError("model", f"metascale/{model_name}", [f"metascale/{name}" for name in known])
        self.chat: BaseChatModel = (
            RecordedChatModel(path=Path(path or ""))
            if model_name == RECORDED
            else SimulatedChatModel(overconfidence=OVERCONFIDENCE[model_name])
        )

    def max_connections(self) -> int:
        """Parallel requests."""
        return MOST_CONNECTIONS

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002  Inspect's own signature
        tools: list[ToolInfo],  # noqa: ARG002
        tool_choice: ToolChoice,  # noqa: ARG002
        config: GenerateConfig,
    ) -> ModelOutput:
        """Answer; `config.seed` makes the offline model reproducible, and records restart with each run."""
        chat, begun = self.chat, _records.get()
        if isinstance(chat, RecordedChatModel) and begun is not None:
            chat = begun.setdefault(id(self), chat.begin_again())
        if isinstance(chat, SimulatedChatModel):
            chat = chat.model_copy(update={"seed": config.seed, "n": config.num_choices})
        probabilities = {"logprobs": True, "top_logprobs": config.top_logprobs or 0} if config.logprobs else {}
        replies = await generate(chat, [to_langchain(message) for message in input], {}, **probabilities)
        return ModelOutput(
            model=f"metascale/{self.model_name}",
            choices=[
                ChatCompletionChoice(
                    message=ChatMessageAssistant(content=one.text, source="generate"), logprobs=logprobs_of(one)
                )
                for one in replies
            ],
            usage=usage_of(replies[0]),
        )


def is_recorded(model: Model) -> bool:
    """Whether a model's answers are recorded: each run begins with the first one, so it cannot go on midway."""
    return isinstance(getattr(model.api, "chat", None), RecordedChatModel)


class LangGraphServers(ModelAPI):
    """The model behind a fleet of LangGraph servers: `langgraph/servers`, with their URLs as its base URL.

    Methods of metascale run on the servers. Plain completions, such as a scorer's, are answers of the servers' graph
    `direct`; the servers get no `GenerateConfig`.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  Inspect's own signature
        **model_args: Any,  # noqa: ARG002
    ) -> None:
        """Take the servers' URLs, separated by spaces.

        Raises:
            ModelSetupError: there is none.
        """
        super().__init__(model_name, base_url, api_key, [], config)
        if not base_url:
            raise ModelSetupError("set the servers' URLs with --remote, or with Inspect's --model-base-url")
        self.fleet = Fleet(base_url.split(), config.max_connections or AT_ONCE)

    def max_connections(self) -> int:
        """Questions in flight."""
        return self.fleet.capacity

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002  Inspect's own signature
        tools: list[ToolInfo],  # noqa: ARG002
        tool_choice: ToolChoice,  # noqa: ARG002
        config: GenerateConfig,  # noqa: ARG002
    ) -> ModelOutput:
        """Ask the graph `direct`."""
        reply = await self.fleet.ask("direct", as_sent(input), {})
        result, usage = reply.state["result"], reply.state["usage"]
        output = ModelOutput.from_content(self.model_name, result["answer"] if result else "", error=reply.problem)
        output.usage = ModelUsage(
            input_tokens=usage["input_tokens"],
            output_tokens=usage["output_tokens"],
            total_tokens=usage["input_tokens"] + usage["output_tokens"],
        )
        return output


@modelapi(name="langgraph")
def langgraph_servers() -> type[ModelAPI]:
    """The provider of `langgraph/servers`, as Inspect finds it."""
    return LangGraphServers
