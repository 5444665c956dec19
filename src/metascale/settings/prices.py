"""What models cost, and which price applies to a model."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import Field

from metascale.settings.fields import Frozen


class Price(Frozen):
    """What a model costs, in US dollars per million tokens."""

    input: float = Field(ge=0, allow_inf_nan=False, description="US dollars per million prompt tokens.")
    output: float = Field(ge=0, allow_inf_nan=False, description="US dollars per million completion tokens.")

    def of(self, input_tokens: float, output_tokens: float) -> float:
        """The cost of these tokens, in US dollars."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


def price_of(prices: Mapping[str, Price], model: str, provider: str = "") -> Price | None:
    """The price of a model: the only rule by which estimates and bills look prices up.

    A key that is the model's name letter by letter comes first. Otherwise names are compared part by part, where `/`
    and `:` separate the same, and the key that agrees with most parts at the end of the name applies: of
    `groq/meta/llama`, `meta/llama` and `llama` the first one that is there prices the model `groq:meta/llama`. A key
    with another provider never does.

    Args:
        prices: by model name, with or without a provider.
        model: the model's name, with or without its provider.
        provider: the provider, where `model` does not say it.

    Returns:
        None if no key fits, or if two spellings of the same key have different prices.
    """
    if model in prices:
        return prices[model]
    name = _parts(model)
    for tail in ((provider, *name), *(name[start:] for start in range(len(name)))):
        fitting = [price for key, price in prices.items() if _parts(key) == tail]
        if fitting:
            return fitting[0] if fitting.count(fitting[0]) == len(fitting) else None
    return None


def _parts(name: str) -> tuple[str, ...]:
    """A name without its separators; `openai-api/local/NAME` is Inspect's spelling of `openai:NAME` with a base URL."""
    return tuple(re.split("[/:]", re.sub("^openai-api/local/", "openai/", name)))
