"""One OpenTelemetry span for each model request, with the attributes of the GenAI semantic conventions."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from metascale.errors import describe
from metascale.models.tracing import PREFIX

try:
    from opentelemetry import trace
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
except ImportError as missing:
    raise ImportError("OpenTelemetryCallback needs opentelemetry: pip install 'metascale[otel]'") from missing

_PARAMETERS = {
    "ls_temperature": "gen_ai.request.temperature",
    "ls_max_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
}


class OpenTelemetryCallback(BaseCallbackHandler):
    """A callback that makes a span of each request to a chat model: `graph.invoke(…, {"callbacks": [callback]})`.

    Spans are named `chat MODEL`. They hold no prompts and no answers. Beside the conventions' attributes they have
    `metascale.node`, `metascale.round`, `metascale.arm` and `metascale.request`. A span's parent is the span that is
    current when the request is sent.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        """Make spans with a provider; by default with the global one."""
        self._tracer = trace.get_tracer("metascale", tracer_provider=provider)
        self._open: dict[UUID, Span] = {}
        self._lock = threading.Lock()

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],  # noqa: ARG002
        messages: list[list[BaseMessage]],  # noqa: ARG002
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Open the span of a request."""
        known = metadata or {}
        parameters: Mapping[str, Any] = kwargs.get("invocation_params") or {}
        model = str(known.get("ls_model_name") or parameters.get("model") or "unknown")
        attributes: dict[str, str | int | float] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": str(known.get("ls_provider") or "unknown"),
            "gen_ai.request.model": model,
        }
        for name, attribute in _PARAMETERS.items():
            value = known.get(name, parameters.get(name))
            if isinstance(value, int | float):
                attributes[attribute] = value
        for name, value in known.items():
            if name.startswith(PREFIX):
                attributes[f"metascale.{name.removeprefix(PREFIX)}"] = value
        span = self._tracer.start_span(f"chat {model}", kind=SpanKind.CLIENT, attributes=attributes)
        with self._lock:
            self._open[run_id] = span

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:  # noqa: ARG002
        """Close the span with what the reply cost."""
        span = self._close(run_id)
        if span is None:
            return
        replies = [one.message for row in response.generations for one in row if isinstance(one, ChatGeneration)]
        for name, value in _of_replies([reply for reply in replies if isinstance(reply, AIMessage)]).items():
            span.set_attribute(name, value)
        span.end()

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:  # noqa: ARG002
        """Close the span with the error; keys are redacted."""
        span = self._close(run_id)
        if span is None:
            return
        span.set_attribute("error.type", type(error).__qualname__)
        span.set_status(Status(StatusCode.ERROR, describe(error)))
        span.end()

    def _close(self, run_id: UUID) -> Span | None:
        with self._lock:
            return self._open.pop(run_id, None)


def _of_replies(replies: Sequence[AIMessage]) -> dict[str, Any]:
    """The attributes of a response; LangChain repeats the usage of a request on each of its replies."""
    if not replies:
        return {}
    about = replies[0].response_metadata
    found: dict[str, Any] = {
        "gen_ai.response.model": about.get("model_name"),
        "gen_ai.response.id": about.get("id"),
        "gen_ai.response.finish_reasons": [
            reason for reply in replies if (reason := reply.response_metadata.get("finish_reason"))
        ]
        or None,
    }
    usage = next((reply.usage_metadata for reply in replies if reply.usage_metadata), None)
    if usage is not None:
        details = usage.get("input_token_details") or {}
        found |= {
            "gen_ai.usage.input_tokens": usage["input_tokens"],
            "gen_ai.usage.output_tokens": usage["output_tokens"],
            "gen_ai.usage.cache_read.input_tokens": details.get("cache_read"),
            "gen_ai.usage.cache_creation.input_tokens": details.get("cache_creation"),
        }
    return {name: value for name, value in found.items() if value is not None}
