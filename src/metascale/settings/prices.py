"""What models cost, and which price applies to a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

from pydantic import Field

from metascale.settings.fields import Frozen

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider

OWN_SERVERS = "openai-api"
"""Inspect's provider of OpenAI-compatible servers: whatever their models are called, their prices are not known."""


class Tariff(Protocol):
    """What requests to a model cost."""

    def of(self, input_tokens: float, output_tokens: float, cached: float = 0, cache_written: float = 0) -> float:
        """The cost of one request, in US dollars.

        Args:
            input_tokens: prompt tokens, at least 0.
            output_tokens: completion tokens, at least 0.
            cached: prompt tokens that the server read from its cache, at most `input_tokens`.
            cache_written: prompt tokens that it wrote into its cache, at most the rest of them.
        """
        ...


class Price(Frozen):
    """What a model costs, in US dollars per million tokens."""

    input: float = Field(ge=0, allow_inf_nan=False, description="US dollars per million prompt tokens.")
    output: float = Field(ge=0, allow_inf_nan=False, description="US dollars per million completion tokens.")
    cached: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="US dollars per million prompt tokens that the server read from its cache; null for the price of "
        "other prompt tokens.",
    )

    def of(self, input_tokens: float, output_tokens: float, cached: float = 0, cache_written: float = 0) -> float:  # noqa: ARG002
        """As in `Tariff`; tokens that are written into the cache cost as much as others."""
        less = 0.0 if self.cached is None else cached * (self.input - self.cached)
        return (input_tokens * self.input + output_tokens * self.output - less) / 1e6


@dataclass(frozen=True)
class ListPrice:
    """A model's price in the tables of `genai-prices`, as they are at this moment: some depend on time or length.

    Attributes:
        model: the model in these tables.
        provider: its provider.
    """

    model: ModelInfo
    provider: Provider

    def of(self, input_tokens: float, output_tokens: float, cached: float = 0, cache_written: float = 0) -> float:
        """As in `Tariff`; fractions of tokens, as in estimates, are rounded."""
        from genai_prices import Usage  # noqa: PLC0415

        counts = {
            "input_tokens": input_tokens,
            "cache_read_tokens": cached,
            "cache_write_tokens": cache_written,
            "output_tokens": output_tokens,
        }
        usage = Usage(**{name: round(count) for name, count in counts.items()})
        return float(self.model.calc_price(usage, self.provider).total_price)


def price_of(prices: Mapping[str, Tariff], model: str, provider: str = "", address: str = "") -> Tariff | None:
    """The price of a model: the only rule by which estimates and bills look prices up.

    The given prices come first. A key that is the model's name letter by letter applies. Otherwise names are compared
    part by part, where `/` and `:` separate the same, and the key that agrees with most parts at the end of the name
    applies: of `groq/meta/llama`, `meta/llama` and `llama` the first one that is there prices the model
    `groq:meta/llama`. A key with another provider never does.

    A model without a given price has the list price of its provider, in the tables that come with `genai-prices`. A
    name alone has none: the provider must be known, and if the address is known, it must be the provider's.

    Args:
        prices: by model name, with or without a provider.
        model: the model's name, with or without its provider.
        provider: the provider, where `model` does not say it.
        address: the URL of the model's server; empty for the provider's own.

    Returns:
        None if no price is known, or if two spellings of the same key have different prices.
    """
    if model in prices:
        return prices[model]
    name = _parts(model)
    for tail in ((provider, *name), *(name[start:] for start in range(len(name)))):
        fitting = [price for key, price in prices.items() if _parts(key) == tail]
        if fitting:
            return fitting[0] if fitting.count(fitting[0]) == len(fitting) else None
    return list_price(model, provider, address)


@cache
def list_price(model: str, provider: str, address: str) -> ListPrice | None:
    """The list price of a model; arguments as for `price_of`, None if its provider has no such model."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415  the tables are large

    if not provider:
        provider, _, model = re.sub(":", "/", model, count=1).partition("/")
    if provider == OWN_SERVERS:
        return None
    tables = get_snapshot()
    named = _provider(tables, provider, None)
    found = _provider(tables, None, address) if address else named
    if found is None:
        return None
    own = f"|{re.escape(provider)}" if found is named else ""  # a router's names begin with others' providers
    name = re.sub(f"^(models{own})[/:]", "", model)
    try:
        _, info = tables.find_provider_model(name, found, None, None)
    except LookupError:
        return None
    price = ListPrice(info, found)
    return price if price.of(1_000_000, 0) or "free" in name else None


def _provider(tables: DataSnapshot, name: str | None, address: str | None) -> Provider | None:
    try:
        return tables.find_provider(None, name, address)
    except LookupError:
        return None


def _parts(name: str) -> tuple[str, ...]:
    """A name without its separators; `openai-api/local/NAME` is Inspect's spelling of `openai:NAME` with a base URL."""
    return tuple(re.split("[/:]", re.sub("^openai-api/local/", "openai/", name)))
