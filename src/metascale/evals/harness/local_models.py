"""Model files in Inspect: `gguf/FILE`, which is `gguf:FILE` elsewhere, and `gguf/hf:OWNER/REPO/FILE`."""

from __future__ import annotations

from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    StopReason,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from metascale.evals.harness.messages import logprobs_of, to_langchain, usage_of
from metascale.models.local.chat_model import local_model
from metascale.models.local.names import is_local, name_of_file
from metascale.runtime.bridge import generate

GGUF = "gguf"


def local_name(name: str) -> str:
    """A model file's name in Inspect."""
    return f"{GGUF}/{name.removeprefix('gguf:')}"


def known_as(name: str) -> str:
    """A model's name in Inspect as logs show it: a model file without its folder and options, others as they are."""
    provider, _, file = name.partition("/")
    return f"{GGUF}/{name_of_file(_named(file))}" if provider == GGUF else name


def _named(file: str) -> str:
    return file if is_local(file) else f"{GGUF}:{file}"


class LocalModels(ModelAPI):
    """A model file, loaded once for all that name it in this process.

    Attributes:
        chat: the chat model.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  Inspect's own signature
        **model_args: Any,  # noqa: ARG002
    ) -> None:
        """Load the file.

        Raises:
            ModelSetupError: it cannot be loaded.
            UnknownNameError: there is no such option.
        """
        name = _named(model_name)
        super().__init__(name_of_file(name), base_url, api_key, [], config)
        self.chat = local_model(name)

    def max_connections(self) -> int:
        """Requests that the file's server answers at once."""
        return self.chat.slots

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002  Inspect's own signature
        tools: list[ToolInfo],  # noqa: ARG002
        tool_choice: ToolChoice,  # noqa: ARG002
        config: GenerateConfig,
    ) -> ModelOutput:
        """Answer with one reply, whatever number of them is asked for."""
        fields = ("temperature", "max_tokens", "seed", "logprobs", "top_logprobs")
        chat = self.chat.model_copy(update={name: getattr(config, name) for name in fields})
        options: dict[str, Any] = {"stop": config.stop_seqs, "extra_body": config.extra_body}
        messages = [to_langchain(message) for message in input]
        given = {name: value for name, value in options.items() if value is not None}
        (reply, *_) = await generate(chat, messages, {}, **given)
        reason: StopReason = "max_tokens" if reply.response_metadata.get("finish_reason") == "length" else "stop"
        message = ChatMessageAssistant(content=reply.text, source="generate")
        return ModelOutput(
            model=f"{GGUF}/{self.model_name}",
            choices=[ChatCompletionChoice(message=message, stop_reason=reason, logprobs=logprobs_of(reply))],
            usage=usage_of(reply),
        )


@modelapi(name=GGUF)
def gguf() -> type[ModelAPI]:
    """The provider of `gguf/FILE`, as Inspect finds it."""
    return LocalModels
