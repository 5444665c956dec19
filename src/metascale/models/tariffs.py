"""The price of a chat model, by its name, its provider and the server that it really asks."""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.language_models import BaseChatModel

from metascale.models.failures import address_of
from metascale.settings.prices import Price, Tariff, price_of


def tariff_of(model: BaseChatModel, name: str, prices: Mapping[str, Price]) -> Tariff | None:
    """The price of a model; None if it is unknown.

    Args:
        model: the chat model, which may have a given price only, if it runs in this process.
        name: its name.
        prices: the setting `prices`.
    """
    if getattr(model, "in_process", False):
        return price_of(prices, name, "in process")
    provider = str(model._get_ls_params().get("ls_provider") or "unknown")
    return price_of(prices, name, provider, _server_of(model))


def _server_of(model: BaseChatModel) -> str:
    """The URL of a model's server; a client may have it from the environment. Empty if the model shows none."""
    client = getattr(model, "root_client", None)
    return str(getattr(client, "base_url", None) or address_of(model))
