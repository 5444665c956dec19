"""The `model` of a request: `[METHOD/]MODEL[?SETTING=VALUE&…]`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from metascale.errors import SettingError
from metascale.graphs import METHODS
from metascale.models.lineup import names_in
from metascale.models.local.names import is_local, name_of_file
from metascale.models.parameters import split_name
from metascale.server.errors import ApiError, bad_request

DEFAULT_METHOD = "metascale"
JOINED = "+"
"""Between the models of a search over several."""


@dataclass(frozen=True)
class Target:
    """The method and model of a request.

    Attributes:
        method: a key of `METHODS`.
        model: the model's name, as `resolve_model` takes it; several names with commas for a search over all.
        name: both, as clients write them.
        settings: settings in the name, as text.
    """

    method: str
    model: str
    name: str
    settings: list[tuple[str, str]]


class Names:
    """The served names: every method on every model, and METASCALE on several models, as in `a+b`."""

    def __init__(self, models: Sequence[str]) -> None:
        """Serve `models`, the first of them by default; one that names several by a comma is served as their search.

        Raises:
            SettingError: two of them have the same short name.
        """
        self._models = {short_name(model): model for model in models}
        if len(self._models) < len(models):
            raise SettingError(f"two models have the same name: {', '.join(models)}; serve each of them once")

    def __iter__(self) -> Iterator[str]:
        """The full names, the default first."""
        single = [name for name in self._models if JOINED not in name]
        several = [name for name in self._models if JOINED in name]
        if len(single) > 1:
            several.append(JOINED.join(single))
        for method in METHODS:
            named = list(self._models) if method == DEFAULT_METHOD else single
            for model in dict.fromkeys([*named, *(several if method == DEFAULT_METHOD else [])]):
                yield f"{method}/{model}"

    def find(self, asked: str) -> Target:
        """Resolve a name: a model alone means METASCALE on it, a method alone means the method on the first model.

        Raises:
            ApiError: 404 if it is not served, 400 if its settings cannot be read.
        """
        name, question_mark, query = asked.partition("?")
        try:
            settings = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if question_mark else []
        except ValueError as error:
            raise bad_request(f"the settings in {asked!r} are not NAME=VALUE&NAME=VALUE", "model") from error
        if self._joined(name):
            method, model = DEFAULT_METHOD, name
        elif name in METHODS:
            method, model = name, next(iter(self._models))
        else:
            method, _, model = name.partition("/")
        joined = self._joined(model)
        if method not in METHODS or not joined or (method != DEFAULT_METHOD and len(names_in(joined)) > 1):
            raise self._unknown(name)
        return Target(method, joined, f"{method}/{model}", settings)

    def _joined(self, model: str) -> str:
        """The served models of a name that joins some of them; empty if one of them is not served."""
        parts = [model] if model in self._models else model.split(JOINED)
        known = [self._models[part] for part in parts if part in self._models]
        return ",".join(known) if len(known) == len(parts) else ""

    def _unknown(self, name: str) -> ApiError:
        near = difflib.get_close_matches(name, list(self), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "GET /v1/models lists the models"
        return ApiError(404, f"the model {name!r} is not served here; {hint}", param="model", code="model_not_found")


def short_name(model: str) -> str:
    """A model's name without its provider: `gpt-4o-mini` for `openai:gpt-4o-mini`; a model file's without folder.

    Values of parameters follow a hyphen, as in `b-low` for `openai:b?effort=low`, because a question mark begins the
    settings of a request.
    """
    return JOINED.join(map(_short_name, names_in(model)))


def _short_name(model: str) -> str:
    if is_local(model):
        return name_of_file(model)
    plain, given = split_name(model)
    values = [value for name, value in given.items() if name != "base_url"]
    return "-".join([plain.partition(":")[2] or plain, *values])
