"""What embedding requests cost. LangChain's embedders report no tokens, so these are estimated from the characters."""

from __future__ import annotations

import math
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever

from metascale.models.failures import address_of
from metascale.models.metered import CHARS_A_TOKEN
from metascale.models.scope import current_scope
from metascale.settings.prices import Tariff, price_of
from metascale.settings.traffic import TrafficSettings
from metascale.usage import Usage, no_usage


class MeteredEmbedder:
    """An embedder whose requests are billed: their tokens are part of `input_tokens`, and they are no `calls`."""

    def __init__(self, embeddings: Embeddings) -> None:
        """Bill requests to `embeddings`."""
        self._embeddings = embeddings

    @property
    def name(self) -> str:
        """The embedder's name, by which its price is found: its model's, or else its class's."""
        named = (getattr(self._embeddings, field, None) for field in ("model", "model_name", "model_id"))
        return next((name for name in named if isinstance(name, str) and name), type(self._embeddings).__name__)

    def tariff(self, settings: TrafficSettings) -> Tariff | None:
        """The embedder's price; None if it is unknown."""
        package = type(self._embeddings).__module__.partition(".")[0]
        client: Any = getattr(getattr(self._embeddings, "client", None), "_client", None)
        address = str(getattr(client, "base_url", None) or address_of(self._embeddings))
        return price_of(settings.prices, self.name, package.removeprefix("langchain_") or "unknown", address)

    def pay(self, text: str, settings: TrafficSettings) -> Usage:
        """Pay for embedding a text, before the request is sent; returns the bill.

        Raises:
            OutOfMoneyError: the run's money is spent.
        """
        purse = current_scope().purse
        purse.check_money()
        tokens, tariff = math.ceil(len(text) / CHARS_A_TOKEN), self.tariff(settings)
        usd = tariff.of(tokens, 0) if tariff is not None else None
        return no_usage() | {"input_tokens": tokens, "cost_usd": usd, "charged_usd": purse.pay(usd)}


def metered(embeddings: Embeddings | None) -> MeteredEmbedder | None:
    """An embedder to be billed; None where there is none, or where it says by `in_process` that it asks no server."""
    if embeddings is None or getattr(embeddings, "in_process", False):
        return None
    return MeteredEmbedder(embeddings)


def embedder_of(retriever: BaseRetriever | None) -> MeteredEmbedder | None:
    """The embedder behind a retriever, as those of vector stores have one."""
    return metered(getattr(getattr(retriever, "vectorstore", None), "embeddings", None))
