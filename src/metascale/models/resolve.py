"""From a model's name to a chat model."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable

from metascale.errors import ModelSetupError, describe
from metascale.models.local.names import is_local, name_of_file
from metascale.models.providers import from_langchain
from metascale.models.recorded import RecordedChatModel
from metascale.models.simulated import OVERCONFIDENCE, SimulatedChatModel
from metascale.models.wrapped import unwrapped

ENVIRONMENT_VARIABLE = "METASCALE_MODEL"
SIMULATION_NOTICE = (
    "No model is named, so the offline simulation answers: no language model is asked. "
    "Name one with --model openai:NAME or METASCALE_MODEL."
)
NO_KEY = "none-needed"
"""The API key that is sent to local servers, which need none."""


def resolve_model(
    model: Runnable[Any, Any] | str | None, *, base_url: str | None = None, at_once: int | None = None
) -> BaseChatModel:
    """The chat model for a name. A model file is loaded, unless this process has loaded it before.

    Args:
        model: a chat model, also inside `bind`, `with_config`, `with_retry` or `with_fallbacks`; `"simulated"`, or
            `"simulated-overconfident"`, which predicts too high a pass rate; `"openai:NAME"`; `"gguf:FILE"` or
            `"hf:OWNER/REPO/FILE"`, a model file, with options as in `"gguf:FILE?context=8192&slots=2&threads=4"`;
            `"recorded:FILE"`; any name that `init_chat_model` takes, where `langchain` is installed; or None for the
            name in the environment variable `METASCALE_MODEL`.
        base_url: the OpenAI-compatible server that serves `"openai:NAME"`; such servers need no key.
        at_once: requests that will come at once, for which a model file gets slots; None for 4.

    Raises:
        UnknownNameError: no such model, provider or option.
        ModelSetupError: no model is named, the object is no chat model, a key or a package is missing, `base_url`
            fits no such model, or a model file cannot be loaded.
    """
    if isinstance(model, Runnable):
        return unwrapped(model)
    if model is not None and not isinstance(model, str):
        raise ModelSetupError(f"a model is a chat model or its name, and a {type(model).__name__} is neither")
    name = model if model is not None else os.environ.get(ENVIRONMENT_VARIABLE, "")
    if not name:
        raise ModelSetupError(
            "no model is named: pass one, such as 'openai:gpt-4o-mini', or set METASCALE_MODEL "
            "('simulated' is the offline model)"
        )
    provider, _, rest = name.partition(":")
    if provider in {"openai", "recorded"} and rest == "" and name != provider:
        raise ModelSetupError(f"{name!r} names no model after its colon")
    if provider == "openai" and rest:
        return _openai(rest, base_url)
    if base_url is not None:
        raise ModelSetupError(f"a base URL goes with 'openai:NAME' models, not with {name!r}")
    if name in OVERCONFIDENCE:
        return SimulatedChatModel(overconfidence=OVERCONFIDENCE[name])
    if provider == "recorded" and rest:
        return RecordedChatModel(path=Path(rest))
    if is_local(name):
        from metascale.models.local.chat_model import local_model  # noqa: PLC0415  LangChain's client loads slowly

        return local_model(name, at_once=at_once)
    return from_langchain(name)


def shown_name(name: str) -> str:
    """A model's name in records and on pages: a model file without its folder and options, others as they are."""
    return f"{name.partition(':')[0]}:{name_of_file(name)}" if is_local(name) else name


def model_or_simulation(model: str | None) -> tuple[str, bool]:
    """The name of the model to use, and whether it is the offline model because no model was named.

    For the command line and Studio only: the library never falls back to the simulation.
    """
    name = model or os.environ.get(ENVIRONMENT_VARIABLE)
    return (name, False) if name else ("simulated", True)


def _openai(name: str, base_url: str | None) -> BaseChatModel:
    chat_openai: Any = importlib.import_module("langchain_openai").ChatOpenAI
    local = base_url or os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")
    if not os.environ.get("OPENAI_API_KEY"):
        if not local:
            raise ModelSetupError(
                f"no API key for 'openai:{name}': set OPENAI_API_KEY, or name a local server's base URL"
            )
        options: dict[str, Any] = {"api_key": NO_KEY}
    else:
        options = {}
    try:
        built: BaseChatModel = chat_openai(model=name, base_url=local, max_retries=0, **options)
    except Exception as error:
        raise ModelSetupError(f"cannot set up 'openai:{name}': {describe(error)}") from error
    return built
