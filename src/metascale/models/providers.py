"""Models of LangChain's providers, which each need a package of their own."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
from typing import Any

from langchain_core.language_models import BaseChatModel

from metascale.errors import ModelSetupError, UnknownNameError, describe

PACKAGES = {
    "anthropic": "langchain-anthropic",
    "azure_ai": "langchain-azure-ai",
    "azure_openai": "langchain-openai",
    "bedrock": "langchain-aws",
    "bedrock_converse": "langchain-aws",
    "cohere": "langchain-cohere",
    "deepseek": "langchain-deepseek",
    "fireworks": "langchain-fireworks",
    "google_genai": "langchain-google-genai",
    "google_vertexai": "langchain-google-vertexai",
    "groq": "langchain-groq",
    "huggingface": "langchain-huggingface",
    "ibm": "langchain-ibm",
    "mistralai": "langchain-mistralai",
    "nvidia": "langchain-nvidia-ai-endpoints",
    "ollama": "langchain-ollama",
    "openrouter": "langchain-openrouter",
    "perplexity": "langchain-perplexity",
    "together": "langchain-together",
    "xai": "langchain-xai",
}
"""Providers that `init_chat_model` knows, each with its package."""
OWN = ("openai", "gguf", "recorded")
"""Providers that need no `langchain`."""
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:KEY|TOKEN)\b")


def from_langchain(name: str) -> BaseChatModel:
    """The model of a name that `init_chat_model` takes.

    Raises:
        UnknownNameError: no such model, or no such provider.
        ModelSetupError: a key or a package is missing; the message names it.
    """
    provider = name.partition(":")[0]
    if importlib.util.find_spec("langchain") is None:
        if provider in PACKAGES and provider != name:
            raise _without_package(name, "langchain", PACKAGES[provider])
        raise unknown_model(name)
    init_chat_model: Any = importlib.import_module("langchain.chat_models").init_chat_model
    try:
        built: BaseChatModel = init_chat_model(name)
    except ImportError as error:
        named = PACKAGES.get(provider) or _package_in(str(error))
        if named is None:
            raise ModelSetupError(f"cannot set up {name!r}: {describe(error)}") from error
        raise _without_package(name, named) from error
    except ValueError as error:
        raise unknown_model(name) from error
    except Exception as error:
        variables = dict.fromkeys(_VARIABLE.findall(str(error)))
        if variables:
            raise ModelSetupError(f"no API key for {name!r}: set {' or '.join(variables)}") from error
        raise ModelSetupError(f"cannot set up {name!r}: {describe(error)}") from error
    return built


def unknown_model(name: str) -> UnknownNameError:
    """The error for a name that means no model; it suggests the nearest provider."""
    provider, colon, rest = name.rpartition(":")
    if not colon:
        return UnknownNameError(
            "model", name, ["simulated", f"{'gguf' if name.endswith('.gguf') else 'openai'}:{name}"]
        )
    near = difflib.get_close_matches(provider, [*OWN, *PACKAGES], n=1, cutoff=0.6)
    if near:
        return UnknownNameError("model", name, [f"{near[0]}:{rest}"])
    return UnknownNameError("provider", provider, [*OWN, *PACKAGES])


def _without_package(name: str, *packages: str) -> ModelSetupError:
    return ModelSetupError(f"{name!r} needs more packages: pip install {' '.join(packages)}")


def _package_in(message: str) -> str | None:
    found = re.search(r"\blangchain-[\w-]+", message)
    return found[0] if found else None
