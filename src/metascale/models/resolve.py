"""From a model's name to a chat model."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable

from metascale.errors import ModelSetupError, describe
from metascale.models.lineup import label_of, labelled, names_in
from metascale.models.local.names import count_files, is_local, name_of_file
from metascale.models.parameters import split_name, with_parameters
from metascale.models.providers import from_langchain
from metascale.models.recorded import RecordedChatModel
from metascale.models.simulated import OVERCONFIDENCE, SimulatedChatModel
from metascale.models.wrapped import unwrapped

Model = Runnable[Any, AIMessage] | str
"""A chat model or its name."""
Models = Model | Sequence[Model] | None
"""The models of a run; None for those that `METASCALE_MODEL` names."""

ENVIRONMENT_VARIABLE = "METASCALE_MODEL"
SIMULATION_NOTICE = (
    "No model is named, so the offline simulation answers: no language model is asked. "
    "Name one with --model openai:NAME or METASCALE_MODEL."
)
NO_KEY = "none-needed"
"""The API key that is sent to local servers, which need none."""


def resolve_model(
    model: Runnable[Any, Any] | str | None, *, base_url: str | None = None, at_once: int | None = None, files: int = 1
) -> BaseChatModel:
    """The chat model for a name. A model file is loaded, unless this process has loaded it before.

    Args:
        model: a chat model, also inside `bind`, `with_config`, `with_retry` or `with_fallbacks`; `"simulated"`, or
            `"simulated-overconfident"`, which predicts too high a pass rate; `"openai:NAME"`; `"gguf:FILE"` or
            `"hf:OWNER/REPO/FILE"`, a model file, with options as in `"gguf:FILE?context=8192&slots=2&threads=4"`;
            `"recorded:FILE"`; any name that `init_chat_model` takes, where `langchain` is installed; or None for the
            name in the environment variable `METASCALE_MODEL`. A name may end with parameters of the model, as in
            `"openai:NAME?effort=low&temperature=0.3&max_tokens=2000&base_url=URL"`.
        base_url: the OpenAI-compatible server that serves `"openai:NAME"`; such servers need no key.
        at_once: requests that will come at once, for which a model file gets slots; None for 4.
        files: model files that share the processors.

    Raises:
        UnknownNameError: no such model, provider, option or parameter.
        ModelSetupError: no model is named, the object is no chat model, a key or a package is missing, `base_url` or
            a parameter fits no such model, or a model file cannot be loaded.
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
    if len(names_in(name)) > 1:
        raise ModelSetupError(f"only one model can be used here, and {name!r} names several")
    plain, given = split_name(name)
    own_url = given.pop("base_url", None)
    built = with_parameters(_built(plain, own_url or base_url, at_once, files), given)
    if not given:
        return built
    told = "&".join(f"{key}={value}" for key, value in given.items())
    return built.model_copy(update={"name": f"{label_of(built)}?{told}"})


def resolve_models(models: Models, *, base_url: str | None = None, at_once: int | None = None) -> list[BaseChatModel]:
    """The chat models of a run, each with a label of its own (`metascale.models.lineup`).

    Several model files share the processors.

    Args:
        models: one model, or several: as for `resolve_model`, or several names in one text, separated by commas.
        base_url: the server of all `"openai:NAME"` models whose names hold no address.
        at_once: as for `resolve_model`.

    Raises:
        MetaScaleError: as for `resolve_model`, or the sequence is empty.
    """
    several = list(models) if isinstance(models, Sequence) and not isinstance(models, str) else [models]
    named = [os.environ.get(ENVIRONMENT_VARIABLE) if model is None else model for model in several]
    each = [one for model in named for one in (names_in(model) if isinstance(model, str) else [model])]
    if not each:
        raise ModelSetupError("the list of models is empty: name at least one, such as 'openai:gpt-4o-mini'")
    with_address = [base_url if isinstance(one, str) and one.startswith("openai:") else None for one in each]
    if base_url is not None and not any(with_address):
        with_address[0] = base_url  # which says why it does not fit
    files = max(1, count_files(one for one in each if isinstance(one, str)))
    return labelled(
        [
            resolve_model(one, base_url=url, at_once=at_once, files=files)
            for one, url in zip(each, with_address, strict=True)
        ]
    )


def _built(name: str, base_url: str | None, at_once: int | None, files: int) -> BaseChatModel:
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

        return local_model(name, at_once=at_once, files=files)
    return from_langchain(name)


def shown_name(name: str) -> str:
    """The names of models in records and on pages: model files without folder and options, others without address."""
    return ",".join(map(_shown, names_in(name)))


def _shown(name: str) -> str:
    if is_local(name):
        return f"{name.partition(':')[0]}:{name_of_file(name)}"
    plain, _, query = name.partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("base_url=")]
    return f"{plain}?{'&'.join(kept)}" if kept else plain


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
