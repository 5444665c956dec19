"""Requests of OpenAI's chat completions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

from langchain_core.messages import AnyMessage, convert_to_messages
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator
from starlette.requests import Request

from metascale.server.errors import ApiError

NEUTRAL: dict[str, Any] = {
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logit_bias": {},
    "modalities": ["text"],
    "service_tier": "auto",
    "stop": [],
    "tools": [],
    "functions": [],
    "metadata": {},
    "response_format": {"type": "text"},
}
"""Values that many clients send as defaults."""

SEEDS = 2**32
"""The number of seeds of a run. OpenAI's are any 64-bit integers, which are taken modulo this number."""
SAMPLE_OPTIONS = (
    "stop",
    "response_format",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "reasoning_effort",
    "verbosity",
)
"""Parameters of each sample, which the model's own server must support."""


Ignored: Any = Field(default=None, exclude=True)
"""A field that clients send back or along, and that changes no answer."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Text(_Part):
    """Text."""

    type: Literal["text"]
    text: str
    cache_control: Any = Ignored


class Attachment(_Part):
    """A part that is not text; the model's server decides whether its model takes it."""

    type: Literal["image_url", "input_audio", "file"]
    image_url: dict[str, Any] | None = None
    input_audio: dict[str, Any] | None = None
    file: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _holds_what_it_says(self) -> Attachment:
        if self.model_fields_set != {"type", self.type}:
            raise ValueError(f"a part of type {self.type!r} holds {self.type!r} and nothing else")
        return self


class Refusal(_Part):
    """A refusal of the assistant."""

    type: Literal["refusal"]
    refusal: str


Said = str | Annotated[list[Text], Field(min_length=1)]
Shown = str | Annotated[list[Annotated[Text | Attachment, Field(discriminator="type")]], Field(min_length=1)]


class Speaker(_Part):
    """A system or developer message."""

    role: Literal["system", "developer"]
    content: Said
    name: str | None = None


class User(_Part):
    """The user."""

    role: Literal["user"]
    content: Shown
    name: str | None = None


def _json_object(text: str) -> str:
    if not text.strip():
        return "{}"
    try:
        is_object = isinstance(json.loads(text), dict)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not is_object:
        raise ValueError("not a JSON object")
    return text


class CalledFunction(_Part):
    """The called function."""

    name: str
    arguments: Annotated[str, AfterValidator(_json_object)]
    parsed_arguments: Any = Ignored


class ToolCall(_Part):
    """A tool call of the assistant."""

    id: str
    type: Literal["function"]
    function: CalledFunction
    index: Any = Ignored


class Assistant(_Part):
    """The assistant, also with everything that OpenAI's client dumps of a reply."""

    role: Literal["assistant"]
    content: str | list[Annotated[Text | Refusal, Field(discriminator="type")]] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    audio: None = Ignored
    function_call: None = Ignored
    annotations: Any = Ignored
    parsed: Any = Ignored
    reasoning: Any = Ignored
    reasoning_content: Any = Ignored
    reasoning_details: Any = Ignored

    @field_validator("content")
    @classmethod
    def _as_text(cls, content: str | list[Text | Refusal] | None) -> str | list[Text | Refusal] | None:
        if not isinstance(content, list):
            return content
        return [Text(type="text", text=part.refusal) if isinstance(part, Refusal) else part for part in content]


class ToolReply(_Part):
    """The result of a tool."""

    role: Literal["tool"]
    content: Said
    tool_call_id: str
    name: Any = Ignored


class Function(_Part):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Part):
    """A tool that the model may call."""

    type: Literal["function"]
    function: Function


class ChosenFunction(_Part):
    """The function that the model must call."""

    name: str


class ChosenTool(_Part):
    """The tool that the model must call."""

    type: Literal["function"]
    function: ChosenFunction


class StreamOptions(_Part):
    """Options of a stream."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(BaseModel):
    """A request for a chat completion. Unknown parameters are refused, never ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(min_length=1, max_length=1_000)
    messages: list[Annotated[Speaker | User | Assistant | ToolReply, Field(discriminator="role")]] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    metadata: dict[str, str] = {}
    temperature: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    seed: int | None = None
    tools: list[Tool] = []
    tool_choice: Literal["none", "auto", "required"] | ChosenTool | None = None
    parallel_tool_calls: bool | None = None
    stop: str | list[str] | None = None
    response_format: dict[str, Any] | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, int] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    user: str | None = None
    """Identifies the end user; ignored, like the fields below: none of them changes an answer."""
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    store: bool | None = None
    prediction: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_what_says_nothing(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {key: value for key, value in given.items() if value is not None and NEUTRAL.get(key) != value}

    def conversation(self) -> list[AnyMessage]:
        """The messages as LangChain messages."""
        said = [{"content": None, **message.model_dump(exclude_none=True)} for message in self.messages]
        return cast("list[AnyMessage]", convert_to_messages(said))

    def has_attachments(self) -> bool:
        """Whether any message holds more than text."""
        contents: list[str | Sequence[_Part] | None] = [message.content for message in self.messages]
        return any(isinstance(part, Attachment) for content in contents if content for part in content)

    def sample_options(self) -> dict[str, Any]:
        """The given `SAMPLE_OPTIONS`."""
        return {name: value for name in SAMPLE_OPTIONS if (value := getattr(self, name)) is not None}

    def named_settings(self) -> list[tuple[str, Any]]:
        """The settings in OpenAI's parameters; a setting may occur twice."""
        named: dict[str, list[Any]] = {
            "temperature": [self.temperature],
            "max_tokens": [self.max_tokens, self.max_completion_tokens],
            "seed": [None if self.seed is None else self.seed % SEEDS],
        }
        return [(name, value) for name, values in named.items() for value in values if value is not None]


async def read_body(request: Request, longest: int) -> bytes:
    """Read a request's body in chunks, at most `longest` bytes.

    Raises:
        ApiError: 413 if it is longer, 415 if its content type is not JSON (which keeps out forms on web pages).
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "send JSON, with 'Content-Type: application/json'")
    too_long = ApiError(413, f"the body is longer than {longest:,} bytes", code="request_too_large")
    if int(request.headers.get("content-length", 0)) > longest:
        raise too_long
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > longest:
            raise too_long
    return bytes(body)
