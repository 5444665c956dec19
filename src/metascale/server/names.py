"""The `model` of a request: `[METHOD/]MODEL[?SETTING=VALUE&…]`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from metascale.errors import SettingError
from metascale.graphs import METHODS
from metascale.models.local.names import is_local, name_of_file
from metascale.server.errors import ApiError, bad_request

DEFAULT_METHOD = "metascale"


@dataclass(frozen=True)
class Target:
    """The method and model of a request.

    Attributes:
        method: a key of `METHODS`.
        model: the model's name, as `resolve_model` takes it.
        name: both, as clients write them.
        settings: settings in the name, as text.
    """

    method: str
    model: str
    name: str
    settings: list[tuple[str, str]]


class Names:
    """The served names: every method on every model."""

    def __init__(self, models: Sequence[str]) -> None:
        """Serve `models`, the first of them by default.

        Raises:
            SettingError: two of them have the same short name.
        """
        self._models = {short_name(model): model for model in models}
        if len(self._models) < len(models):
            raise SettingError(f"two models have the same name: {', '.join(models)}; serve each of them once")

    def __iter__(self) -> Iterator[str]:
        """The full names, the default first."""
        for method in METHODS:
            for model in self._models:
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
        if name in self._models:
            method, model = DEFAULT_METHOD, name
        elif name in METHODS:
            method, model = name, next(iter(self._models))
        else:
            method, _, model = name.partition("/")
        if method not in METHODS or model not in self._models:
            raise self._unknown(name)
        return Target(method, self._models[model], f"{method}/{model}", settings)

    def _unknown(self, name: str) -> ApiError:
        near = difflib.get_close_matches(name, list(self), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "GET /v1/models lists the models"
        return ApiError(404, f"the model {name!r} is not served here; {hint}", param="model", code="model_not_found")


def short_name(model: str) -> str:
    """A model's name without its provider: `gpt-4o-mini` for `openai:gpt-4o-mini`; a model file's without folder."""
    if is_local(model):
        return name_of_file(model)
    return model.partition(":")[2] or model
